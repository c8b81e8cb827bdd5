"""What a long run keeps, batch by batch, so that a killed one goes on from there.

Partial results lie in a work directory under a key: a fingerprint of
everything that they depend on (weights, data, batches, options). Results of
another key are never read, so nothing can be mixed; the caller removes the
work directory when the final artifact is in place.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Sequence

import torch

from comflp.artifacts import fingerprint_value
from comflp.data.data_dir import DataDir, Utterance
from comflp.processes import ALONE, Ranks


def fingerprint_weights(model: torch.nn.Module) -> str:
    """SHA-256 over the names, shapes and values of a model's parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def work_key(
    model: torch.nn.Module, data: DataDir, batches: Sequence[Sequence[Utterance]], **options: Any
) -> str:
    """The key of a run over ``batches`` of ``data`` with ``options`` (JSON-able)."""
    return fingerprint_value(
        {
            "model": fingerprint_weights(model),
            "data": data.fingerprint(),
            "batches": [[utterance.utt_id for utterance in batch] for batch in batches],
            "options": options,
        }
    )


class Journal:
    """An append-only file of results, one JSON line a batch; read back when a run starts again.

    directory: the work directory, or None to keep nothing on disk.
    key: from :func:`work_key`.
    ranks: each process appends to a file of its own and reads those of all, so
        a run may go on with another number of processes.

    ``done`` maps the index of a batch to its result. A last line that was cut
    off by a kill is dropped.
    """

    def __init__(self, directory: str | Path | None, key: str, ranks: Ranks = ALONE):
        self.done: dict[int, Any] = {}
        self._file = None
        if directory is None:
            return
        directory, stem = Path(directory), key[:16]
        directory.mkdir(parents=True, exist_ok=True)
        for path in sorted(directory.glob(f"{stem}.*.jsonl")):
            self._read(path)
        ranks.barrier()
        own = directory / f"{stem}.{ranks.rank}.jsonl"
        _drop_torn_line(own)
        self._file = open(own, "ab")

    def _read(self, path: Path) -> None:
        for line in path.read_bytes().split(b"\n")[:-1]:
            entry = json.loads(line)
            self.done[entry["index"]] = entry["result"]

    def add(self, index: int, result: Any) -> None:
        """Keep the result of batch ``index``; it is on the disk when this returns."""
        result = json.loads(json.dumps(result))
        self.done[index] = result
        if self._file is not None:
            line = json.dumps({"index": index, "result": result}, ensure_ascii=False)
            self._file.write(line.encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; ``done`` stays readable."""
        if self._file is not None:
            self._file.close()


def _drop_torn_line(path: Path) -> None:
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole != len(content):
        with open(path, "r+b") as file:
            file.truncate(whole)
