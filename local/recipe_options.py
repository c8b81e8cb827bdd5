#!/usr/bin/env python3
"""Print the recipe_options of a configuration, a line each: name, tab, value. For run.sh to fill in what was not given."""

import option_types
from cli import Parser, run
from hparams import load

from comflp.errors import ComflpError


def main():
    arguments = Parser(description=__doc__, allow_abbrev=False)
    arguments.add_argument("config", type=option_types.file, help="HyperPyYAML file with a mapping recipe_options")
    config = arguments.parse_args().config
    options = load(str(config), []).settings.get("recipe_options")
    if not isinstance(options, dict):
        raise ComflpError(f"{config} has no mapping recipe_options")
    for name, value in options.items():
        print(name, str(value).lower() if isinstance(value, bool) else value, sep="\t")


if __name__ == "__main__":
    run(main)
