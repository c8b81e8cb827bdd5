"""A matrix of costs in the report: bright where skipping is harmless, qualities below zero, nothing infinite shown."""

import shutil

import numpy as np
import pytest

from comflp import report
from comflp.artifacts import write_json
from comflp.measures import Speech, skip_matrix
from comflp.proposal import PruningProposal
from comflp.report.document import Figure, Table
from comflp.report.sections import measures
from fixtures.experiment import make_deep_model, make_tones


@pytest.fixture(scope="module")
def with_costs(exp, tmp_path_factory):
    """The experiment, and S in which blocks of three layers and more are forbidden."""
    folder = tmp_path_factory.mktemp("costs")
    copied = shutil.copytree(exp, folder / "small", symlinks=True)
    matrix = skip_matrix(Speech(make_deep_model(), make_tones(folder / "data", 6)), "skip_kl", max_block=2)
    start, end = np.indices(matrix.shape)
    matrix[abs(end - start) > 2] = np.inf
    np.save(copied / "correlation" / "skip_kl.npy", matrix)
    write_json(copied / "correlation" / "skip_kl.json", {"measure": "skip_kl", "kind": "cost", "options": {"max_block": 2, "seed": None}})
    return report.collect(copied), matrix


def test_quality_is_minus_the_cost_and_none_where_a_block_is_forbidden(with_costs):
    experiment, matrix = with_costs
    assert experiment.quality(PruningProposal.parse("2,4-5", 6), "skip_kl") == pytest.approx(-matrix[1, 2] - matrix[3, 5])
    assert experiment.quality(PruningProposal.parse("4-6", 6), "skip_kl") is None
    assert experiment.main_measure == "dc"


def test_the_heat_map_shows_what_stays(with_costs):
    experiment, matrix = with_costs
    section = measures.section(experiment, "CER")
    figure = next(figure for figure in section.every(Figure) if figure.name == "heatmap_skip_kl")
    assert f"H1 and H2: {np.exp(-matrix[1, 2]):.4f}" in figure.svg and "H0 and H6: 0.0000" in figure.svg
    tables = {table.name: table for table in section.every(Table)}
    assert {row[0]: row[-1] for row in tables["matrices"].rows} == {"DC": "", "SVCCA": "", "Skip KL": "max_block 2"}
    assert tables["heatmap_skip_kl"].rows[0][7] == 0.0
    table = next(table for table in section.every(Table) if table.name == "matrix_skip_kl")
    assert table.rows[0][7] is None and table.rows[1][3] == pytest.approx(matrix[1, 2])


def test_scatter_and_files_leave_out_what_is_forbidden(with_costs, tmp_path):
    experiment, _ = with_costs
    points = [table for table in measures.section(experiment, "CER").every(Table) if table.name.startswith("agreement_skip_kl")]
    assert points and all(np.isfinite(row[2]) for table in points for row in table.rows)
    report.write(report.build(experiment), tmp_path / "report")
    for path in (tmp_path / "report").rglob("*.*"):
        if path.suffix in (".md", ".html", ".csv", ".json"):
            assert "Infinity" not in path.read_text() and ",inf" not in path.read_text(), path
