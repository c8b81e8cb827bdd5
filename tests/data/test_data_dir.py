"""Kaldi data directories: what is written is read back, and every fault is named with its file and line."""

import codecs
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comflp.data.data_dir import DataDir, Utterance, read_data_dir, subset, validate_data_dir, write_data_dir
from comflp.data.tables import DataError
from comflp.errors import ComflpError


@pytest.fixture
def data_dir(tmp_path, write_wav):
    """A sound data directory of three utterances by two speakers, one second each."""
    wav = write_wav("folder with spaces/a.wav")
    write_data_dir(tmp_path / "data", [Utterance(f"u{i}", str(wav), f"你 好 {i}", f"s{i % 2}", 1.0) for i in range(3)])
    return tmp_path / "data"


def add_line(path, line):
    path.write_bytes(path.read_bytes() + line.encode() + b"\n")


def test_what_is_written_is_read_back(data_dir, tmp_path):
    data = read_data_dir(data_dir)
    assert [u.utt_id for u in data] == ["u0", "u1", "u2"]
    assert data["u1"] == Utterance("u1", str(tmp_path / "folder with spaces" / "a.wav"), "你 好 1", "s1", 1.0)
    assert (data_dir / "spk2utt").read_text() == "s0 u0 u2\ns1 u1\n"
    assert len(data) == 3 and data.seconds == 3.0 and "u9" not in data
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".tmp")]


def test_a_directory_that_is_there_is_replaced_whole_and_only_where_all_of_it_is_ours(data_dir, tmp_path):
    utterances = list(read_data_dir(data_dir))
    write_data_dir(tmp_path / "ours", utterances)
    write_data_dir(tmp_path / "ours", utterances[:1])
    assert len(read_data_dir(tmp_path / "ours")) == 1
    (tmp_path / "ours" / "feats.scp").write_text("somebody's")
    with pytest.raises(ComflpError, match="feats.scp, which this program did not put there; add --force"):
        write_data_dir(tmp_path / "ours", utterances)
    assert (tmp_path / "ours" / "feats.scp").read_text() == "somebody's"
    write_data_dir(tmp_path / "ours", utterances, force=True)
    assert len(read_data_dir(tmp_path / "ours")) == len(utterances) and not (tmp_path / "ours" / "feats.scp").exists()


def test_lines_may_come_in_any_order_and_from_windows(data_dir):
    expected = list(read_data_dir(data_dir))
    for name in ("wav.scp", "text", "utt2dur"):
        lines = (data_dir / name).read_text().splitlines()
        (data_dir / name).write_bytes("\r\n".join(reversed(lines)).encode())
    assert list(read_data_dir(data_dir)) == expected


def test_speakers_and_durations_may_be_missing(data_dir):
    for name in ("utt2spk", "spk2utt", "utt2dur"):
        (data_dir / name).unlink()
    data = read_data_dir(data_dir)
    assert data["u1"].speaker == "u1" and data["u1"].duration == 1.0


def test_text_may_be_missing_only_where_that_was_said(data_dir):
    (data_dir / "text").unlink()
    with pytest.raises(DataError, match="text: cannot be read"):
        read_data_dir(data_dir)
    assert read_data_dir(data_dir, require_text=False)["u0"].text == ""


