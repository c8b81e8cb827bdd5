"""Manifests of NeMo and WeNet: a JSON object a line."""

import json

import numpy as np
import pytest
import soundfile

from comflp.data.audio import read_audio
from comflp.data.sources import read_speech
from comflp.errors import ComflpError

RATE = 8000
WAVE = np.arange(2 * RATE, dtype=np.float32) / (4 * RATE)


@pytest.fixture
def manifest(tmp_path):
    """Writes a manifest of the rows beside the recording call/a.wav, 2 s, and reads it."""
    (tmp_path / "call").mkdir()
    soundfile.write(tmp_path / "call" / "a.wav", WAVE, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "b.wav", WAVE[:RATE], RATE, subtype="FLOAT")

    def read(*rows, name="train.json"):
        (tmp_path / name).write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")
        return read_speech(tmp_path / name, tmp_path / "made")

    return read


def test_one_of_nemo(manifest):
    data = manifest({"audio_filepath": "call/a.wav", "duration": 2.0, "text": "one  two"}, {"audio_filepath": "b.wav", "duration": 1.0, "text": "three"})
    assert [(u.utt_id, u.text, u.duration) for u in data] == [("b", "three", 1.0), ("call_a", "one two", 2.0)]


def test_parts_of_recordings_of_nemo(manifest):
    rows = [{"audio_filepath": "call/a.wav", "offset": start, "duration": 0.5, "text": f"from {start}"} for start in (0.25, 1.0)]
    data = manifest(*rows, {"audio_filepath": "b.wav", "duration": 1.0, "text": "whole"}, name="train.jsonl")
    assert [(u.utt_id, u.text, u.duration) for u in data] == [("b", "whole", 1.0), ("call_a_0000250", "from 0.25", 0.5), ("call_a_0001000", "from 1.0", 0.5)]
    np.testing.assert_array_equal(read_audio(data["call_a_0000250"], RATE), WAVE[RATE // 4 : 3 * RATE // 4])
    np.testing.assert_array_equal(read_audio(data["b"], RATE), WAVE[:RATE])
    assert len(manifest({"audio_filepath": "b.wav"})) == 1, "no parts are left over from what was made before"


def test_one_of_wenet(manifest):
    data = manifest({"key": "x1", "wav": "call/a.wav", "txt": "甚至", "start": 0.5, "end": 1.5}, {"key": "x2", "wav": "b.wav", "txt": "出现"}, name="data.list")
    assert [(u.utt_id, u.text, u.duration) for u in data] == [("x1", "甚至", 1.0), ("x2", "出现", 1.0)]


def test_texts_that_are_empty_everywhere_are_none(manifest):
    rows = [{"audio_filepath": name, "text": ""} for name in ("call/a.wav", "b.wav")]
    assert [u.text for u in manifest(*rows)] == ["", ""]
    with pytest.raises(ComflpError, match="train.json:2: the row has no text"):
        manifest({**rows[0], "text": "one"}, rows[1])


@pytest.mark.parametrize(("row", "message"), [
    ('{"audio_filepath": "b.wav"', "train.json:2: the line is not one JSON object"),
    ("[1]", "train.json:2: the line is not one JSON object"),
    ({"audio_filepath": "c.wav"}, r"train.json:2: there is no file .*c\.wav"),
    ({"audio_filepath": ["b.wav", "c.wav"]}, "train.json:2: the row names no audio file"),
    ({"audio_filepath": "b.wav", "offset": 0.5}, "train.json:2: the row has offset, and offset and duration are not both numbers"),
    ({"audio_filepath": "b.wav", "start": "x", "end": 2}, "train.json:2: the row has start, and start and end are not both numbers"),
])  # fmt: skip
def test_lines_that_cannot_be_used_are_named(manifest, row, message):
    with pytest.raises(ComflpError, match=message):
        manifest({"audio_filepath": "call/a.wav"}, row)


@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_is_told_the_way_to_lines(manifest, indent):
    array = json.dumps([{"audio_filepath": "b.wav"}, {"audio_filepath": "call/a.wav"}], indent=indent)
    with pytest.raises(ComflpError, match=r"train.json is one JSON array, .*one object a line: jq -c '\.\[\]' .*train.json > NEW.jsonl") as error:
        manifest(array)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("indent", [None, 2])
def test_an_object_of_all_utterances_is_told_the_way_to_lines(manifest, indent):
    """As SpeechBrain's recipes write it, on one line or many."""
    rows = json.dumps({"u1": {"wav": "{data_root}/b.wav", "words": "one"}, "u2": {"wav": "call/a.wav", "words": "two"}}, indent=indent)
    with pytest.raises(ComflpError, match=r"train.json is one JSON object of all utterances, .*jq -c 'to_entries\[\] \| \{id: .key\} \+ .value' ") as error:
        manifest(rows)
    assert "\n" not in str(error.value)
    found = manifest({"id": "u2", "wav": "call/a.wav", "length": 2.0, "words": "two"})
    assert [(u.utt_id, u.text) for u in found] == [("u2", "two")], "a single row is no such object"
    with pytest.raises(ComflpError, match=r"the columns are u0, .*, u19 and 80 more$"):
        manifest({f"u{number}": "b.wav" for number in range(100)})


def test_a_part_of_no_duration_goes_on_to_the_end(manifest):
    rows = [{"audio_filepath": "call/a.wav", "offset": offset, "duration": None, "text": "one"} for offset in (0, 1.25)]
    assert [(u.utt_id, u.duration) for u in manifest(*rows)] == [("call_a_0000000", 2.0), ("call_a_0001250", 0.75)]
    assert [u.duration for u in manifest({"key": "x", "wav": "b.wav", "txt": "one", "start": 0.5, "end": None})] == [0.5]
    with pytest.raises(ComflpError, match="train.json:1: the row has offset, and offset and duration are not both numbers of seconds"):
        manifest({"audio_filepath": "b.wav", "offset": 0})


@pytest.mark.parametrize(("first", "second", "values"), [
    ("offset", "duration", (float("nan"), 1)), ("offset", "duration", (-1, 2)), ("offset", "duration", (0, float("nan"))),
    ("offset", "duration", (0, 0)), ("offset", "duration", (0, -1)), ("start", "end", (0.5, 0.25)),
])  # fmt: skip
def test_a_part_that_holds_nothing_is_told_by_its_numbers(manifest, first, second, values):
    said = rf"train\.json:1: {first} {values[0]} and {second} {values[1]} are no part of a recording: one begins at 0 s or later, and ends after that$"
    with pytest.raises(ComflpError, match=said) as error:
        manifest({"audio_filepath": "b.wav", first: values[0], second: values[1]})
    assert str(error.value).count("\n") == 1, "one fault, and none of files that nobody wrote"


def test_a_table_leaves_the_end_of_a_part_empty(tmp_path, manifest):
    (tmp_path / "parts.csv").write_text("wav,offset,duration,text\nb.wav,0.5,,one\n")
    assert [u.duration for u in read_speech(tmp_path / "parts.csv", tmp_path / "made")] == [0.5]


def test_a_part_that_is_not_there_and_a_manifest_of_nothing(manifest):
    with pytest.raises(ComflpError, match=r"it ends at 9\.5 s, its recording at 1\.000 s"):
        manifest({"audio_filepath": "b.wav", "offset": 0.5, "duration": 9})
    with pytest.raises(ComflpError, match="there are no rows"):
        manifest()


def test_faults_of_the_audio_are_told_at_the_line_of_the_manifest(manifest, tmp_path):
    (tmp_path / "damaged.wav").write_bytes(bytes(100))
    good, part = {"audio_filepath": "b.wav", "text": "one"}, {"offset": 0.5, "duration": 0.25}
    for rows, message in (
        ([good, {"audio_filepath": "damaged.wav", "text": "two"}], r"train\.json:2: utterance 'damaged': .*damaged\.wav cannot be read as audio"),
        ([good, {**good, **part}, {**good, "audio_filepath": "call/a.wav", "offset": 1, "duration": 7}], r"train\.json:3: utterance 'call_a_.*it ends at 8 s"),
        ([good, {**good, **part}, {"audio_filepath": "damaged.wav", "text": "two"}], r"train\.json:3: recording .*damaged\.wav cannot be read as audio"),
        ([good, {**good, "id": "x/y"}], r"train\.json:2: the id 'x/y' has to be usable as a file name"),
        ([{**good, "id": "x"}, {**good, "id": "x"}], r"train\.json:2: duplicate id 'x', first at .*train\.json:1"),
        ([good, good], r"train\.json:2: the row means the same audio as .*train\.json:1; remove one, or give both an id"),
        ([good, '{"audio_filepath": "call/a.wav", "text": "half \\ud83d"}'], r"train\.json:2: the text 'half \\ud83d' holds half a character"),
    ):
        with pytest.raises(ComflpError, match=message) as error:
            manifest(*rows)
        assert "made" not in str(error.value) and str(error.value).count("\n") == 1, "one fault, in the user's own file"


def test_rows_without_ids_are_named_whatever_their_paths(manifest, tmp_path):
    """A path of a cache is longer than an id may be, and two paths may be one name."""
    long, wide = tmp_path / ("a" * 70) / ("b" * 70), "\u4f1a" * 60
    long.mkdir(parents=True)
    for name in ("x", "y", wide):
        soundfile.write(long / f"{name}.wav", WAVE[:800], RATE)
    (tmp_path / "call_a").mkdir()
    (tmp_path / "call" / "a").mkdir()
    for folder in ("call_a", "call/a"):
        soundfile.write(tmp_path / folder / "b.wav", WAVE[:800], RATE)

    def ids(*names, **others):
        return [u.utt_id for u in manifest(*({"audio_filepath": str(name), **others} for name in names))]

    assert ids(long / "x.wav", long / "y.wav") == ["x", "y"], "what is common to all is left out"
    assert ids(long / "x.wav", offset=0.05, duration=0.05) == ["x_0000050"]
    assert ids(long / f"{wide}.wav", long / "x.wav") == ["000001", "000002_x"]
    assert ids("call_a/b.wav", "call/a/b.wav") == ["000001_call_a_b", "000002_call_a_b"]
    assert [u.utt_id for u in manifest({"audio_filepath": "b.wav", "id": "_1_"}, {"audio_filepath": "call/a.wav", "id": "1"})] == ["1", "_1_"]


def test_a_duration_alone_is_that_of_the_whole_recording(manifest):
    assert len(manifest({"audio_filepath": "b.wav", "duration": 1.02})) == 1
    with pytest.raises(ComflpError, match=r"train\.json:1: utterance 'call_a': .*a\.wav lasts 2\.000 s, the row says 0\.4 s"):
        manifest({"audio_filepath": "call/a.wav", "duration": 0.4, "text": "one"})
    assert len(manifest({"audio_filepath": "call/a.wav"})) == 1, "no durations are left over"


def test_a_table_names_parts_as_a_manifest_does(manifest, script, tmp_path):
    manifest({"audio_filepath": "b.wav"})
    table = tmp_path / "parts.csv"
    table.write_text("id,path,start,end,text\nx,call/a.wav,0.5,1.0,one\ny,call/a.wav,1.0,2.0,two\nz,b.wav,,,three\n")
    data = read_speech(table, tmp_path / "of_table")
    assert [(u.utt_id, u.duration) for u in data] == [("x", 0.5), ("y", 1.0), ("z", 1.0)]
    said = script("utils/csv_to_data_dir.py", "--csv", "parts.csv", "--out", "out", "--wav-column", "path", check=False).stderr
    assert "parts.csv:2: the row is a part of its recording" in said
    table.write_text("ID,duration,start,stop,wav,spk_id,wrd\nx,0.5,0,4000,call/a.wav,ann,one\n")
    with pytest.raises(ComflpError, match="parts.csv:2: start and stop, as SpeechBrain has them, are samples; divide"):
        read_speech(table, tmp_path / "of_samples")


def test_a_data_directory_of_a_manifest(manifest, script, tmp_path):
    rows = [{"audio_filepath": "call/a.wav", "offset": 0.5, "duration": 1, "text": "one", "speaker": "ann"}, {"audio_filepath": "b.wav", "text": "two"}]
    found = manifest({**rows[0]}, {**rows[1], "speaker": "bob"})
    done = script("utils/manifest_to_data_dir.py", "--manifest", "train.json", "--out", "data/train")
    assert done.stdout.splitlines()[-1] == "wrote data/train: 2 utterances of 2 speakers, 0.00 h"
    assert (tmp_path / "data" / "train" / "wav.scp").read_text() == "recording000001 call/a.wav\nrecording000002 b.wav\n"
    assert (tmp_path / "data" / "train" / "segments").read_text() == "b recording000002 0.0 1.0\ncall_a_0000500 recording000001 0.5 1.5\n"
    again = script("utils/manifest_to_data_dir.py", "--manifest", "train.json", "--out", "data/train", check=False)
    assert again.returncode == 1 and "data/train is there already; add --force to replace it" in again.stderr
    assert [(u.utt_id, u.text, u.speaker) for u in found] == [("b", "two", "bob"), ("call_a_0000500", "one", "ann")]
