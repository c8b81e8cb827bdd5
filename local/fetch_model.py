#!/usr/bin/env python3
"""Stage 0, where a published model is pruned: load it by directory or hub name and save it as exp/<model>/deep."""

from argparse import ArgumentTypeError
from pathlib import Path

import option_types
from cli import parser, run

from comflp.artifacts import atomic_directory, check_apart, fingerprint_model
from comflp.errors import shown
from comflp.experiment import Layout
from comflp.names import name_fault
from comflp.record import Stage
from comflp.replacing import MODEL, check_replaceable
from comflp.stacks import as_json


def model_name(text):
    """A folder, or the name of a model on the hub: one or two names with a slash between."""
    parts = text.split("/")
    if not Path(text).is_dir() and (len(parts) > 2 or any(name_fault(part) for part in parts)):
        raise ArgumentTypeError(f"{shown(text)} is no folder, and no hub name such as facebook/wav2vec2-base-960h")
    return text


def main():
    arguments = parser(__doc__)
    arguments.add_argument("--model", type=model_name, required=True, help="directory or hub name of a model")
    arguments.add_argument("--language", type=option_types.name, default="",
                           help="which language a multilingual model, such as Whisper, is to recognise")
    arguments.add_argument("--out", type=option_types.new_path, required=True, help="experiment directory; gets deep/")
    arguments.add_argument("--context-seconds", type=option_types.count, default=0,
                           help="pad utterances to so many seconds, not to the model's window: an approximation; 0: the window")
    arguments.add_argument("--trust-hyperparams", action="store_true", help="allow a model's HyperPyYAML file, which can run code")
    options = arguments.parse_args()

    deep = Layout(Path(options.out)).deep
    source = Path(options.model)
    if source.is_dir():
        check_apart(deep, source)
    stage = Stage(
        deep / "record.json",
        "stage0_fetch_model",
        options={"model": source.name if source.is_dir() else options.model,
                 **({"language": options.language} if options.language else {}),
                 **({"context_seconds": options.context_seconds} if options.context_seconds else {})},
        inputs={"published model": fingerprint_model(source)} if source.is_dir() else {},
        force=options.force,
    )
    if stage.up_to_date():
        print(f"{deep} is up to date")
        return
    check_replaceable(deep, MODEL, options.force)
    import comflp.models  # a model that is there already needs no torch, which takes seconds to import

    model = comflp.models.load(options.model, trust_hyperparams=options.trust_hyperparams, language=options.language or None)
    if options.context_seconds:
        from comflp.models.transformers.window import with_window

        model = with_window(model, options.context_seconds)
    with atomic_directory(deep, MODEL, options.force) as temporary:
        model.save(temporary)
    stage.finish([deep], stacks=as_json(model.stacks))
    depths = [f"{stack.num_layers} layers{f' of the {name}' * (len(model.stacks) > 1)}" for name, stack in model.stacks.items()]
    print(f"wrote {deep}: {', '.join(depths)}, {model.num_parameters:,} parameters, from {options.model}")


if __name__ == "__main__":
    run(main)
