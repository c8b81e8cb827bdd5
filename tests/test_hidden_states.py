"""comflp.inference.hidden_states: what is averaged, how it is kept and read, killed and resumed."""

import mmap

import kaldiio
import numpy as np
import pytest
import torch
from fixtures.interrupting import stopping_after

from comflp.inference import hidden_states, loop
from comflp.inference.device import evaluation
from comflp.inference.loop import load_batches
from comflp.errors import ComflpError


def read_all(directory):
    utt_ids, hidden = hidden_states.read(directory)
    return utt_ids, np.asarray(hidden)


def states_alone(model, data):
    """H_0..H_L of each utterance by itself, through the model's own forward pass: (L+1, T, D) each."""
    with evaluation(model):
        for batch in load_batches(model, [[utterance] for utterance in data]):
            yield torch.cat(model(batch, return_hidden=True).hidden).numpy()


def test_means_and_frame_cosines_are_those_of_each_utterance_alone(make_model, make_data, tmp_path):
    model, data = make_model(), make_data()
    hidden_states.dump(model, data, tmp_path / "hidden", max_seconds=3.0)
    utt_ids, hidden = read_all(tmp_path / "hidden")
    assert utt_ids == [utterance.utt_id for utterance in data]
    assert hidden.shape == (12, 5, 16) and hidden.dtype == np.float32
    cosines = []
    for states, matrix in zip(states_alone(model, data), hidden):
        np.testing.assert_allclose(matrix, states.mean(axis=1), atol=2e-5)
        unit = states / np.linalg.norm(states, axis=2, keepdims=True)
        cosines.extend(np.einsum("itd,jtd->tij", unit, unit))
    np.testing.assert_allclose(np.load(tmp_path / "hidden" / "frame_cosine.npy"), np.mean(cosines, axis=0), atol=1e-5)


def test_padding_enters_only_where_it_is_asked_for(make_model, make_data, tmp_path, monkeypatch):
    model, data = make_model(), make_data()
    monkeypatch.setattr(hidden_states, "make_batches", lambda utterances, max_seconds: [list(utterances)])
    monkeypatch.setattr(loop, "plan_batches", lambda model, data, max_seconds: [list(data)])
    hidden_states.dump(model, data, tmp_path / "masked")
    hidden_states.dump(model, data, tmp_path / "padded", padded_mean=True)
    masked, padded = (read_all(tmp_path / name)[1] for name in ("masked", "padded"))
    longest = max(range(len(data)), key=lambda row: data.utterances[row].duration)
    np.testing.assert_allclose(masked[longest], padded[longest], atol=1e-5)
    assert np.abs(masked - padded).max() > 0.01
    for states, matrix in zip(states_alone(model, data), masked):
        np.testing.assert_allclose(matrix, states.mean(axis=1), atol=2e-5)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_near_single_and_never_mixed_with_it(make_model, make_data, tmp_path, precision):
    model, data = make_model(), make_data()
    with pytest.raises(KeyboardInterrupt):
        hidden_states.dump(model, data, tmp_path / "half", max_seconds=1.5, progress=stopping_after(3))
    totals = []

    def progress(iterable, desc, total):
        totals.append(total)
        return iterable

    hidden_states.dump(model, data, tmp_path / "half", max_seconds=1.5, precision=precision, progress=progress)
    hidden_states.dump(model, data, tmp_path / "single", max_seconds=1.5)
    half, single = (read_all(tmp_path / name)[1] for name in ("half", "single"))
    assert totals == [len(data)], "what was done in single precision counted as done in half"
    assert 0 < np.abs(half - single).max() < 0.05 * np.abs(single).max()


def test_kaldiio_reads_the_same(make_model, make_data, tmp_path):
    hidden_states.dump(make_model(), make_data(), tmp_path / "a b" / "hidden")
    utt_ids, hidden = read_all(tmp_path / "a b" / "hidden")
    archive = dict(kaldiio.load_ark(str(tmp_path / "a b" / "hidden" / "hidden.ark")))
    assert sorted(archive) == utt_ids
    for utt_id, matrix in zip(utt_ids, hidden):
        np.testing.assert_array_equal(archive[utt_id], matrix)
    hidden_states.dump(make_model(), make_data(), tmp_path / "plain")
    table = kaldiio.load_scp(str(tmp_path / "plain" / "hidden.scp"))
    np.testing.assert_array_equal(table["u003"], read_all(tmp_path / "plain")[1][3])


