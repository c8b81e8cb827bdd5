"""One small experiment for all tests of the report; they only read it."""

import pytest

from comflp import report
from fixtures.experiment import make_experiment, make_tones


@pytest.fixture(scope="session")
def exp(tmp_path_factory):
    """The experiment's directory."""
    directory = tmp_path_factory.mktemp("recipe")
    make_experiment(directory / "exp" / "small", make_tones(directory / "data"))
    return directory / "exp" / "small"


@pytest.fixture(scope="session")
def experiment(exp):
    """The same as a value."""
    return report.collect(exp)
