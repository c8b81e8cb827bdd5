"""Batches: nothing lost, bounded, little padding, the same whatever the order."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from comflp.data.audio import read_audio
from comflp.data.batching import load_batch, make_batches
from comflp.data.data_dir import Utterance
from comflp.errors import ComflpError


def utterances_of(durations):
    return [Utterance(f"u{i:03d}", "", "", "", duration) for i, duration in enumerate(durations)]


lengths = st.lists(st.floats(0.1, 30), max_size=60).map(utterances_of)


@settings(deadline=None)
@given(lengths, st.floats(1, 100), st.integers(1, 9), st.floats(0, 0.5), st.randoms())
def test_batches_keep_everything_within_their_bounds(utterances, max_seconds, max_utterances, max_padding, random):
    batches = make_batches(utterances, max_seconds, max_utterances, max_padding)
    assert sorted(u.utt_id for batch in batches for u in batch) == [u.utt_id for u in utterances]
    longest = [max(u.duration for u in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)
    for batch, seconds in zip(batches, longest):
        padded = seconds * len(batch)
        assert len(batch) <= max_utterances
        assert len(batch) == 1 or padded <= max_seconds
        assert padded - sum(u.duration for u in batch) <= max_padding * padded + 1e-9
    shuffled = random.sample(utterances, len(utterances))
    assert make_batches(shuffled, max_seconds, max_utterances, max_padding) == batches


def test_padding_is_below_five_percent_of_a_corpus_of_mixed_lengths():
    durations = np.random.default_rng(0).gamma(6, 0.7, size=320) + 1
    batches = make_batches(utterances_of(durations), max_seconds=120)
    padded = sum(batch[0].duration * len(batch) for batch in batches)
    assert 1 - durations.sum() / padded < 0.05
    assert len(batches) < 40


@pytest.mark.parametrize("options", [{"max_seconds": 0}, {"max_utterances": 0}, {"max_padding": 1}])
def test_bounds_that_allow_no_batch_are_refused(options):
    with pytest.raises(ComflpError, match="batches need"):
        make_batches(utterances_of([1.0]), **options)


def test_a_loaded_batch_is_zero_after_each_end(write_wav):
    utterances = [Utterance(f"u{i}", str(write_wav(f"{i}.wav", seconds=s)), "t", "s", s) for i, s in enumerate((0.5, 0.2, 0.3))]
    batch = load_batch(utterances, 16000)
    assert batch.waveforms.shape == (3, 8000) and batch.waveforms.dtype == torch.float32
    assert batch.num_samples.tolist() == [8000, 3200, 4800] and batch.num_samples.dtype == torch.int64
    assert len(batch) == 3 and batch.utterances == tuple(utterances)
    for utterance, row, n in zip(utterances, batch.waveforms, batch.num_samples):
        np.testing.assert_array_equal(row[:n].numpy(), read_audio(utterance, 16000))
        assert not row[n:].any()
    assert batch.to("cpu").waveforms.equal(batch.waveforms)
