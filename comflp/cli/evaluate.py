"""``comflp evaluate MODEL --data DIR --out DIR``: recognise a data set; error rates where it has texts."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Sequence

from comflp.cli.options import add_metric, add_model_options, add_normaliser, load_model, parser
from comflp.cli.terminal import progress


def run(arguments: Sequence[str]) -> None:
    """Decode, write hypotheses and scores, and print one line."""
    options = parser("evaluate", "Recognise a data set, and give error rates where it has texts.")
    add_model_options(options)
    options.add_argument("--data", required=True, help="speech: a Kaldi data directory, a .csv or .tsv table, a .jsonl manifest, a folder of audio "
                         "files, or a saved datasets folder")
    options.add_argument("--out", required=True, help="directory for hyp, ref, score.json and the utterances with most errors")
    add_metric(options, "error rate to give first")
    add_normaliser(options)
    options.add_argument("--allow-pipes", action="store_true", help="run the commands of wav.scp entries that are pipes")
    options.add_argument("--force", action="store_true", help="replace results at --out that somebody added files to")
    given = options.parse_args(arguments)
    from comflp.artifacts import atomic_directory, check_apart, write_text
    from comflp.data.audio import AudioWarning
    from comflp.data.data_dir import DataDir
    from comflp.data.sources import read_speech
    from comflp.inference.decode import decode
    from comflp.inference.hypothesis_files import EVALUATION, kaldi_text, write_results
    from comflp.locks import working
    from comflp.replacing import check_replaceable
    from comflp.scoring import METRICS, check_references, usual_normaliser

    warnings.simplefilter("ignore", AudioWarning)
    out = Path(given.out)
    check_apart(out, given.data)
    check_replaceable(out, EVALUATION, given.force)
    with working(out) as work:
        data = read_speech(given.data, work, allow_pipes=given.allow_pipes, progress=progress)
        data = DataDir(given.data, data.utterances)  # as the user calls it, whatever it was made into
        model = load_model(given)
        normaliser, has_texts = given.normaliser or usual_normaliser(model.teacher_forced), any(utterance.text for utterance in data)
        if has_texts:
            check_references({utterance.utt_id: utterance.text for utterance in data}, model.tokenizer, normaliser)
        texts = decode(model, data, work=work, allow_pipes=given.allow_pipes, progress=progress)
        with atomic_directory(out, EVALUATION, given.force) as written:
            if has_texts:
                _, score = write_results(written, model, data, texts, given.metric, "greedy", 20, normaliser)
                found = ", ".join(f"{name.upper()} {score[name]:.2f}%" for name in sorted(METRICS, key=lambda name: name != given.metric))
                if model.teacher_forced:
                    found += f" ({score['capped_error_rate']:.2f}% {given.metric.upper()} with no utterance above 100%)"
            else:
                write_text(written / "hyp", kaldi_text(texts))
                found = "no texts to compare with"
    print(f"wrote {out}: {found}, {len(data)} utterances, real-time factor {texts.rtf:.4f}")
