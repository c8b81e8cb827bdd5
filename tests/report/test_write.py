"""The written report: whole, self-contained, honest about what is missing, and with every number in the data files."""

import csv
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from comflp import report
from comflp.report.collect import Experiment

LOCAL = Path(__file__).resolve().parents[2] / "local"
VOID = {"meta", "link", "br", "img", "hr", "input"}


class Outline(HTMLParser):
    """Checks that tags are balanced; gathers ids and everything that could be fetched."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.fetched, self.sections = [], [], [], []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag not in VOID:
            self.open.append(tag)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.sections += [attributes["id"]] if tag == "section" else []
        self.fetched += [attributes[key] for key in ("src", "href", "xlink:href", "data", "action") if attributes.get(key)]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def document(experiment):
    return report.build(experiment, note="Tones, not speech.", max_increase=200.0)


@pytest.fixture(scope="module")
def written(document, tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    paths = report.write(document, out)
    assert all(path.is_file() for path in paths)
    return out


def test_page_is_well_formed_and_fetches_nothing(written):
    text = (written / "report.html").read_text()
    outline = Outline()
    outline.feed(text)
    assert outline.open == []
    assert len(outline.ids) == len(set(outline.ids))
    assert [address for address in outline.fetched if not address.startswith(("#", "data:"))] == []
    assert "<script" not in text and "@import" not in text and "url(http" not in text
    assert outline.sections == [
        "layers", "results", "deployment", "correlation", "candidates", "agreement", "depth", "dynamics", "beam", "cost",
        "provenance",
    ]


def test_page_has_light_and_dark_colours_and_names_only_known_ones(written):
    text = (written / "report.html").read_text()
    assert "prefers-color-scheme:dark" in text
    defined = set(re.findall(r"(--[a-z]+):", text))
    assert set(re.findall(r"var\((--[a-z]+)\)", text)) <= defined


def test_figures_stand_alone(written):
    figures = sorted((written / "figures").glob("*.svg"))
    assert {figure.stem for figure in figures} >= {
        "heatmap_dc", "heatmap_svcca", "candidates_prune2", "candidates_prune3", "agreement_dc_prune3", "error_rate_by_n",
        "training_prune3", "snapshots_prune3", "stage_seconds", "evaluations",
    }
    for figure in figures:
        root = ElementTree.fromstring(figure.read_text())
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "var(--" not in figure.read_text()


def test_heat_map_shows_each_pair_with_its_value(written, experiment):
    titles = re.findall(r"<title>(H\d+ and H\d+: [\d.]+)</title>", (written / "figures" / "heatmap_dc.svg").read_text())
    matrix = experiment.matrices["dc"]
    assert titles == [f"H{i} and H{j}: {matrix[i, j]:.4f}" for i in range(7) for j in range(7)]


def test_tables_keep_all_digits(written, experiment):
    rows = list(csv.DictReader((written / "tables" / "matrix_svcca.csv").open()))
    read = np.array([[float(row[str(j)]) for j in range(7)] for row in rows])
    assert np.array_equal(read, experiment.matrices["svcca"])


def test_json_holds_the_answer_and_every_table(written, document):
    content = json.loads((written / "report.json").read_text())
    assert content["answer"]["recommended"] in ("prune3/layers_4-6/finetuned", "prune3/layers_4-6/pruned")
    for section in document.sections:
        for table in section.tables:
            assert len(content["sections"][section.key]["tables"][table.name]) == len(table.rows)


def test_markdown_has_what_the_skeleton_asks_for(written, experiment):
    text = (written / "RESULTS.md").read_text()
    assert "> Tones, not speech." in text
    row = next(line for line in text.splitlines() if line.startswith("| Top drop | 3 |"))
    run = next(run for run in experiment.runs if str(run.name) == "top")
    assert f"{run.pruned.num_parameters:,}" in row and f"{experiment.quality(run.proposal):.4f}" in row
    assert f"{run.pruned.rate('test'):.2f}" in row and f"{run.finetuned.rate('test'):.2f}" in row
    assert f"{run.finetuned.scores['test']['rtf']:.4f}" in row
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert (written / target).is_file(), target


def test_writing_twice_gives_the_same_bytes(document, written, tmp_path):
    again = [path.relative_to(tmp_path) for path in report.write(document, tmp_path)]
    assert all((tmp_path / path).read_bytes() == (written / path).read_bytes() for path in again)


def test_an_empty_experiment_says_which_stage_makes_each_part():
    document = report.build(Experiment("empty", None))
    assert all(section.missing and not section.tables for section in document.sections)
    text = " ".join(line for section in document.sections for line in section.missing)
    assert all(f"tage {number}" in text for number in (2, 3, 4, 5, 6))
    assert document.headline[0].startswith("No recommendation yet")


def test_text_from_outside_is_escaped(experiment):
    page = report.html.page(report.build(experiment, title="<b>&", note="<script>alert(1)</script>"))
    assert "<b>&" not in page and "<script" not in page


def stage7(*arguments):
    return subprocess.run(
        [sys.executable, str(LOCAL / "stage7_report.py"), *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )


def test_the_stage_writes_a_report_and_makes_it_anew(exp, tmp_path):
    out = tmp_path / "my report"
    for _ in range(2):
        done = stage7("--exp", exp, "--out", out, "--max-cer-increase", 200, "--title", "Tones")
        assert done.returncode == 0, done.stderr
        assert "Remove 3 of 6 layers" in done.stdout
    assert json.loads((out / "record.json").read_text())["options"]["title"] == "Tones"


def test_the_stage_replaces_no_directory_that_is_no_report(exp, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1").write_text("years of work")
    done = stage7("--exp", exp, "--out", tmp_path / "thesis")
    assert done.returncode == 1 and "is no report" in done.stderr and "Traceback" not in done.stderr
    assert (tmp_path / "thesis" / "chapter1").exists()
