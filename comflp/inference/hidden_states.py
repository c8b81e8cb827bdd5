"""Stage 1: the time-averaged output of every layer, an (L+1) x D matrix an utterance (Section 2.1).

``dump`` makes a directory, of a model of several stacks one a stack in it, of

    hidden.ark, hidden.scp   Kaldi archive: utterance -> (L+1) x D float32, row i the mean of H_i over the utterance's frames
    frame_cosine.npy         (L+1) x (L+1) float64: the mean over all frames of the cosine of H_i and H_j

and ``read`` maps the archive into memory, so that any part of it can be read
without loading the rest.
"""

from __future__ import annotations

import mmap
import secrets
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Sequence

import kaldiio
import numpy as np
import torch

from comflp.artifacts import atomic_path, check_file, read_text, require, write_text
from comflp.data import MAX_SECONDS
from comflp.data.batching import AudioBatch, make_batches
from comflp.data.data_dir import DataDir
from comflp.errors import ComflpError
from comflp.experiment import stack_folders
from comflp.models.finite import not_finite
from comflp.inference.loop import Pass
from comflp.inference.speech import How, Speech
from comflp.models.layered import ENTER, LayeredModel, State

if TYPE_CHECKING:
    from typing_extensions import Unpack

_WORK = ".partial"
_RELEASED_ABOVE = 1 << 24  # bytes read at once, after which the pages of the archive are given back
_HEADER = 15  # bytes between an scp offset and the values: \0B, "FM ", and two sizes of 1 + 4 bytes each


def dump(
    model: LayeredModel, data: DataDir, directory: str | Path, padded_mean: bool = False, **how: Unpack[How]
) -> list[Path]:
    """Write hidden.ark, hidden.scp and frame_cosine.npy of each stack below ``directory``; returns their paths.

    A killed dump goes on from the batches that it had finished.

    padded_mean: average over the padded frames too, as the released code of the
        paper does; a vector then depends on the utterances beside it. For comparisons only.
    how: fields of :class:`comflp.inference.speech.Speech`, but for ``work``; the first of the ``ranks`` writes the result.

    Raises ComflpError, naming utterance and layer, where a mean is not finite.
    """
    directory = Path(directory)
    speech = Speech(model, data, **how, work=directory / _WORK)
    batches = make_batches(data.utterances, max_seconds=speech.max_seconds) if padded_mean else None
    batches = Pass(speech, batches, padded_mean=padded_mean)

    chunks = batches.run(
        lambda _, audio: {name: _write_chunk(speech.work, audio, found) for name, found in average(model, audio, padded_mean).items()},
        "hidden states",
    )
    paths = []
    for name, folder in stack_folders(model.stacks).items():
        files = [directory / folder / file for file in ("hidden.ark", "hidden.scp", "frame_cosine.npy")]
        paths += files
        if speech.ranks.is_main:
            _merge([speech.work / chunk[name] for chunk in chunks], *files)
    if speech.ranks.is_main:
        shutil.rmtree(speech.work)
    speech.ranks.barrier()
    return paths


def collect(model: LayeredModel, data: DataDir, max_seconds: float = MAX_SECONDS, allow_pipes: bool = False) -> np.ndarray:
    """The (n, L+1, D) float32 time averages of ``data`` by a model of one stack, in memory and in the order of its utterances."""
    means = {}

    def work(_: int, audio: AudioBatch) -> None:
        (averages,) = average(model, audio).values()
        means.update(zip((utterance.utt_id for utterance in audio.utterances), averages.means))

    Pass(Speech(model, data, max_seconds, allow_pipes=allow_pipes)).run(work, "hidden states")
    return np.stack([means[utterance.utt_id] for utterance in data.utterances])


class Averages(NamedTuple):
    """Of one batch and one stack: (B, L+1, D) float32 means, the (L+1, L+1) float64 sum of frame cosines, and how many frames."""

    means: np.ndarray
    cosines: np.ndarray
    frames: int


