"""Nothing of the user's is replaced: a tool replaces what carries its own record, and nothing else."""

import os
import shutil

import pytest

from comflp.artifacts import atomic_directory, atomic_path, check_apart
from comflp.data.data_dir import DATA_DIRECTORY, Utterance, read_data_dir, write_data_dir
from comflp.errors import ComflpError
from comflp.replacing import MODEL, Kind
from fixtures.in_process import call

REPORT = Kind("report", signs=("report.html",))
OWN = Kind("folder of this test")


def write(path, kind=REPORT, force=False, **files):
    with atomic_directory(path, kind, force) as temporary:
        for name, content in (files or {"report": "new"}).items():
            (temporary / "figures").mkdir(exist_ok=True)
            (temporary / f"{name}.html").write_text(content)
            (temporary / "figures" / f"{name}.svg").write_text(content)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(tmp_path, message, path, **options):
    """It is refused with that message, and not a byte below tmp_path is another."""
    before = contents(tmp_path)
    with pytest.raises(ComflpError, match=message):
        write(path, **options)
    assert contents(tmp_path) == before


def test_its_own_directory_is_replaced_whole(tmp_path):
    write(tmp_path / "report", report="old", more="old")
    write(tmp_path / "report", report="new")
    assert sorted(contents(tmp_path / "report")) == [".comflp.json", "figures/report.svg", "report.html"]
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty")


def test_results_that_other_stages_left_in_it_are_no_strangers(tmp_path):
    write(tmp_path / "model", OWN)
    for name in ("decode_dev/record.json", "export/onnx/record.json", "record.json", "decode_test/.partial/0.json", ".DS_Store"):
        (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / name).write_text("{}")
    (tmp_path / "model" / "decode_dev" / "hyp").write_text("u1 a")
    write(tmp_path / "model", OWN)
    assert sorted(contents(tmp_path / "model")) == [".comflp.json", "figures/report.svg", "report.html"]


@pytest.mark.parametrize("name", ["notes.txt", "figures/mine.svg"])
def test_a_file_that_was_added_is_kept_unless_forced(tmp_path, name):
    write(tmp_path / "report")
    (tmp_path / "report" / name).write_text("mine")
    refused(tmp_path, f"holds {name}, which this program did not put there; add --force", tmp_path / "report")
    write(tmp_path / "report", force=True)
    assert not (tmp_path / "report" / name).exists()


def test_a_folder_that_was_added_is_kept_even_if_forced(tmp_path):
    write(tmp_path / "report")
    (tmp_path / "report" / "recordings").mkdir()
    (tmp_path / "report" / "recordings" / "a.wav").write_text("mine")
    for force in (False, True):
        refused(tmp_path, "holds recordings/, which this program did not put there; move it away", tmp_path / "report", force=force)


def test_a_directory_of_another_kind_is_kept_even_if_forced(tmp_path):
    write(tmp_path / "report")
    (tmp_path / "stuff").mkdir()
    (tmp_path / "stuff" / "thesis.tex").write_text("mine")
    for force in (False, True):
        refused(tmp_path, "is a report, not a folder of this test", tmp_path / "report", kind=OWN, force=force)
        refused(tmp_path, r"is no report of this program \(thesis.tex\)", tmp_path / "stuff", force=force)


def test_one_of_the_same_kind_that_somebody_else_made_is_replaced_only_if_forced(tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.html").write_text("by hand")
    refused(tmp_path, "add --force to replace it", tmp_path / "report")
    write(tmp_path / "report", force=True)
    assert (tmp_path / "report" / "report.html").read_text() == "new"


def test_links_and_files_are_not_replaced(tmp_path):
    write(tmp_path / "elsewhere")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "file").write_text("mine")
    for name in ("link", "file"):
        for force in (False, True):
            refused(tmp_path, "is there already and is a link or a file", tmp_path / name, force=force)
    with pytest.raises(ComflpError, match="it is a folder or a device"), atomic_path(tmp_path / "elsewhere"):
        pass


def test_nothing_is_replaced_before_the_new_one_is_there(tmp_path):
    write(tmp_path / "report")
    before = contents(tmp_path)
    with pytest.raises(ZeroDivisionError), atomic_directory(tmp_path / "report", REPORT) as temporary:
        (temporary / "report.html").write_text("half")
        raise ZeroDivisionError
    assert contents(tmp_path) == before


