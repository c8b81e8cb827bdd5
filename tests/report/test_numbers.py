"""Numbers of the report that no other test works out: under their own names, of the right lists, the right way round."""

from dataclasses import replace

import pytest

from comflp.report.choices import Speed, choices
from comflp.report.collect import Experiment
from comflp.report.document import Table
from comflp.report.names import label
from comflp.report.sections import candidates, first, measures, replication
from comflp.report.sections.search import decoding_seconds, layer_runs, search_seconds
from comflp.report.values import Run, SearchList
from comflp.result_names import ListName, ProposalName
from comflp.target import LayerCounts


def test_speed_is_how_many_times_as_fast_as_the_deep_model(experiment):
    rows = [{"path": path, "format": "torch", "rtf": {"1": rtf}} for path, rtf in (("deep", 0.4), ("prune3/layers_4-6/finetuned", 0.25))]
    speeds = {choice.path: choice.speed for choice in choices(replace(experiment, deployment={"rows": rows})) if choice.speed.measured}
    assert speeds == {"deep": Speed(1.0, True, 0.4), "prune3/layers_4-6/finetuned": Speed(1.6, True, 0.25), "prune3/layers_4-6/pruned": Speed(1.6, True, 0.25)}


def test_the_papers_table_has_pruned_and_fine_tuned_under_their_own_names(experiment):
    [table] = [part for part in replication.section(experiment, "CER").every(Table) if part.name == "results"]
    run = next(run for run in experiment.runs if str(run.name) == "top")
    [row] = [record for record in table.records() if record["Model"] == label(run.name, run.settings)]
    for data in ("dev", "test"):
        assert (row[f"{data}, pruned"], row[f"{data}, fine-tuned"]) == (run.pruned.rate(data), run.finetuned.rate(data))
    assert run.pruned.rate("test") != run.finetuned.rate("test")


def test_as_many_are_tied_as_their_intervals_say(experiment):
    tables = {table.name: table for table in candidates.section(experiment, "CER").every(Table)}
    for counts in experiment.counts:
        rows = {record["Search"]: record for record in tables[f"searches_{counts.directory}"].records()}
        for entry in experiment.lists_of(counts):
            if not entry.name.reverse and len(entry.results) > 1:
                assert rows[label(entry.name)]["Tied"] == sum(result["tied_with_best"] for result in entry.results[1:])
    assert any(not result["tied_with_best"] for entry in experiment.lists for result in entry.results if not entry.name.reverse)


def test_repaired_and_unrepaired_candidates_are_not_mixed(experiment):
    """Of the same layers, decoded in both states, the repaired model counts."""
    [plain] = [entry for entry in experiment.lists if str(entry.name) == "dc" and entry.counts.total == 3]
    results = [{**result, "error_rate": 1.0} for result in plain.results[:3]]
    repaired = replace(plain, name=ListName("svcca"), repaired=True, ranked={**plain.ranked, "results": results})
    both = replace(experiment, lists=(repaired, plain))
    assert [rate for _, rate in measures._pairs(both, both.lists, "dc").values()] == [1.0] * 3
    [figure] = [part for part in first._curve(both, [], "CER")[0].choices if part[0] == "Layers"]
    assert sorted(row[1] for row in figure[1].data.rows)[:4] == [1.0] * 3 + [min(result["error_rate"] for result in plain.results[3:])]


def test_what_a_list_takes_to_decode_is_its_own_part_of_a_walk():
    """Layers 1, 2 are shared by the two: 4 runs a batch of 6. A coarse proposal needs no decoding."""
    counts = LayerCounts({"encoder": 1})
    ranked = {"num_layers": 4, "num_batches": 3, "layer_runs": 60, "seconds": 10.0, "results": [{"proposal": "3"}, {"proposal": "4"}]}
    entry = SearchList(counts, ListName("dc"), {"num_layers": 4, "seconds": 2.0}, ranked)
    assert layer_runs(entry) == (18, 12) and decoding_seconds(entry) == pytest.approx(2.0)
    assert layer_runs(replace(entry, repaired=True)) == (18, 18), "repaired models share no layer"
    runs = {name: Run(counts, ProposalName.parse(name), None, None, None, None, None, [], {}) for name in ("dc_coarse", "dc_fine", "top")}
    seconds = {name: search_seconds(Experiment("m", None, lists=(entry,)), run) for name, run in runs.items()}
    assert seconds == {"dc_coarse": 2.0, "dc_fine": pytest.approx(4.0), "top": None}