@pytest.mark.parametrize(
    ("name", "line", "expected"),
    [
        ("wav.scp", "u3 /nowhere/x.wav", "wav.scp:4: utterance 'u3' has no line in text"),
        ("text", "u3 好", "text:4: utterance 'u3' has no line in wav.scp"),
        ("text", "u1 好", "text:4: duplicate id 'u1', first on line 2"),
        ("wav.scp", "u1 a.wav", "wav.scp:4: duplicate id 'u1', first on line 2"),
        ("text", "", "text:4: the line is empty"),
        ("utt2dur", "u0 1.0", "utt2dur:4: duplicate id 'u0'"),
        ("spk2utt", "s3 u1", "spk2utt:3: utt2spk does not give 'u1' to speaker 's3'"),
        ("wav.scp", "../u x.wav", "wav.scp:4: the id '../u' has to be usable as a file name"),
        ("wav.scp", "u\x07 x.wav", "wav.scp:4: the id 'u\\x07' holds white space or a control character"),
    ],
)
def test_a_bad_line_is_named_with_file_and_line(data_dir, name, line, expected):
    add_line(data_dir / name, line)
    with pytest.raises(DataError) as caught:
        read_data_dir(data_dir)
    assert f"{data_dir}/{expected}" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        ("text", "u1 你 好 1", "u1", "text:2: utterance 'u1' has an empty transcript"),
        ("text", "u1 你 好 1", "u1 \t ", "text:2: utterance 'u1' has an empty transcript"),
        ("text", "u1 你 好 1", "u1 \u00a0\u3000\u200b", "text:2: utterance 'u1' has an empty transcript"),
        ("utt2spk", "u1 s1", "u1", "utt2spk:2: utterance 'u1' has an empty speaker"),
        ("utt2spk", "u1 s1", "u1 a b", "utt2spk:2: utterance 'u1': the id 'a b' holds white space"),
        ("utt2dur", "u1 1.0", "u1 nan", "utt2dur:2: utterance 'u1': 'nan' is not a duration"),
        ("utt2dur", "u1 1.0", "u1 -3", "utt2dur:2: utterance 'u1': '-3' is not a duration"),
        ("utt2dur", "u1 1.0", "u1 one", "utt2dur:2: utterance 'u1': 'one' is not a duration"),
    ],
)
def test_a_bad_value_is_named_with_file_and_line(data_dir, name, old, new, expected):
    content = (data_dir / name).read_text()
    assert old in content
    (data_dir / name).write_text(content.replace(old, new))
    assert any(str(fault).startswith(f"{data_dir}/{expected}") for fault in validate_data_dir(data_dir))


def test_bytes_that_are_not_utf8_are_named(data_dir):
    (data_dir / "text").write_bytes((data_dir / "text").read_bytes() + b"u3 \xff\xfe\n")
    assert [str(fault) for fault in validate_data_dir(data_dir)] == [f"{data_dir}/text:4: the line is not UTF-8"]


def test_a_missing_wav_is_named(data_dir, tmp_path):
    shutil.rmtree(tmp_path / "folder with spaces")
    with pytest.raises(DataError, match=r"wav\.scp:1: utterance 'u0': there is no file .*a\.wav"):
        read_data_dir(data_dir)


def test_an_unreadable_wav_is_named(data_dir, tmp_path):
    (tmp_path / "folder with spaces" / "a.wav").write_bytes(b"RIFF but not really")
    assert "cannot be read as audio" in str(validate_data_dir(data_dir)[0])
    with pytest.raises(DataError, match=r"wav\.scp:1: utterance 'u0': .*a\.wav cannot be read as audio"):
        read_data_dir(data_dir)


def test_a_duration_that_is_not_the_files_is_named(data_dir):
    (data_dir / "utt2dur").write_text("u0 1.0\nu1 1.02\nu2 5\n")
    faults = [str(fault) for fault in validate_data_dir(data_dir)]
    assert len(faults) == 1 and "utterance 'u2'" in faults[0] and "utt2dur says 5 s" in faults[0]


def test_a_pipe_is_refused_unless_allowed(data_dir, tmp_path):
    wav = tmp_path / "folder with spaces" / "a.wav"
    trace = tmp_path / "trace"
    (data_dir / "wav.scp").write_text("".join(f"u{i} echo > '{trace}'; cat '{wav}' |\n" for i in range(3)))
    with pytest.raises(DataError, match=r"wav\.scp:1: utterance 'u0' is a pipe \(and 2 more\); .* --allow-pipes"):
        read_data_dir(data_dir)
    (data_dir / "utt2dur").unlink()
    with pytest.raises(DataError, match="is a pipe"):
        read_data_dir(data_dir)
    assert not trace.exists()
    assert read_data_dir(data_dir, allow_pipes=True)["u0"].duration == 1.0
    assert trace.exists()


