"""Damaged audio, data directories and JSON: a clear error that names the file, or a sound reading; nothing else."""

import hashlib
import io
import json

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from comflp.artifacts import read_json
from comflp.data.audio import audio_seconds, read_audio
from comflp.data.data_dir import DataDir, read_data_dir, validate_data_dir
from comflp.proposal import PruningProposal
from comflp.record import Stage
from faults.damage import CASES, damaged, outcome


def encoded(container, subtype):
    """A quarter of a second of tone in an audio file of that format."""
    tone = 0.5 * np.sin(np.arange(2000) / 5)
    file = io.BytesIO()
    soundfile.write(file, tone, 8000, format=container, subtype=subtype)
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged")


@pytest.mark.parametrize("container, subtype", [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", "PCM_16")])
@CASES
@given(data=st.data())
def test_audio(folder, container, subtype, data):
    wav = folder / f"{container}.{subtype}"
    wav.write_bytes(data.draw(damaged(encoded(container, subtype), header=64)))
    waveform = outcome(lambda: read_audio(wav, 8000), wav)
    if waveform is not None:
        assert waveform.dtype == np.float32 and waveform.ndim == 1 and len(waveform) > 0 and np.isfinite(waveform).all()
    seconds = outcome(lambda: audio_seconds(wav), wav)
    assert seconds is None or 0 < seconds < float("inf")


SOUND = {
    "wav.scp": "u1 {folder}/a.wav\nu2 {folder}/a.wav\n",
    "text": "u1 one two\nu2 三 四\n",
    "utt2spk": "u1 s1\nu2 s2\n",
    "spk2utt": "s1 u1\ns2 u2\n",
    "utt2dur": "u1 0.25\nu2 0.25\n",
}


def write_sound_data_dir(folder):
    (folder / "a.wav").write_bytes(encoded("WAV", "PCM_16"))
    directory = folder / "data"
    directory.mkdir(exist_ok=True)
    for name, content in SOUND.items():
        (directory / name).write_text(content.format(folder=folder), encoding="utf-8")
    return directory


@pytest.mark.parametrize("name", sorted(SOUND))
@CASES
@given(data=st.data())
def test_data_directory(folder, name, data):
    directory = write_sound_data_dir(folder)
    path = directory / name
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    read = outcome(lambda: read_data_dir(directory), path, directory)
    faults = validate_data_dir(directory, check_audio=True)
    if read is None:
        assert faults and all(str(directory) in fault.file for fault in faults)
    else:
        assert isinstance(read, DataDir)
        for utterance in read:
            assert utterance.text and utterance.speaker and 0 < utterance.duration < float("inf")
            assert "/" not in utterance.utt_id and not utterance.utt_id.startswith("..")


@CASES
@given(data=st.data())
def test_json(folder, data):
    path = folder / "value.json"
    path.write_bytes(data.draw(damaged('{"candidates": [{"proposal": "1,3-4", "quality": 0.9}], "text": "三"}'.encode())))
    value = outcome(lambda: read_json(path), path)
    assert value is None or json.dumps(value) == json.dumps(json.loads(path.read_bytes()))


RECORD = {
    "stage": "stage",
    "options": {"n": 1},
    "inputs": {"data": "abc"},
    "origin": {"data": "abc"},
    "outputs": {"output.txt": {"size": 6, "sha256": hashlib.sha256(b"result").hexdigest()}},
}
OF_ANOTHER_SHAPE = [[], None, 3, "text", {}, {**RECORD, "outputs": 3}, {**RECORD, "outputs": {"output.txt": {}}}, {**RECORD, "options": []}]


@CASES
@given(content=st.one_of(damaged(json.dumps(RECORD, indent=2).encode()), st.sampled_from(OF_ANOTHER_SHAPE).map(json.dumps)))
def test_record(folder, content):
    """A damaged record stops the stage with its name, or has the work done again; it never passes for an intact one."""
    record = folder / "record.json"
    (folder / "output.txt").write_text("result")
    record.write_bytes(content if isinstance(content, bytes) else content.encode())
    if outcome(lambda: Stage(record, "stage", {"n": 1}, {"data": "abc"}).up_to_date(), record, "stage"):
        now = json.loads(record.read_text())
        assert all(now[key] == RECORD[key] for key in ("options", "origin", "outputs"))


def test_the_intact_record_is_up_to_date(folder):
    (folder / "output.txt").write_text("result")
    (folder / "record.json").write_text(json.dumps(RECORD))
    assert Stage(folder / "record.json", "stage", {"n": 1}, {"data": "abc"}).up_to_date()


@CASES
@given(text=st.one_of(st.text(max_size=12), st.from_regex(r"[0-9,\- ]{0,12}", fullmatch=True)))
def test_proposal(text):
    """A written proposal is understood or refused with the text in the message."""
    proposal = outcome(lambda: PruningProposal.parse(text, num_layers=12), repr(text), text.strip() or "empty")
    if proposal is not None:
        assert PruningProposal.parse(str(proposal), num_layers=12) == proposal
        assert set(proposal.removed) <= set(range(1, 13))