@pytest.mark.parametrize("released_above", [hidden_states._RELEASED_ABOVE, 0])
def test_slices_are_numpy_slices_and_nothing_is_loaded_before(make_model, make_data, tmp_path, monkeypatch, released_above):
    monkeypatch.setattr(hidden_states, "_RELEASED_ABOVE", released_above)
    hidden_states.dump(make_model(), make_data(), tmp_path / "hidden")
    (tmp_path / "hidden").rename(tmp_path / "moved")
    _, hidden = hidden_states.read(tmp_path / "moved")
    assert isinstance(hidden._map, mmap.mmap)
    whole = hidden[:]
    rows = np.array([7, 2, 2])
    for index in (5, slice(2, 9, 3), (slice(None), 3), (rows, slice(1, 3)), (slice(4), -1), (4, 0), slice(0, 0)):
        np.testing.assert_array_equal(hidden[index], whole[index])
    assert np.asarray(hidden, dtype=np.float64).dtype == np.float64


def test_a_killed_dump_goes_on_and_gives_the_same_bytes(make_model, make_data, tmp_path):
    model, data, options = make_model(), make_data(), {"max_seconds": 1.5}
    whole = hidden_states.dump(model, data, tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        hidden_states.dump(model, data, tmp_path / "killed", **options, progress=stopping_after(3))
    assert not (tmp_path / "killed" / "hidden.scp").exists()
    left = []

    def progress(iterable, desc, total):
        left.append(total)
        return iterable

    killed = hidden_states.dump(model, data, tmp_path / "killed", **options, progress=progress)
    hidden_states.dump(model, data, tmp_path / "other", **options, progress=progress)
    assert left[1] == 12 and 0 < left[0] < 12 - 3
    assert whole[0].read_bytes() == killed[0].read_bytes()
    assert whole[2].read_bytes() == killed[2].read_bytes()
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == ["frame_cosine.npy", "hidden.ark", "hidden.scp"]


def test_a_part_of_a_killed_dump_that_was_damaged_is_made_again(make_model, make_data, tmp_path):
    model, data, options = make_model(), make_data(), {"max_seconds": 1.5}
    whole = hidden_states.dump(model, data, tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        hidden_states.dump(model, data, tmp_path / "killed", **options, progress=stopping_after(3))
    part = next((tmp_path / "killed").rglob("*.npz"))
    part.write_bytes(part.read_bytes()[:50])
    with pytest.raises(ComflpError, match="a part of the work, was damaged .*all of it was removed, run the same command again"):
        hidden_states.dump(model, data, tmp_path / "killed", **options)
    killed = hidden_states.dump(model, data, tmp_path / "killed", **options)
    assert whole[0].read_bytes() == killed[0].read_bytes()


def test_partial_results_of_another_model_are_not_used(make_model, make_data, tmp_path):
    data = make_data()
    with pytest.raises(KeyboardInterrupt):
        hidden_states.dump(make_model(seed=1), data, tmp_path / "a", max_seconds=1.5, progress=stopping_after(3))
    mixed = hidden_states.dump(make_model(), data, tmp_path / "a", max_seconds=1.5)
    clean = hidden_states.dump(make_model(), data, tmp_path / "b", max_seconds=1.5)
    assert mixed[0].read_bytes() == clean[0].read_bytes()


def test_a_layer_that_is_not_finite_is_named_with_the_utterance(make_model, make_data, tmp_path):
    model, data = make_model(), make_data(num_utterances=1)
    model.stacks["encoder"].layers[1].linear2.bias.data[0] = float("nan")
    with pytest.raises(ComflpError, match="the output of layer 2 is not finite .* for utterance u000"):
        hidden_states.dump(model, data, tmp_path / "hidden")


def test_damage_and_absence_are_errors_that_name_the_file(make_model, make_data, tmp_path):
    with pytest.raises(ComflpError, match="hidden.ark does not exist; stage 1"):
        hidden_states.read(tmp_path)
    ark, scp, _ = hidden_states.dump(make_model(), make_data(), tmp_path / "hidden")
    whole = ark.read_bytes()
    ark.write_bytes(whole[:-4])
    with pytest.raises(ComflpError, match="hidden.ark is damaged"):
        hidden_states.read(tmp_path / "hidden")
    ark.write_bytes(whole[:-400])
    with pytest.raises(ComflpError, match=r"hidden.scp:\d+: does not point into"):
        hidden_states.read(tmp_path / "hidden")
    scp.write_text("u000 nowhere\n")
    with pytest.raises(ComflpError, match="hidden.scp:1"):
        hidden_states.read(tmp_path / "hidden")
