"""What decoding one data set with one model leaves: hypotheses and references as they were scored, and the scores."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from pathlib import Path
from typing import Any, Mapping

import jiwer

from comflp.artifacts import write_json, write_text
from comflp.data.data_dir import DataDir
from comflp.inference.decode import Hypotheses
from comflp.models.layered import LayeredModel
from comflp.replacing import Kind
from comflp.scoring import METRICS, ErrorRate, align, characters, normalise, total_of, utterances_errors
from comflp.stacks import depth_of


EVALUATION = Kind("evaluation", signs=("score.json", "hyp"))
"""What ``comflp evaluate`` writes: the files of :func:`write_results`, or ``hyp`` alone where there are no references."""


def write_results(
    out: Path, model: LayeredModel, data: DataDir, hypotheses: Hypotheses, metric: str, decoder: str, num_worst: int,
    normaliser: str = "none",
) -> tuple[list[Path], dict[str, Any]]:
    """Write hyp, ref, hyp.trn, ref.trn, per_speaker.tsv, worst.txt and score.json; returns their paths and the score.

    metric: ``cer`` or ``wer``, what the score gives first. decoder: the search that gave the hypotheses, for score.json.
    num_worst: how many utterances worst.txt shows. normaliser: one of ``comflp.scoring.NORMALISERS``; all files hold the
    texts that it makes, as they were compared.
    """
    references = {utterance.utt_id: normalise(utterance.text, normaliser) for utterance in data}
    texts = {utt_id: normalise(text, normaliser) for utt_id, text in hypotheses.items()}
    pairs = list(references.values()), [texts[utt_id] for utt_id in references]
    errors = {name: dict(zip(references, utterances_errors(*pairs, name))) for name in METRICS}
    rates = {name: total_of(list(each.values())) for name, each in errors.items()}
    asked = rates[metric]
    score = {
        "metric": metric,
        "error_rate": asked.rate,
        "substitutions": asked.substitutions,
        "deletions": asked.deletions,
        "insertions": asked.insertions,
        "ref_length": asked.ref_length,
        "normaliser": normaliser,
        "capped_error_rate": total_of([each.capped for each in errors[metric].values()]).rate,
        "ranked_by": "capped_error_rate" if model.teacher_forced else "error_rate",
        "ran_into_limit": hypotheses.ran_into_limit,
        "cer": rates["cer"].rate,
        "wer": rates["wer"].rate,
        "num_utterances": len(data),
        "audio_seconds": hypotheses.audio_seconds,
        "decode_seconds": hypotheses.decode_seconds,
        "rtf": hypotheses.rtf,
        "decoder": decoder,
        "data": str(data.path),
        "num_layers": depth_of(model.stacks),
        "num_parameters": model.num_parameters,
    }
    files = {
        "hyp": kaldi_text(texts),
        "ref": kaldi_text(references),
        "hyp.trn": trn(data, texts, metric),
        "ref.trn": trn(data, references, metric),
        "per_speaker.tsv": per_speaker(data, errors),
        "worst.txt": worst(data, references, texts, errors[metric], metric, num_worst),
    }
    for name, content in files.items():
        write_text(out / name, content)
    write_json(out / "score.json", score)
    return [*(out / name for name in files), out / "score.json"], score


def kaldi_text(texts: Mapping[str, str]) -> str:
    """``<utt> <text>`` lines, sorted; an empty text leaves the id alone."""
    return "".join(f"{utt_id} {text}".rstrip() + "\n" for utt_id, text in sorted(texts.items()))


def trn(data: DataDir, texts: Mapping[str, str], metric: str) -> str:
    """sclite's trn: ``<text> (<speaker>-<utt>)``; characters are separated by spaces where CER counts them."""
    lines = []
    for utterance in data:
        text = texts[utterance.utt_id]
        if metric == "cer":
            text = " ".join("<space>" if character == " " else character for character in characters(text))
        lines.append(f"{text} ({utterance.speaker}-{utterance.utt_id})".lstrip() + "\n")
    return "".join(lines)


def per_speaker(data: DataDir, errors: Mapping[str, Mapping[str, ErrorRate]]) -> str:
    """A table: speaker, utterances, and CER and WER with their reference lengths; all speakers last. errors: metric -> utterance -> its errors."""
    speakers = defaultdict(list)
    for utterance in data:
        speakers[utterance.speaker].append(utterance.utt_id)
    lines = ["speaker\tutterances\tcer\tcharacters\twer\twords\n"]
    for speaker, utt_ids in [*sorted(speakers.items()), ("all", [utterance.utt_id for utterance in data])]:
        row = [speaker, str(len(utt_ids))]
        for of_metric in errors.values():
            total = sum((of_metric[utt_id] for utt_id in utt_ids), ErrorRate())
            row += [f"{total.rate:.2f}", str(total.ref_length)]
        lines.append("\t".join(row) + "\n")
    return "".join(lines)


def worst(
    data: DataDir, references: Mapping[str, str], hypotheses: Mapping[str, str], errors: Mapping[str, ErrorRate], metric: str, count: int
) -> str:
    """The ``count`` utterances with most ``errors`` by ``metric``, reference above hypothesis."""
    parts = []
    for utt_id, found in sorted(errors.items(), key=lambda pair: (-pair[1].errors, pair[0]))[:count]:
        if found.errors:
            alignment = align([references[utt_id]], [hypotheses[utt_id]], metric)
            shown = jiwer.visualize_alignment(alignment, show_measures=False, skip_correct=False)
            lines = same_width(shown.partition("\n")[2].strip("\n").split("\n"))
            head = f"{utt_id} ({data[utt_id].speaker}): {found.errors} errors, {found.rate:.1f}%"
            parts.append("\n".join([head, *lines, "", ""]))
    return "".join(parts) if any(found.errors for found in errors.values()) else "every utterance is right\n"


def same_width(lines: list[str]) -> list[str]:
    """Lines of one alignment with every column as wide in each: beside a wide (Chinese) character all become wide.

    >>> same_width(["REF: 中*", "HYP: 文文", "     SI"])
    ['REF: 中＊', 'HYP: 文文', '     ＳＩ']
    """
    length = max(map(len, lines))
    columns = zip(*(line.ljust(length) for line in lines))
    return ["".join(line).rstrip() for line in zip(*(map(_wide, c) if any(map(_is_wide, c)) else c for c in columns))]


def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in "WF"


def _wide(character: str) -> str:
    if character == " ":
        return "\u3000"
    return chr(ord(character) + 0xFEE0) if "!" <= character <= "~" else character
