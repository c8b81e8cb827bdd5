"""The synthetic Mandarin corpus: its sentences, its layout and that its bytes are always the same."""

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from fixtures.corpora import MINI, lay_out_aishell


@pytest.fixture(scope="module")
def grammar():
    sys.path.insert(0, str(MINI))
    try:
        import grammar
    finally:
        sys.path.remove(str(MINI))
    return grammar


@pytest.mark.parametrize("seed", [1, 2, 1234])
def test_sentences_are_short_distinct_and_cover_their_characters(grammar, seed):
    sentences = grammar.draw_sentences(2800, np.random.default_rng(seed))
    assert len({sentence.replace(" ", "") for sentence in sentences}) == 2800
    assert all(4 <= len(sentence.replace(" ", "")) <= 10 for sentence in sentences)
    train = Counter("".join(sentences[:2000]).replace(" ", ""))
    assert len(train) >= 150
    assert min(train.values()) >= 15
    assert set("".join(sentences).replace(" ", "")) == set(train)


def test_every_word_of_the_grammar_can_be_said(grammar):
    spoken = set("".join(grammar.draw_sentences(2800, np.random.default_rng(0))))
    written = {character for fillers in grammar.SLOTS.values() for filler in fillers for character in filler}
    assert {character for character in written if "\u4e00" <= character <= "\u9fff"} <= spoken


def test_the_layout_is_aishells(tmp_path):
    corpus = lay_out_aishell(tmp_path, sizes=(6, 2, 2), per_speaker=2)
    wavs = sorted(path.relative_to(corpus).as_posix() for path in corpus.rglob("*.wav"))
    assert len(wavs) == 10
    assert wavs[0] == "wav/dev/S0004/SYN009S0004W0001.wav" and wavs[-1] == "wav/train/S0003/SYN009S0003W0002.wav"
    lines = (corpus / "transcript" / "aishell_transcript_v0.8.txt").read_text().splitlines()
    assert sorted(line.split()[0] for line in lines) == sorted(Path(wav).stem for wav in wavs)
    for wav in wavs:
        info = soundfile.info(corpus / wav)
        assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
        assert 0.7 < info.duration < 4
    record = json.loads((tmp_path / "corpus.record.json").read_text())
    assert len({speaker["voice"] for speaker in record["speakers"]}) == 5


def test_the_same_bytes_each_time_and_for_any_number_of_processes(tmp_path, script):
    arguments = ["--num-train", 6, "--num-dev", 2, "--num-test", 2, "--per-speaker", 3]
    for name, processes in (("one", 1), ("two", 2)):
        script("recipes/mini/local/make_corpus.py", "--target", name, "--processes", processes, *arguments, own_process=True)
    first = {path.name: path.read_bytes() for path in (tmp_path / "one" / "data_aishell").rglob("*.*")}
    second = {path.name: path.read_bytes() for path in (tmp_path / "two" / "data_aishell").rglob("*.*")}
    assert len(first) == 12 and first == second


def test_other_options_are_refused_until_forced(tmp_path, script):
    def make(num_train, *more, **options):
        return script("recipes/mini/local/make_corpus.py", "--target", "t", "--num-dev", 2, "--num-test", 2, "--num-train", num_train,
                      *more, own_process=True, **options)

    make(3)
    assert "up to date" in make(3).stdout
    refused = make(4, check=False)
    assert refused.returncode == 1 and "num_train: 3 before, 4 now" in refused.stderr
    make(4, "--force")
    assert len(list((tmp_path / "t" / "data_aishell" / "wav" / "train").rglob("*.wav"))) == 4
    assert not list((tmp_path / "t").glob(".tmp*"))
