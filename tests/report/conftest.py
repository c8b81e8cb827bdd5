"""Small experiments for all tests of the report; they only read them."""

import pytest

from comflp import report
from fixtures.experiment import make_experiment, make_tones
from fixtures.two_stacks import make_two_stacks


@pytest.fixture(scope="session")
def exp(tmp_path_factory):
    """The directory of an experiment of one stack, all stages done."""
    directory = tmp_path_factory.mktemp("recipe")
    make_experiment(directory / "exp" / "small", make_tones(directory / "data"))
    return directory / "exp" / "small"


@pytest.fixture(scope="session")
def experiment(exp):
    """The same as a value."""
    return report.collect(exp)


@pytest.fixture(scope="session")
def two_stacks(tmp_path_factory):
    """An experiment of an encoder and a decoder after stage 4, as a value."""
    return report.collect(make_two_stacks(tmp_path_factory.mktemp("exp") / "both"))


@pytest.fixture(scope="session")
def recipe():
    """What the commands are made with."""
    return report.Recipe("exp/small", "./run.sh --model small")
