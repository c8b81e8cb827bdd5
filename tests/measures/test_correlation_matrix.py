"""What holds of every measure, and what is refused of every input."""

import warnings
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from comflp.errors import ComflpError
from comflp.measures import HIDDEN, MEASURES, correlation_matrix, measure_named
from comflp.measures.heat_map import heat_map
from comflp.measures.matrix_file import read_matrix

OF_HIDDEN_STATES = sorted(name for name, measure in MEASURES.items() if measure.source == HIDDEN)
every_measure = pytest.mark.parametrize("measure", OF_HIDDEN_STATES)


@pytest.fixture
def hidden():
    return np.random.default_rng(0).normal(size=(60, 5, 6)).cumsum(axis=1)


@every_measure
def test_symmetric_with_unit_diagonal_in_the_unit_interval(measure, hidden):
    matrix = correlation_matrix(hidden, measure)
    assert matrix.shape == (5, 5) and matrix.dtype == np.float64
    assert (matrix == matrix.T).all() and (np.diag(matrix) == 1).all()
    assert (0 <= matrix).all() and (matrix <= 1).all()


@every_measure
def test_array_and_list_of_layers_are_the_same(measure, hidden):
    listed = correlation_matrix([hidden[:, layer] for layer in range(5)], measure)
    np.testing.assert_allclose(listed, correlation_matrix(hidden, measure), atol=1e-12)


@every_measure
def test_neighbours_are_more_alike_than_ends(measure, hidden):
    matrix = correlation_matrix(hidden, measure)
    assert matrix[3, 4] > matrix[0, 4]


@every_measure
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_name_utterance_and_layer(measure, value, hidden):
    hidden[7, 2, 3] = value
    names = [f"spk-{row:02d}" for row in range(60)]
    options = {"batch_size": 60, "num_batch": 1} if measure.startswith("dc") else {}
    with pytest.raises(ComflpError, match="utterance spk-07: the output of layer 2 is not finite"):
        correlation_matrix(hidden, measure, utt_ids=names, **options)
    with pytest.raises(ComflpError, match="row 7: the output of layer 2"):
        correlation_matrix(hidden, measure, **options)


@every_measure
def test_identical_layers_are_fully_alike(measure, hidden):
    hidden[:, 1] = hidden[:, 0]
    assert correlation_matrix(hidden, measure)[0, 1] == pytest.approx(1, abs=1e-6 if "released" not in measure else 1e-4)


@every_measure
def test_one_layer_of_zeros_is_answered(measure, hidden):
    hidden[:, 2] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        matrix = correlation_matrix(hidden, measure)
    assert np.isfinite(matrix).all()
    assert matrix[2, 2] == 1 and matrix[2, 3] <= 0.5 + 1e-9


@pytest.mark.parametrize(
    "hidden, message",
    [
        (np.zeros((3, 4)), "hidden states are"),
        (np.zeros((0, 3, 4)), "0 utterances"),
        (np.zeros((3, 1, 4)), "at least 1, 2 and 1"),
        (np.zeros((3, 2, 0)), "at least 1, 2 and 1"),
        ([], "no layer"),
        ([np.zeros((3, 2)), np.zeros((4, 2))], "layer 1"),
        ([np.zeros(3), np.zeros(3)], "layer 0"),
        ("hidden", "hidden states are"),
    ],
)
def test_shapes_that_do_not_fit(hidden, message):
    with pytest.raises(ComflpError, match=message):
        correlation_matrix(hidden)


def test_names_and_options_that_do_not_exist(hidden):
    with pytest.raises(ComflpError, match="no measure 'DC'; choose one of dc, svcca"):
        correlation_matrix(hidden, "DC")
    with pytest.raises(ComflpError, match="svcca has no option batch_size; it has variance"):
        correlation_matrix(hidden, "svcca", batch_size=4)
    with pytest.raises(ComflpError, match="3 utterance ids for hidden states of 60"):
        correlation_matrix(hidden, utt_ids=["a", "b", "c"])


def test_progress_sees_the_work(hidden):
    seen = []

    def progress(iterable, desc, total=None):
        seen.append(desc)
        return iterable

    correlation_matrix(hidden, "svcca", progress=progress)
    correlation_matrix(hidden, "dc", progress=progress)
    assert seen == ["covariances", "pairs of layers", "dc"]


def test_every_measure_has_a_summary_and_defaults():
    for name, measure in MEASURES.items():
        assert measure_named(name) is measure
        assert len(measure.summary) > 20 and measure.resolve() == measure.options


def test_heat_map_says_every_value_with_four_decimals(hidden):
    matrix = correlation_matrix(hidden, "dc")
    svg = heat_map(matrix, "dc")
    ElementTree.fromstring(svg)
    assert f"<title>H0 and H1: {matrix[0, 1]:.4f}</title>" in svg and svg.count("<title>") == 25
    matrix[0, 1] = np.nan
    assert 'fill="none"><title>H0 and H1: nan' in heat_map(matrix, "dc")


@pytest.mark.parametrize("content", [b"", b"not an array", b"\x93NUMPY", b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f8'"])
def test_damaged_matrix_files_are_named(content, tmp_path):
    path = tmp_path / "matrix.npy"
    path.write_bytes(content)
    with pytest.raises(ComflpError, match="matrix.npy"):
        read_matrix(path)


def test_pickled_matrix_files_are_refused(tmp_path):
    np.save(tmp_path / "matrix.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ComflpError, match="matrix.npy"):
        read_matrix(tmp_path / "matrix.npy")
    with pytest.raises(ComflpError, match="does not exist"):
        read_matrix(tmp_path / "none.npy")


def test_tensors_are_arrays():
    hidden = torch.randn(40, 4, 6, requires_grad=True)
    expected = correlation_matrix(hidden.detach().numpy())
    np.testing.assert_array_equal(correlation_matrix(hidden), expected)
    np.testing.assert_array_equal(correlation_matrix([hidden[:, layer] for layer in range(4)]), expected)
    np.testing.assert_allclose(correlation_matrix(hidden.bfloat16()), expected, atol=0.02)