def test_faults_beyond_twenty_are_counted(data_dir):
    for number in range(30):
        add_line(data_dir / "text", f"x{number} a")
    with pytest.raises(DataError, match="and 10 more"):
        read_data_dir(data_dir)


def test_empty_and_missing_directories(tmp_path):
    with pytest.raises(DataError, match="there is no such directory"):
        read_data_dir(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"wav\.scp: cannot be read"):
        read_data_dir(tmp_path / "empty")
    (tmp_path / "empty" / "wav.scp").write_text("")
    assert [fault.message for fault in validate_data_dir(tmp_path / "empty", require_text=False)] == ["has no utterances"]


@pytest.mark.parametrize(
    ("utterances", "message"),
    [
        ([Utterance("a", "x", "t", "s", 1), Utterance("a", "y", "t", "s", 1)], "same id"),
        ([Utterance("a b", "x", "t", "s", 1)], "white space"),
        ([Utterance("a", "x", "t", "", 1)], "an id is empty"),
        ([Utterance("a", "x", "t", "s", 1), Utterance("b", "x", "", "s", 1)], "its transcript is empty"),
        ([Utterance("a", "x", "\u00a0\u200b", "s", 1)], "its transcript is empty"),
        ([Utterance("a", "x", "t\nb x", "s", 1)], "several lines"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path, utterances, message):
    with pytest.raises(DataError, match=message):
        write_data_dir(tmp_path / "data", utterances)
    assert not list(tmp_path.iterdir())


def test_the_fingerprint_is_of_content_and_not_of_place(data_dir, tmp_path):
    data = read_data_dir(data_dir)
    elsewhere = DataDir("x", [Utterance(u.utt_id, "/other", u.text, "speaker", 9.0, content=u.content) for u in reversed(list(data))])
    assert elsewhere.fingerprint() == data.fingerprint()
    content = data["u0"].content
    for changed in (Utterance("u9", "x", "你 好 0", "s0", 1.0, content=content), Utterance("u0", "x", "好", "s0", 1.0, content=content),
                    Utterance("u0", "x", "你 好 0", "s0", 1.0, content="other"), Utterance("u0", "x", "你 好 0", "s0", 1.0)):
        assert DataDir("x", [changed, data["u1"], data["u2"]]).fingerprint() != data.fingerprint()


def test_the_fingerprint_survives_writing_and_measuring(data_dir):
    before = read_data_dir(data_dir).fingerprint()
    (data_dir / "utt2dur").unlink()
    assert read_data_dir(data_dir).fingerprint() == before


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(0, 3))
def test_a_subset_is_drawn_without_replacement_and_by_its_seed(n, seed):
    data = DataDir("x", [Utterance(f"u{i:02d}", "a", "t", "s", 1.0) for i in range(40)])
    drawn = [u.utt_id for u in subset(data, n, seed)]
    assert len(set(drawn)) == n and drawn == sorted(drawn)
    assert drawn == [u.utt_id for u in subset(data, n, seed)]


def test_a_subset_is_random_and_not_the_beginning():
    data = DataDir("x", [Utterance(f"u{i:03d}", "a", "t", "s", 1.0) for i in range(200)])
    draws = [{u.utt_id for u in subset(data, 50, seed)} for seed in range(40)]
    counts = [sum(f"u{i:03d}" in draw for draw in draws) for i in range(200)]
    assert max(counts) < 25 and min(counts) > 0  # 10 expected; 25 would be five standard deviations off


def test_a_subset_larger_than_the_data_is_an_error():
    with pytest.raises(DataError, match="cannot draw 2 utterances"):
        subset(DataDir("x", [Utterance("a", "a", "t", "s", 1.0)]), 2, seed=0)


def test_a_byte_order_mark_is_no_part_of_the_first_id(make_data):
    data = make_data(3)
    for name in ("wav.scp", "text", "utt2spk"):
        (data.path / name).write_bytes(codecs.BOM_UTF8 + (data.path / name).read_bytes().replace(b"\n", b"\r\n"))
    assert [utterance.text for utterance in read_data_dir(data.path)] == [utterance.text for utterance in data]