def test_what_a_kill_set_aside_comes_back(tmp_path):
    """Killed between the two renames, and then the next run fails: the old directory is there again."""
    write(tmp_path / "report", report="old")
    os.replace(tmp_path / "report", tmp_path / ".tmp-old-report")
    with pytest.raises(ZeroDivisionError), atomic_directory(tmp_path / "report", REPORT):
        raise ZeroDivisionError
    assert (tmp_path / "report" / "report.html").read_text() == "old"


@pytest.mark.parametrize("mark", ["", "[]", '{"kind": 3, "files": []}', '{"kind": "report", "files": [3]}', "[" * 100_000])
def test_a_damaged_mark_is_none(tmp_path, mark):
    write(tmp_path / "own", OWN)
    (tmp_path / "own" / ".comflp.json").write_text(mark)
    refused(tmp_path, "is no folder of this test of this program", tmp_path / "own", kind=OWN, force=True)


@pytest.mark.parametrize("place", [".", "..", "../../some/where", "sub/..", "/"])
def test_the_folder_that_one_is_in_is_not_replaced(tmp_path, monkeypatch, place):
    """Neither where it is empty: it cannot be moved by a name such as ".", and the shell would stand in a folder that is gone."""
    (tmp_path / "some" / "where").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "some" / "where")
    refused(tmp_path, "it is the current folder or holds it", place)
    write(tmp_path / "some" / "where" / "report")
    monkeypatch.chdir("report")
    refused(tmp_path, "it is the current folder or holds it", "../report")
    with pytest.raises(ComflpError, match="it is a folder or a device"), atomic_path("."):
        pass


def test_a_place_below_a_file_is_refused_by_the_name_of_the_file(tmp_path):
    (tmp_path / "t.csv").write_text("mine")
    refused(tmp_path, r"t.csv/a/b cannot be written: .*t.csv is no folder; name another place", tmp_path / "t.csv" / "a" / "b")


@pytest.mark.parametrize(("target", "source"), [("a", "a"), ("a/b", "a"), ("a", "a/b"), ("a/../a", "a"), ("link", "a")])
def test_source_and_target_are_apart(tmp_path, target, source):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(ComflpError, match="cannot be written: it is or holds"):
        check_apart(tmp_path / target, tmp_path / source)
    check_apart(tmp_path / "ab", tmp_path / "a")


def test_audio_in_a_data_directory_is_not_removed_with_it(tmp_path, make_data):
    data = make_data(2)
    wav = data.path / "a.wav"
    shutil.copy(data.utterances[0].wav, wav)
    with pytest.raises(ComflpError, match="lies in it and would be removed"):
        write_data_dir(data.path, [Utterance("u", str(wav), "t", "s", 1.0)], force=True)
    assert wav.exists() and len(read_data_dir(data.path)) == 2


def run(tmp_path, script, *arguments):
    return call(script, [*map(str, arguments)], tmp_path)


@pytest.mark.parametrize("forced", [[], ["--force"]])
def test_the_tools_of_data_directories(tmp_path, make_data, forced):
    """What once deleted all experiments, or the corpus."""
    data = make_data(3, name="source")
    for name in ("exp/m/deep/model.safetensors", "data/train/wav.scp", "corpus/a.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("mine")
    before = contents(tmp_path)
    for out in ("exp", "data", "corpus", data.path, data.path / "inside", tmp_path):
        done = run(tmp_path, "utils/subset_data_dir.py", "--data", data.path, "--num-utterances", 1, "--out", out, *forced)
        assert done.status == 1 and "Traceback" not in done.said and done.said.count("\n") == 1, done.said
    after = contents(tmp_path)
    after.pop("source/.audio.json", None)
    before.pop("source/.audio.json", None)
    assert after == before


def test_a_model_that_was_put_there_by_hand_is_kept(tmp_path, make_model):
    make_model().save(tmp_path / "published")
    shutil.copytree(tmp_path / "published", tmp_path / "exp" / "deep", ignore=shutil.ignore_patterns(".comflp.json"))
    before = contents(tmp_path / "exp")
    done = run(tmp_path, "local/fetch_model.py", "--model", "published", "--out", "exp")
    assert done.status == 1 and "which this program did not put there; add --force" in done.said
    assert contents(tmp_path / "exp") == before
    done = run(tmp_path, "local/fetch_model.py", "--model", "exp/deep", "--out", "exp", "--force")
    assert done.status == 1 and "exp/deep cannot be written: it is or holds exp/deep" in done.said
    done = run(tmp_path, "local/fetch_model.py", "--model", "published", "--out", "exp", "--force")
    assert done.status == 0, done.said


def test_kinds_have_their_signs():
    assert "wav.scp" in DATA_DIRECTORY.signs and "config.json" in MODEL.signs
