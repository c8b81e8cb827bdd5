"""``comflp export MODEL --to RUNTIME --out DIR``: a model for the runtimes that devices have."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path
from typing import Any, Mapping, Sequence

from comflp.cli.numbers import count
from comflp.cli.options import add_metric, add_normaliser, parser


def run(arguments: Sequence[str]) -> None:
    """Write the formats that are asked for, and a line for each."""
    from comflp.deploy.formats import PRECISIONS, formats_of

    precisions = sorted({precision for found in PRECISIONS.values() for precision in found})
    options = parser("export", "Write a model for other runtimes, and check each form with the runtime that it is for.")
    options.add_argument("model", help="model directory, or name on the Hugging Face hub")
    options.add_argument("--to", nargs="+", choices=PRECISIONS, default=["onnx"], help="runtimes to write it for")
    options.add_argument("--precision", nargs="+", choices=precisions, default=[],
                         help="how the weights are held; float32 if left out, for torch int8")
    options.add_argument("--out", required=True, help="directory; each format goes to a directory in it")
    options.add_argument("--data", help="speech to check the exports on, in any form that comflp evaluate takes")
    options.add_argument("--num-utterances", type=count, default=50, help="how many of its utterances, drawn at random; 0: all")
    options.add_argument("--calibration", help="speech for int8_static, in any form that comflp evaluate takes")
    add_metric(options, "error rate that export.json has, where --data has texts")
    add_normaliser(options)
    options.add_argument("--allow-pipes", action="store_true", help="run the commands of wav.scp entries that are pipes")
    options.add_argument("--language", help="which language a multilingual model such as Whisper is to recognise")
    options.add_argument("--trust-hyperparams", action="store_true", help="allow a model's HyperPyYAML file, which can run code")
    options.add_argument("--force", action="store_true", help="replace exports at --out that somebody added files to")
    given = options.parse_args(arguments)
    from comflp.deploy.export import Check, export, refuse_own_place
    from comflp.models import load
    from comflp.scoring import usual_normaliser

    forms = formats_of(given.to, given.precision)
    refuse_own_place(given.model, given.out, forms)
    model = load(given.model, trust_hyperparams=given.trust_hyperparams, language=given.language)
    with tempfile.TemporaryDirectory() as work:
        scored = given.metric, given.normaliser or usual_normaliser(model.teacher_forced), given.allow_pipes
        check = Check(tuple(_speech(given.data, Path(work) / "check", given.num_utterances, given.allow_pipes)), *scored) if given.data else None
        calibration = _speech(given.calibration, Path(work) / "calibration", 0, given.allow_pipes) if given.calibration else []
        export(model, Path(given.out), forms, check, calibration, done=_say, force=given.force, allow_pipes=given.allow_pipes)


def _speech(source: str, work: Path, number: int, allow_pipes: bool) -> list[Any]:
    """Utterances of ``source``, ``number`` of them drawn at random; all where it is 0."""
    from comflp.data.data_dir import subset
    from comflp.data.sources import read_speech

    data = read_speech(source, work, allow_pipes=allow_pipes)
    return list(subset(data, number, seed=0) if 0 < number < len(data) else data)


def _say(directory: Path, about: Mapping[str, Any]) -> None:
    checked = ""
    if "same_texts" in about:
        checked = f", {about['same_texts']} of {about['num_utterances']} texts as in PyTorch, real-time factor {about['rtf']['1']:.4f}"
    print(f"wrote {directory}{checked}; comflp transcribe {shlex.quote(str(directory))} FILE reads it")
