"""What stage 6 writes for one model and one data set."""

import unicodedata
from collections import defaultdict

import jiwer

from comflp.artifacts import write_json, write_text
from comflp.scoring import METRIC_OF_UNIT, UNIT_OF_METRIC, ErrorRate, align, error_rate, normalise, utterances_errors


def write_results(out, model, data, hypotheses, options):
    """Write hyp, ref, hyp.trn, ref.trn, per_speaker.tsv, worst.txt and score.json; returns their paths and the score."""
    references = {utterance.utt_id: normalise(utterance.text) for utterance in data}
    unit = UNIT_OF_METRIC[options.metric]
    score = scores(model, data, references, hypotheses, options)
    files = {
        "hyp": kaldi_text(hypotheses),
        "ref": kaldi_text(references),
        "hyp.trn": trn(data, hypotheses, unit),
        "ref.trn": trn(data, references, unit),
        "per_speaker.tsv": per_speaker(data, references, hypotheses),
        "worst.txt": worst(data, references, hypotheses, unit, options.worst),
    }
    for name, content in files.items():
        write_text(out / name, content)
    write_json(out / "score.json", score)
    return [*(out / name for name in files), out / "score.json"], score


def scores(model, data, references, hypotheses, options):
    """The content of score.json: the metric asked for, and the rates in both units beside it."""
    rates = {metric: error_rate(references, hypotheses, unit) for unit, metric in METRIC_OF_UNIT.items()}
    asked = rates[options.metric]
    return {
        "metric": options.metric,
        "error_rate": asked.rate,
        "substitutions": asked.substitutions,
        "deletions": asked.deletions,
        "insertions": asked.insertions,
        "ref_length": asked.ref_length,
        "cer": rates["cer"].rate,
        "wer": rates["wer"].rate,
        "num_utterances": len(data),
        "audio_seconds": hypotheses.audio_seconds,
        "decode_seconds": hypotheses.decode_seconds,
        "rtf": hypotheses.rtf,
        "decoder": options.decoder,
        "num_layers": model.num_layers,
        "num_parameters": model.num_parameters,
    }


def kaldi_text(texts):
    """``<utt> <text>`` lines, sorted; an empty text leaves the id alone."""
    return "".join(f"{utt_id} {text}".rstrip() + "\n" for utt_id, text in sorted(texts.items()))


def trn(data, texts, unit):
    """sclite's trn: ``<text> (<speaker>-<utt>)``; characters are separated by spaces where CER counts them."""
    lines = []
    for utterance in data:
        text = normalise(texts[utterance.utt_id])
        if unit == "char":
            text = " ".join("<space>" if character == " " else character for character in text)
        lines.append(f"{text} ({utterance.speaker}-{utterance.utt_id})".lstrip() + "\n")
    return "".join(lines)


def per_speaker(data, references, hypotheses):
    """A table: speaker, utterances, and CER and WER with their reference lengths; all speakers last."""
    speakers = defaultdict(list)
    for utterance in data:
        speakers[utterance.speaker].append(utterance.utt_id)
    lines = ["speaker\tutterances\tcer\tcharacters\twer\twords\n"]
    for speaker, utt_ids in [*sorted(speakers.items()), ("all", list(references))]:
        row = [speaker, str(len(utt_ids))]
        for unit in ("char", "word"):
            counts = utterances_errors([references[i] for i in utt_ids], [hypotheses[i] for i in utt_ids], unit)
            total = sum(counts, ErrorRate())
            row += [f"{total.rate:.2f}", str(total.ref_length)]
        lines.append("\t".join(row) + "\n")
    return "".join(lines)


def worst(data, references, hypotheses, unit, count):
    """The utterances with most errors, reference above hypothesis."""
    utt_ids = list(references)
    counts = utterances_errors([references[i] for i in utt_ids], [hypotheses[i] for i in utt_ids], unit)
    chosen = sorted(zip(utt_ids, counts), key=lambda pair: (-pair[1].errors, pair[0]))[:count]
    parts = []
    for utt_id, errors in chosen:
        if errors.errors:
            alignment = align([references[utt_id]], [hypotheses[utt_id]], unit)
            shown = jiwer.visualize_alignment(alignment, show_measures=False, skip_correct=False)
            lines = same_width(shown.partition("\n")[2].strip("\n").split("\n"))
            head = f"{utt_id} ({data[utt_id].speaker}): {errors.errors} errors, {errors.rate:.1f}%"
            parts.append("\n".join([head, *lines, "", ""]))
    return "".join(parts) or "every utterance is right\n"


def same_width(lines):
    """Lines of one alignment with every column as wide in each: beside a wide (Chinese) character all become wide.

    >>> same_width(["REF: 中*", "HYP: 文文", "     SI"])
    ['REF: 中＊', 'HYP: 文文', '     ＳＩ']
    """
    length = max(map(len, lines))
    columns = zip(*(line.ljust(length) for line in lines))
    return ["".join(line).rstrip() for line in zip(*(map(_wide, c) if any(map(_is_wide, c)) else c for c in columns))]


def _is_wide(character):
    return unicodedata.east_asian_width(character) in "WF"


def _wide(character):
    if character == " ":
        return "\u3000"
    return chr(ord(character) + 0xFEE0) if "!" <= character <= "~" else character
