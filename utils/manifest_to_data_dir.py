#!/usr/bin/env python3
"""Turn a manifest of NeMo or WeNet into a Kaldi data directory.

    . ./path.sh && python utils/manifest_to_data_dir.py --manifest train_manifest.json --out data/train

A manifest has a JSON object a line: `audio_filepath`, `text` and, for a part of a recording, `offset` and `duration`
(NeMo), or `key`, `wav`, `txt` and `start` and `end` (WeNet), in seconds. Relative paths start from the manifest's own
folder. Where no row has a key, an utterance is named by its audio file and the millisecond that it begins at.
"""

import tempfile
from dataclasses import replace

import option_types
from cli import parser, progress, run
from corpus import check_new, describe, recipe_path

from comflp.data.data_dir import DATA_DIRECTORY, DataDir, write_data_dir
from comflp.data.manifests import SUFFIXES
from comflp.data.sources import read_speech
from comflp.data.tables import DataError


def main():
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--manifest", type=option_types.file, required=True, help=f"the file, {', '.join(SUFFIXES)}")
    options.add_argument("--out", type=option_types.new_named_path, required=True,
                         help="data directory to write; another one that is there is replaced with --force")
    args = options.parse_args()

    if args.manifest.suffix.lower() not in SUFFIXES:
        raise DataError(f"{args.manifest} is no manifest by its name, which ends in {', '.join(SUFFIXES)}")
    check_new(args.out, DATA_DIRECTORY, args.manifest, args.force)
    with tempfile.TemporaryDirectory() as made:
        found = read_speech(args.manifest, made, progress=progress)
    data = DataDir(args.out, [replace(utterance, wav=recipe_path(utterance.wav)) for utterance in found])
    write_data_dir(args.out, data, args.force)
    print(f"wrote {describe(data)}")


if __name__ == "__main__":
    run(main)
