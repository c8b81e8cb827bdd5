"""What rates are compared by: of one metric, of the same references, with no utterance above 100% where a model repeats itself."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from comflp import report
from comflp.artifacts import read_json, write_json, write_text
from comflp.cli.report import run
from comflp.errors import ComflpError
from comflp.report.document import Table
from comflp.report.rates import read_rate
from fixtures.two_stacks import DEEP_RATE, make_two_stacks

LOCAL = Path(__file__).resolve().parents[2] / "local"


@pytest.fixture
def copied(exp, tmp_path):
    return shutil.copytree(exp, tmp_path / "exp" / "small", symlinks=True)


def decode(directory, references, hypotheses, speakers=(), cer=0.0, **score):
    """The rate of what stage 6 leaves of some texts by utterance id."""
    for name, texts in (("ref", references), ("hyp", hypotheses)):
        write_text(directory / name, "".join(f"{utt_id} {text}\n" for utt_id, text in sorted(texts.items())))
    if speakers:
        write_text(directory / "ref.trn", "".join(f"{' '.join(references[i])} ({speaker}-{i})\n" for i, speaker in zip(sorted(references), speakers)))
    return read_rate(directory, {"metric": "cer", "cer": cer, "ranked_by": "error_rate", "num_utterances": len(references), **score}, "cer")


def test_speakers_are_told_from_ids_with_dashes(tmp_path):
    rate = decode(tmp_path, {"001": "ab", "en-001": "cd"}, {"001": "ab", "en-001": "cd"}, ["ben", "anna"])
    assert rate.counts.speakers == ("ben", "anna")


def test_rates_of_other_references_are_not_compared(tmp_path):
    texts = {"a": "It's four.", "b": "Two."}
    plain = {"a": "it s four", "b": "two"}
    first, second = decode(tmp_path / "1", texts, plain), decode(tmp_path / "2", plain, plain)
    assert first.less(second) is None and second.less(second).value == 0
    corrected = decode(tmp_path / "3", {"a": "it s five", "b": "two"}, plain)
    assert corrected.less(second) is None, "as long as the text before, and another"


def test_decodes_of_data_that_was_changed_in_between_are_refused(copied):
    for number, directory in enumerate(sorted(copied.rglob("decode_test"))[:2]):
        record = {key: {} for key in ("options", "origin", "outputs", "versions")} | {"stage": "stage6_decode", "seconds": 1.0, "command": "stage6"}
        write_json(directory / "record.json", {**record, "inputs": {"decoded data": str(number)}, "finished": f"2026-01-01T00:00:0{number}.000+00:00"})
    with pytest.raises(ComflpError, match="decode_test is of other data than .*decode_test: .* run stage 6 again with --force, or move .* away"):
        report.collect(copied)


def test_one_utterance_gives_no_interval(tmp_path):
    rate = decode(tmp_path, {"a": "four"}, {"a": "for"})
    assert rate.low is None and rate.less(rate) is None


def test_what_repeats_itself_is_compared_with_no_utterance_above_a_hundred(tmp_path):
    texts = {"a": "four", "b": "five"}
    loops = decode(tmp_path / "1", texts, {"a": "four" * 50, "b": "five"}, cer=2450.0, capped_error_rate=50.0, ranked_by="capped_error_rate")
    good = decode(tmp_path / "2", texts, {"a": "for", "b": "five"}, cer=12.5, capped_error_rate=12.5, ranked_by="capped_error_rate")
    assert (loops.value, loops.compared) == (2450.0, 50.0) and loops.less(good).value == 37.5
    assert loops.high > 2450, "the interval is of what is shown"


def test_models_are_chosen_by_what_the_search_ranked_them_by(tmp_path):
    exp = make_two_stacks(tmp_path / "both")
    path = exp / "prune_encoder1" / "skip_kl" / "ranked.json"
    ranked = read_json(path)
    best = ranked["results"][0]
    best.update(error_rate=95.0, capped_error_rate=DEEP_RATE + 0.5, deep_difference=0.5)
    write_json(path, {**ranked, "ranked_by": "capped_error_rate"})
    document = report.build(report.collect(exp))
    assert document.facts["removed"] == best["proposal"] and document.facts["within"] is True
    assert document.facts["rate"]["value"] == 95.0 and document.facts["difference"]["value"] == 0.5
    assert any("repeat themselves" in line for line in document.warnings)


def test_rates_of_another_metric_are_left_out(copied):
    for path in copied.glob("prune*/*/finetuned/record.json"):
        if not path.parent.is_symlink():
            write_json(path, {**read_json(path), "facts": {"metric": "cer"}})
    tables = {table.name: table for table in report.build(report.collect(copied, "wer"), metric="wer").every(Table)}
    assert "error_rate_by_n" not in tables
    assert tables["training"].columns[3].title == "Dev WER (%)" and all(row[3] is None for row in tables["training"].rows)


def test_the_command_writes_whole_reports_and_nobodys_files(copied, tmp_path, two_stacks, capsys):
    out = tmp_path / "out"
    run([str(copied), "--out", str(out), "--note", "Tones,\nnot speech.", "--max-increase", "300"])
    assert (out / "tables" / "training.csv").exists() and "> Tones,\n> not speech." in (out / "RESULTS.md").read_text()
    assert json.loads((out / "report.json").read_text())["answer"]["max_increase"] == 300
    run([str(make_two_stacks(tmp_path / "both")), "--out", str(out)])
    assert not (out / "tables" / "training.csv").exists(), "a table of the report before"
    (out / "mine.txt").write_text("mine")
    with pytest.raises(ComflpError, match=r"mine\.txt"):
        run([str(copied), "--out", str(out)])
    assert (out / "mine.txt").exists()
    run([str(copied)])
    stage7 = [sys.executable, str(LOCAL / "stage7_report.py"), "--exp", str(copied)]
    said = [subprocess.run(stage7, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert said[0].startswith("wrote") and "up to date" in said[1]
    elsewhere = [*stage7, "--out", str(copied / "report_b")]
    said = [subprocess.run(elsewhere, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert said[0].startswith("wrote") and "up to date" in said[1], "a report is no result of the experiment"


def test_names_of_experiments_may_be_anything(exp, tmp_path):
    for name in ("State", "_old", "a$b$c"):
        shutil.copytree(exp, tmp_path / name, symlinks=True)
    run([str(tmp_path / name) for name in ("State", "_old", "a$b$c")] + ["--out", str(tmp_path / "out")])
    row = json.loads((tmp_path / "out" / "report.json").read_text())["tables"]["ways"][0]
    assert row["State"] == "deep" and isinstance(row["State (5)"], float)
    drawn = (tmp_path / "out" / "figures" / "experiments_by_layers.svg").read_text()
    assert "_old" in drawn and "a$b$c" in drawn


def test_seeds_are_of_one_metric_and_one_number_of_layers(copied):
    table = [sys.executable, str(LOCAL / "table_of_seeds.py"), "--exp", str(copied), "--tag", ""]
    for path in copied.rglob("score.json"):
        content = read_json(path)
        write_json(path, {**content, "metric": "wer", "error_rate": content["wer"]})
    said = subprocess.run([*table, "--num-prune", "3", "--metric", "wer"], capture_output=True, text=True, check=True).stdout
    deep = read_json(copied / "deep" / "decode_test" / "score.json")["wer"]
    assert said.startswith("| model | v(P), DC | WER on test, pruned") and f"| {deep:.2f} | 1 |" in said
    failed = subprocess.run([*table, "--num-prune", "2,3"], capture_output=True, text=True)
    assert failed.returncode and "a table is of one" in failed.stderr


def test_insertions_against_nothing_count(tmp_path):
    from comflp.search.fine.bootstrap import difference, rate_interval

    counts = np.array([[0, 0, 5, 0]] * 20 + [[0, 0, 0, 10]] * 20)
    low, high = rate_interval(counts)
    assert low < 50.0 < high and difference(counts, counts * np.array([1, 1, 0, 1])).low > 0


def test_intervals_of_decodes_draw_whole_speakers(tmp_path):
    """One of six speakers has all the errors: a draw may be without that one."""
    speakers = {f"u{number:02d}": f"s{number % 6}" for number in range(60)}
    texts = dict.fromkeys(speakers, "abcd")
    wrong = {utt_id: "abxx" if speaker == "s0" else "abcd" for utt_id, speaker in speakers.items()}
    rate, perfect = (decode(tmp_path / name, texts, found, speakers.values()) for name, found in (("1", wrong), ("2", texts)))
    assert rate.low == 0 and rate.less(perfect).low == 0 and rate.less(perfect).tied
