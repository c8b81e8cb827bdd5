#!/usr/bin/env python3
"""Print the recipe_options of a configuration, a line each: name, tab, value. For run.sh to fill in what was not given."""

from argparse import ArgumentParser

from cli import run
from hparams import load



def main():
    arguments = ArgumentParser(description=__doc__)
    arguments.add_argument("config", help="HyperPyYAML file with a mapping recipe_options")
    for name, value in load(arguments.parse_args().config, []).values["recipe_options"].items():
        print(name, str(value).lower() if isinstance(value, bool) else value, sep="\t")


if __name__ == "__main__":
    run(main)
