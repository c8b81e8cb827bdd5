#!/usr/bin/env python3
"""Stage 0, where a published model is pruned: load it by directory or hub name and save it as exp/<model>/deep."""

from pathlib import Path

from cli import parser, run

import comflp.models
from comflp.artifacts import fingerprint_model
from comflp.experiment import Layout
from comflp.record import Stage


def main():
    arguments = parser(__doc__)
    arguments.add_argument("--model", required=True, help="directory or hub name of a CTC model")
    arguments.add_argument("--out", required=True, help="experiment directory; gets deep/")
    arguments.add_argument("--trust-hyperparams", action="store_true", help="allow a model's HyperPyYAML file, which can run code")
    options = arguments.parse_args()

    deep = Layout(Path(options.out)).deep
    source = Path(options.model)
    stage = Stage(
        deep / "record.json",
        "stage0_fetch_model",
        options={"model": source.name if source.is_dir() else options.model},
        inputs={"published model": fingerprint_model(source)} if source.is_dir() else {},
        force=options.force,
    )
    if stage.up_to_date():
        print(f"{deep} is up to date")
        return
    model = comflp.models.load(options.model, trust_hyperparams=options.trust_hyperparams)
    model.save(deep)
    stage.finish([deep])
    print(f"wrote {deep}: {model.num_layers} layers, {model.num_parameters:,} parameters, from {options.model}")


if __name__ == "__main__":
    run(main)
