"""The written report: whole, self-contained, honest about what is missing, and with every number in the data files."""

import csv
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from comflp import report
from comflp.report.collect import Experiment
from comflp.report.document import Table, Text
from comflp.report.palette import PALETTE
from fixtures.in_process import ROOT, call
from fixtures.numbers_shown import missing_numbers
from fixtures.two_stacks import DEEP_RATE, rate_of

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
def document(experiment, recipe):
    return report.build(experiment, note="Tones, not speech.", max_increase=200.0, recipe=recipe)


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
    assert outline.sections == ["models", "candidates", "deployment", "measures", "training", "search", "replication", "provenance"]


def test_page_has_light_and_dark_colours_and_names_only_known_ones(written):
    text = (written / "report.html").read_text()
    assert "prefers-color-scheme:dark" in text
    defined = set(re.findall(r"(--[a-z]+):", text))
    assert set(re.findall(r"var\((--[a-z]+)\)", text)) <= defined


@pytest.mark.parametrize("theme", [0, 1])
def test_text_has_the_contrast_of_aa(theme):
    def luminance(name):
        channels = (int(PALETTE[name][theme][place : place + 2], 16) / 255 for place in (1, 3, 5))
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    for text, ground in (("ink", "page"), ("ink", "card"), ("muted", "page"), ("muted", "card"), ("blue", "page"), ("page", "blue"), ("page", "ink")):
        low, high = sorted((luminance(text), luminance(ground)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground)


def test_figures_stand_alone(written):
    figures = sorted((written / "figures").glob("*.svg"))
    assert {figure.stem for figure in figures} >= {
        "layers", "error_by_cost_0", "error_by_cost_1", "heatmap_dc", "heatmap_svcca", "candidates_prune2", "candidates_prune3",
        "agreement_dc_prune3", "error_rate_by_n", "training_prune3", "snapshots_prune3",
    }
    for figure in figures:
        root = ElementTree.fromstring(figure.read_text())
        assert root.tag == "{http://www.w3.org/2000/svg}svg" and root.get("aria-label")
        assert "var(--" not in figure.read_text()


def test_heat_map_shows_each_pair_with_its_value(written, experiment):
    titles = re.findall(r"<title>(H\d+ and H\d+: [\d.]+)</title>", (written / "figures" / "heatmap_dc.svg").read_text())
    matrix = experiment.matrices["dc"]["encoder"]
    assert titles == [f"H{i} and H{j}: {matrix[i, j]:.4f}" for i in range(7) for j in range(7)]


def test_tables_keep_all_digits(written, experiment):
    rows = list(csv.DictReader((written / "tables" / "matrix_svcca.csv").open()))
    read = np.array([[float(row[str(j)]) for j in range(7)] for row in rows])
    assert np.array_equal(read, experiment.matrices["svcca"]["encoder"])


def test_json_holds_the_answer_and_every_table(written, document):
    content = json.loads((written / "report.json").read_text())
    assert content["answer"]["recommended"] in ("prune3/layers_4-6/finetuned", "prune3/layers_4-6/pruned")
    for table in document.every(Table):
        assert len(content["tables"][table.name]) == len(table.rows)


def test_every_number_of_the_page_is_in_the_json(written):
    page, content = (written / "report.html").read_text(), json.loads((written / "report.json").read_text())
    assert missing_numbers(page, content) == []


def test_a_number_that_is_not_in_the_json_is_found(written):
    page, content = (written / "report.html").read_text(), json.loads((written / "report.json").read_text())
    assert missing_numbers(page.replace("<h1>", "<h1>77.77% ", 1), content) == ["77.77"]
    content["tables"].pop("stage_seconds")
    content["tables"].pop("records")
    assert missing_numbers(page, content)


def test_two_stacks_have_a_grid_and_two_rows_of_layers(two_stacks, tmp_path):
    document = report.build(two_stacks)
    assert document.headline[0] == "No model stays within 1 point of CER of the deep one on valid; the closest: remove 1 of 6 encoder layers (2)."
    grid = next(table for table in document.every(Table) if table.name == "grid")
    assert len(grid.rows) == 9 and grid.rows[0] == (0, 0, DEEP_RATE) and grid.rows[-1] == (2, 2, rate_of(2, 2))
    report.write(document, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "encoder layer 2: " in page and "decoder layer 2: " in page and "N=encoder=2+decoder=2" in page
    assert missing_numbers(page, json.loads((tmp_path / "report.json").read_text())) == []


def test_markdown_has_the_answer_the_commands_and_the_models(written, experiment, document):
    text = (written / "RESULTS.md").read_text()
    assert "> Tones, not speech." in text and document.headline[0] in text
    for line in json.loads((written / "report.json").read_text())["commands"]:
        assert f"    {line}" in text
    decoded_from = experiment.deep.scores["test"]["data"]
    assert any(line.startswith("python steps/export.py") and line.endswith(f"--data {decoded_from}") for line in text.replace("    ", "").splitlines())
    run = next(run for run in experiment.runs if str(run.name) == "top")
    row = next(line for line in text.splitlines() if line.startswith("| Top drop, N=3 |") and "fine-tuned" in line)
    assert f"{run.finetuned.num_parameters:,}" in row and f"{run.finetuned.rate('test'):.2f} ({run.finetuned.rates['test'].low:.2f}" in row
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert (written / target).is_file(), target


def test_writing_twice_gives_the_same_bytes(document, written, tmp_path):
    again = [path.relative_to(tmp_path) for path in report.write(document, tmp_path)]
    assert all((tmp_path / path).read_bytes() == (written / path).read_bytes() for path in again)


def test_an_empty_experiment_says_which_stage_makes_each_part():
    document = report.build(Experiment("empty", None))
    assert all(any(text.missing for text in section.every(Text)) and not section.every(Table) for section in document.sections)
    text = " ".join(text.text for section in document.sections for text in section.every(Text))
    assert all(f"tage {number}" in text for number in (2, 4, 5)) and document.headline[0].startswith("No recommendation yet")


def test_text_from_outside_is_escaped(experiment):
    page = report.html.page(report.build(experiment, title="<b>&", note="<script>alert(1)</script>"))
    assert "<b>&" not in page and "<script" not in page


def stage7(*arguments):
    return call("local/stage7_report.py", [*map(str, arguments)], ROOT)


def test_the_stage_writes_a_report_and_makes_it_anew(exp, tmp_path):
    out = tmp_path / "my report"
    for more, said in (((), "Remove 3 of 6 layers"), ((), "is up to date"), (("--force",), "Remove 3 of 6 layers")):
        done = stage7("--exp", exp, "--out", out, "--max-cer-increase", 200, "--title", "Tones", *more)
        assert done.status == 0 and said in done.said, done.said
    assert json.loads((out / "record.json").read_text())["options"]["title"] == "Tones"


def test_the_stage_replaces_no_directory_that_is_no_report(exp, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1").write_text("years of work")
    done = stage7("--exp", exp, "--out", tmp_path / "thesis")
    assert done.status == 1 and "is no report" in done.said and "Traceback" not in done.said
    assert (tmp_path / "thesis" / "chapter1").exists()


def test_an_experiment_that_does_not_exist_is_one_line(tmp_path):
    done = stage7("--exp", tmp_path / "nowhere")
    assert done.status == 1 and done.said.count("\n") == 1 and "does not exist" in done.said
