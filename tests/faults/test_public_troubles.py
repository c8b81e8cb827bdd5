"""Troubles that people reported to other speech projects, rebuilt small (docs/reliability.md has source and verdict of each)."""

import io
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from comflp.data.audio import AudioError, audio_facts, read_audio
from comflp.data.data_dir import Utterance, read_data_dir
from comflp.data.tables import DataError

ROOT = Path(__file__).resolve().parents[2]
RATE = 16000
TONE = (0.4 * np.sin(np.arange(RATE) / 7)).astype(np.float32)


def tool(name, *arguments, cwd):
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "local")))
    return subprocess.run([sys.executable, ROOT / "utils" / name, *map(str, arguments)], cwd=cwd, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": paths})


@pytest.fixture
def recording(tmp_path):
    """A data directory with one recording of 73.365 s in the words of the report: here 7.3365 s."""
    data = tmp_path / "data"
    data.mkdir()
    soundfile.write(tmp_path / "rec.wav", np.tile(TONE, 8)[: int(7.3365 * RATE)], RATE)
    (data / "wav.scp").write_text(f"rec {tmp_path}/rec.wav\n")
    (data / "text").write_text("u1 a\n")
    return data


def test_a_segment_ends_some_milliseconds_after_its_recording(recording):
    """kaldi-asr/kaldi#3331, lhotse-speech/lhotse#1107: ends are rounded to hundredths."""
    (recording / "segments").write_text("u1 rec 6.36 7.34\n")
    utterance = read_data_dir(recording)["u1"]
    assert utterance.duration == len(read_audio(utterance, RATE)) / RATE == pytest.approx(0.9765, abs=1 / RATE)


def test_a_segment_ends_at_minus_one(recording):
    """lhotse-speech/lhotse#952, kaldi-asr/kaldi#3001: -1 means the end of the recording."""
    (recording / "segments").write_text("u1 rec 6.3365 -1\n")
    assert read_data_dir(recording)["u1"].duration == 1.0


def test_durations_of_a_table_are_rounded(recording):
    """lhotse-speech/lhotse#320: samples computed from reco2dur are not those of the file."""
    (recording / "text").write_text("rec a\n")
    (recording / "utt2dur").write_text("rec 7.34\n")
    (recording / "reco2dur").write_text("rec 7.34\n")
    assert read_data_dir(recording)["rec"].duration == 7.3365


@pytest.mark.parametrize("size", [b"\xff\xff\xff\xff", b"\x00\xf0\xff\x7f"])
def test_a_wav_from_ffmpegs_or_soxs_standard_output(tmp_path, size):
    """kkroening/ffmpeg-python#118: "Unexpected end of file", for the header says 4 GB."""
    file = io.BytesIO()
    soundfile.write(file, TONE, RATE, format="WAV", subtype="PCM_16")
    content = bytearray(file.getvalue())
    content[4:8] = content[40:44] = size
    (tmp_path / "a.wav").write_bytes(content)
    assert len(read_audio(tmp_path / "a.wav", RATE)) == audio_facts(tmp_path / "a.wav").num_samples == RATE


def test_a_wav_whose_header_says_that_it_is_empty(tmp_path):
    """rs1729/RS#39: a program that cannot go back to the header leaves 0 there."""
    file = io.BytesIO()
    soundfile.write(file, TONE, RATE, format="WAV", subtype="PCM_16")
    content = bytearray(file.getvalue())
    content[40:44] = struct.pack("<I", 0)
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(AudioError, match="a.wav .*promises 0 samples and the file holds 16,000"):
        read_audio(tmp_path / "a.wav", RATE)


@pytest.mark.parametrize("rate", [16000, 48000])
def test_the_length_of_an_mp3_is_what_is_read(tmp_path, rate):
    """pytorch/audio#329: info() said 576 or 1,152 samples more than load() gave."""
    soundfile.write(tmp_path / "a.mp3", np.tile(TONE, 3), rate)
    assert audio_facts(tmp_path / "a.mp3").num_samples == len(read_audio(tmp_path / "a.mp3", rate))


def test_a_datasets_folder_without_rows(tmp_path):
    """huggingface/datasets#8385: save_to_disk wrote no file, and reading it was an IndexError."""
    (tmp_path / "ds").mkdir()
    (tmp_path / "ds" / "state.json").write_text(json.dumps({"_data_files": [], "_split": None}))
    done = tool("hf_to_data_dir.py", "--dataset", "ds", "--out", "out", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.strip() == "hf_to_data_dir.py: error: ds holds no arrow or parquet files"


def test_a_path_that_ends_like_a_command(recording, tmp_path):
    """kaldi-asr/kaldi#628: "x.wav |" runs the recording; features were of 0 utterances."""
    (recording / "text").write_text("rec a\n")
    (recording / "wav.scp").write_text(f"rec {tmp_path}/rec.wav |\n")
    with pytest.raises(DataError, match=r"wav.scp:1: utterance 'rec': the pipe .*rec.wav \|' ended with status 126: .*ermission denied"):
        read_data_dir(recording, allow_pipes=True)


@pytest.mark.parametrize("rest", ["", " | cat"])
def test_a_command_of_a_pipe_is_not_installed(recording, rest):
    """espnet/espnet#5952 and #3999: "sox: command not found" stood in another log, here "File contains data in an unknown format"."""
    (recording / "text").write_text("rec a\n")
    (recording / "wav.scp").write_text(f"rec soxx rec.mp3 -t wav -{rest} |\n")
    with pytest.raises(DataError, match=r"wav.scp:1: utterance 'rec': .*soxx.* not found"):
        read_data_dir(recording, allow_pipes=True)


def test_a_table_got_another_column_in_the_middle(tmp_path):
    """lhotse-speech/lhotse#1325: Common Voice 17 has sentence_id before sentence, and its ids became the texts."""
    soundfile.write(tmp_path / "a.wav", TONE, RATE)
    (tmp_path / "train.tsv").write_text("client_id\tpath\tsentence_id\tsentence\ns1\ta.wav\t6f5a\tthe text\n")
    done = tool("csv_to_data_dir.py", "--csv", "train.tsv", "--out", "out", "--wav-column", "path", "--text-column", "sentence", cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / "out" / "text").read_text() == "a the text\n"


def test_a_row_whose_values_are_shifted(tmp_path):
    """common-voice/common-voice#1611: a tab within a value moved the values behind it."""
    soundfile.write(tmp_path / "a.wav", TONE, RATE)
    (tmp_path / "clips.tsv").write_text("wav\ttext\tdown_votes\na.wav\tthe\ttext\t0\n")
    done = tool("csv_to_data_dir.py", "--csv", "clips.tsv", "--out", "out", cwd=tmp_path)
    assert done.returncode == 1 and "clips.tsv:2: the row has 4 values, the header 3 columns" in done.stderr


def test_an_unbalanced_quotation_mark_in_a_large_table(tmp_path):
    """coqui-ai/STT#2321: "field larger than field limit (131072)" of Common Voice's Japanese."""
    soundfile.write(tmp_path / "a.wav", TONE, RATE)
    rows = "".join(f'{number}\ta.wav\t"では、{number}\n' for number in range(9000))
    (tmp_path / "t.tsv").write_text("id\twav\ttext\n" + rows, encoding="utf-8")
    done = tool("csv_to_data_dir.py", "--csv", "t.tsv", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0 and len((tmp_path / "out" / "text").read_text(encoding="utf-8").splitlines()) == 9000


def test_which_file_could_not_be_read_is_said(tmp_path):
    """pytorch/audio#3810: the order is shuffled, and the message named no file."""
    (tmp_path / "b.flac").write_bytes(b"fLaC" + bytes(100))
    with pytest.raises(AudioError, match=r"utterance 'u7': .*b\.flac cannot be read as audio"):
        read_audio(Utterance("u7", str(tmp_path / "b.flac"), "t", "s", 1.0), RATE)
