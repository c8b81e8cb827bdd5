"""``comflp evaluate MODEL --data DIR --out DIR``: recognise a data set; error rates where it has texts."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Sequence

from comflp.cli.options import add_model_options, add_normaliser, load_model, parser
from comflp.cli.terminal import progress


def run(arguments: Sequence[str]) -> None:
    """Decode, write hypotheses and scores, and print one line."""
    options = parser("evaluate", "Recognise a data set, and give error rates where it has texts.")
    add_model_options(options)
    options.add_argument("--data", required=True, help="speech: a Kaldi data directory, a .csv or .tsv table, a folder of audio "
                         "files, or a saved datasets folder")
    options.add_argument("--out", required=True, help="directory for hyp, ref, score.json and the utterances with most errors")
    options.add_argument("--metric", choices=("cer", "wer"), default="cer", help="error rate to give first")
    add_normaliser(options)
    options.add_argument("--allow-pipes", action="store_true", help="run the commands of wav.scp entries that are pipes")
    given = options.parse_args(arguments)
    from comflp.artifacts import write_text
    from comflp.data.audio import AudioWarning
    from comflp.data.sources import read_speech
    from comflp.inference.decode import decode
    from comflp.inference.hypothesis_files import RESULTS, kaldi_text, write_results
    from comflp.scoring import check_references, usual_normaliser

    warnings.simplefilter("ignore", AudioWarning)
    out, work = Path(given.out), Path(given.out) / ".evaluate.work"
    data = read_speech(given.data, work, allow_pipes=given.allow_pipes, progress=progress)
    model = load_model(given)
    normaliser, has_texts = given.normaliser or usual_normaliser(model.teacher_forced), any(utterance.text for utterance in data)
    if has_texts:
        check_references({utterance.utt_id: utterance.text for utterance in data}, model.tokenizer, normaliser)
    texts = decode(model, data, work=work, allow_pipes=given.allow_pipes, progress=progress)
    if has_texts:
        _, score = write_results(out, model, data, texts, given.metric, "greedy", 20, normaliser)
        found = f"CER {score['cer']:.2f}%, WER {score['wer']:.2f}%"
    else:
        for name in RESULTS if (out / "score.json").exists() else ():  # an earlier decoding's scores are not this one's
            (out / name).unlink(missing_ok=True)
        write_text(out / "hyp", kaldi_text(texts))
        found = "no texts to compare with"
    shutil.rmtree(work)
    print(f"wrote {out}: {found}, {len(data)} utterances, real-time factor {texts.rtf:.4f}")
