"""``comflp export MODEL --out DIR``: a model as ONNX, or with int8 weights."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

from comflp.cli.options import parser


def run(arguments: Sequence[str]) -> None:
    """Write the formats that are asked for, and a line for each."""
    from comflp.deploy import export
    from comflp.models import load

    options = parser("export", "Write a model as ONNX or with int8 weights, each form compared with the model on noise.")
    options.add_argument("model", help="model directory, or name on the Hugging Face hub")
    options.add_argument("--out", required=True, help="directory; each format goes to a directory in it")
    options.add_argument("--formats", nargs="+", choices=export.FORMATS, default=list(export.FORMATS), help="formats to write")
    options.add_argument("--trust-hyperparams", action="store_true", help="allow a model's HyperPyYAML file, which can run code")
    given = options.parse_args(arguments)
    model, out = load(given.model, trust_hyperparams=given.trust_hyperparams), Path(given.out)
    for name in export.FORMATS:
        if name in given.formats:
            export.write_format(name, model, out)
            print(f"wrote {out / name}; comflp transcribe {out / name} FILE reads it")