def average(model: LayeredModel, batch: AudioBatch, padded_mean: bool = False) -> dict[str, Averages]:
    """Stack -> what one batch gives."""
    state = model.begin(batch)
    states: dict[str, list[State]] = {name: [] for name in model.stacks}
    next(iter(states.values())).append(state.with_hidden(state.hidden.float()))
    for step in model.path():
        state = model.run(state, step)
        if step.layer >= ENTER:
            states[step.stack].append(state.with_hidden(state.hidden.float()))  # sums of many frames need all digits
    return {name: _averages(of_stack, batch, padded_mean) for name, of_stack in states.items()}


def _averages(states: Sequence[State], batch: AudioBatch, padded_mean: bool) -> Averages:
    means = [state.hidden.mean(dim=1) if padded_mean else state.time_average() for state in states]
    means = torch.stack(means, dim=1).float().cpu().numpy()
    _check_finite(means, batch)
    return Averages(means, _cosine_sums(states), int((states[-1].num_frames - states[-1].first).sum()))


def _cosine_sums(states: Sequence[State]) -> np.ndarray:
    """Sum over an utterance's frames of cos(H_i, H_j), added over utterances one by one: padding never enters.

    Where layers change the frame rate, the frames are those of the last layer, and of every other the ones beside them.
    """
    cosines = []
    lengths = torch.stack([state.num_frames for state in states]).tolist()
    for row in range(len(states[0].hidden)):
        last = torch.arange(states[-1].first, lengths[-1][row])
        frames = torch.stack([
            state.hidden[row, last * of_all[row] // lengths[-1][row]] for state, of_all in zip(states, lengths)
        ]).float()
        frames /= torch.linalg.vector_norm(frames, dim=2, keepdim=True).clamp_min(1e-12)
        flat = frames.flatten(1)
        cosines.append(flat @ flat.T)
    return torch.stack(cosines).cpu().double().sum(dim=0).numpy()


def _check_finite(means: np.ndarray, batch: AudioBatch) -> None:
    bad = np.argwhere(~np.isfinite(means).all(axis=2))
    if len(bad):
        row, layer = bad[0].tolist()
        raise not_finite(f"the output of layer {layer}", batch.utterances[row], batch.waveforms[row])


def _write_chunk(work: Path, audio: AudioBatch, averages: Averages) -> str:
    """Keep what :func:`average` gave under a name of its own, which is returned."""
    chunk = work / f"{secrets.token_hex(8)}.npz"
    with atomic_path(chunk) as temporary, open(temporary, "wb") as file:
        utt_ids = np.array([utterance.utt_id for utterance in audio.utterances])
        np.savez(file, utt_ids=utt_ids, **averages._asdict())
    return chunk.name


def _read_chunk(path: Path) -> dict[str, np.ndarray]:
    """What :func:`_write_chunk` kept. Where it is damaged, all the work is dropped, and the ComflpError says so."""
    try:
        with np.load(path) as chunk:
            return {name: chunk[name] for name in ("utt_ids", *Averages._fields)}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        shutil.rmtree(path.parent, ignore_errors=True)
        raise ComflpError(f"{path}, a part of the work, was damaged ({error}); all of it was removed, run the same command again") from None


def _merge(chunks: Sequence[Path], ark: Path, scp: Path, frame_cosine: Path) -> None:
    offsets, cosines, frames = {}, [], 0
    with atomic_path(ark) as temporary, open(temporary, "wb") as file:
        for path in chunks:
            chunk = _read_chunk(path)
            for utt_id, matrix in zip(chunk["utt_ids"].tolist(), chunk["means"]):
                offsets[utt_id] = file.tell() + len(utt_id.encode()) + 1
                kaldiio.save_ark(file, {utt_id: matrix})
            cosines.append(chunk["cosines"])
            frames += int(chunk["frames"])
    with atomic_path(frame_cosine) as temporary, open(temporary, "wb") as file:
        np.save(file, np.sum(cosines, axis=0) / frames)
    write_text(scp, "".join(f"{utt_id} {ark}:{offset}\n" for utt_id, offset in sorted(offsets.items())))


def _size(file: BinaryIO, offset: int) -> tuple[int, int]:
    """Rows and columns of the matrix there; (-1, -1) where there is none."""
    file.seek(offset)
    header = file.read(_HEADER)
    if header[:5] != b"\0BFM " or len(header) != _HEADER:
        return -1, -1
    return int.from_bytes(header[6:10], "little"), int.from_bytes(header[11:15], "little")


class HiddenStates:
    """The (n, L+1, D) float32 array of a dump, left on disk: a part is read when it is asked for.

    Index it by utterances and layers (``hidden[5]``, ``hidden[:100]``, ``hidden[:, 3]``): two lists are all of these
    layers of all of these utterances. The third axis is always read whole. ``numpy.asarray(hidden)`` is all of it.
    """

    ndim = 3
    dtype = np.dtype("<f4")

    def __init__(self, ark: str | Path, offsets: Sequence[int]):
        self._offsets = np.asarray(offsets, dtype=np.int64)
        # Headers are read past the map, whose pages would count as this process's memory, the whole archive's in the end.
        with open(ark, "rb", buffering=0) as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            sizes = {_size(file, offset) for offset in offsets}
        self._bytes = np.frombuffer(self._map, dtype=np.uint8)
        rows, columns = min(sizes)
        if len(sizes) > 1 or rows < 0 or self._offsets.max() + _HEADER + 4 * rows * columns > len(self._bytes):
            raise ComflpError(f"{ark} is damaged, or holds matrices of several sizes; run stage 1 again with --force")
        self.shape = (len(self._offsets), rows, columns)

    def __len__(self) -> int:
        return self.shape[0]

    def _matrix(self, row: int) -> np.ndarray:
        _, rows, columns = self.shape
        start = self._offsets[row] + _HEADER
        return self._bytes[start : start + 4 * rows * columns].view(self.dtype).reshape(rows, columns)

    def __getitem__(self, index: int | slice | tuple | np.ndarray) -> np.ndarray:
        index = index if isinstance(index, tuple) else (index,)
        utterances, rest = index[0], index[1:]
        chosen = np.arange(len(self))[utterances]
        if chosen.ndim == 0:
            return np.array(self._matrix(chosen)[rest])
        if not len(chosen):
            return np.empty(self.shape, self.dtype)[:0][(slice(None), *rest)]
        taken = np.stack([self._matrix(row)[rest] for row in chosen])
        if taken.nbytes > _RELEASED_ABOVE and hasattr(mmap, "MADV_DONTNEED"):
            # Pages once read count as this process's memory, up to the whole archive; they can be read again.
            self._map.madvise(mmap.MADV_DONTNEED)
        return taken

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)


def read(directory: str | Path) -> tuple[list[str], HiddenStates]:
    """The utterance ids of a dump, sorted, and its (n, L+1, D) values, mapped and not loaded.

    The archive is taken from ``directory``, wherever that was moved since.
    Raises ComflpError where a file is missing or damaged.
    """
    ark, scp = Path(directory) / "hidden.ark", Path(directory) / "hidden.scp"
    for path in (ark, scp):
        check_file(require(path, "stage 1 (feature dump)"))
    utt_ids, offsets = [], []
    for number, line in enumerate(read_text(scp).splitlines(), start=1):
        utt_id, _, place = line.partition(" ")
        _, _, offset = place.rpartition(":")
        if not (offset.isascii() and offset.isdigit()) or int(offset) + _HEADER > ark.stat().st_size:
            raise ComflpError(f"{scp}:{number}: does not point into {ark}; run stage 1 again with --force")
        utt_ids.append(utt_id)
        offsets.append(int(offset))
    if not utt_ids:
        raise ComflpError(f"{scp} is empty; run stage 1 again with --force")
    return utt_ids, HiddenStates(ark, offsets)
