"""``comflp push DIR NAME``: a model directory to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

from comflp.cli.options import parser


def run(arguments: Sequence[str]) -> None:
    """Upload, and say where the model is."""
    options = parser("push", "Upload a model directory with its card to the Hugging Face hub, with the token of hf auth login or HF_TOKEN.")
    options.add_argument("directory", type=Path, help="model directory, such as what comflp prune made")
    options.add_argument("name", help="repository: user/model; it is made if it is not there")
    options.add_argument("--private", action="store_true", help="a repository that is made is seen by its owner alone")
    given = options.parse_args(arguments)
    from comflp.deploy.push import push

    print(f"{given.directory} is at {push(given.directory, given.name, given.private)}")
