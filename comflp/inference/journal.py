"""What a long run keeps, batch by batch, so that a killed one goes on from there.

Partial results lie in a work directory under a key: a fingerprint of
everything that they depend on (weights, data, batches, options). Results of
another key are never read, so nothing can be mixed; the caller removes the
work directory when the final artifact is in place.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import tempfile
from pathlib import Path
from typing import Any, Callable, Sequence

import torch

from comflp.artifacts import fingerprint_file, fingerprint_value
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
            "settings": _settings(model),
            "data": data.fingerprint(),
            "batches": [[utterance.utt_id for utterance in batch] for batch in batches],
            "options": options,
        }
    )


def _settings(model: torch.nn.Module) -> dict[str, Any]:
    """What besides its weights the results of a model depend on: tokenizer and prompt, feature extractor, how it writes."""
    tokenizer, processor = getattr(model, "tokenizer", None), getattr(model, "processor", None)
    found = {"prompt": getattr(tokenizer, "prompt", None)}
    if tokenizer is not None:
        with tempfile.TemporaryDirectory() as files:
            tokenizer.save(Path(files))
            found["tokenizer"] = {path.name: fingerprint_file(path) for path in sorted(Path(files).iterdir()) if path.is_file()}
    settings = {"features": getattr(processor, "feature_extractor", None), "generation": getattr(getattr(model, "model", None), "generation_config", None)}
    return found | {name: repr(sorted(part.to_dict().items(), key=str)) for name, part in settings.items() if part is not None}


class Journal:
    """Append-only files of results, one JSON line a batch; read back when a run starts again.

    directory: the work directory, or None to keep nothing on disk.
    key: gives the key, from :func:`work_key`; called where it is needed.
    ranks: the main process reads what earlier runs left, in whatever number of processes, and tells the others, so
        that all go on from the same place even where the file system shows it to one later than to another.

    ``done`` maps the index of a batch to its result. A line that was cut off by a kill, or damaged, is dropped. Every process
    of every run appends to a file of its own, which nobody else has ever written to.
    """

    def __init__(self, directory: str | Path | None, key: Callable[[], str], ranks: Ranks = ALONE):
        self.done: dict[int, Any] = {}
        self._path = None
        if directory is None:
            return
        stem, run, self.done = ranks.decide(lambda: _open(Path(directory), key()[:16]))
        self._path = Path(directory) / f"{stem}.{run}.{ranks.rank}.jsonl"

    def add(self, index: int, result: Any) -> None:
        """Keep the result of batch ``index``; it is on the disk when this returns."""
        line = json.dumps({"index": index, "result": result}, ensure_ascii=False)
        self.done[index] = json.loads(line)["result"]
        if self._path is not None:
            with open(self._path, "ab") as file:
                file.write(line.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())


def _open(directory: Path, stem: str) -> tuple[str, str, dict[int, Any]]:
    """(``stem``, a name that no run has had, what all runs so far have done; lines that are damaged are made again)."""
    directory.mkdir(parents=True, exist_ok=True)
    done = {}
    for path in sorted(directory.glob(f"{stem}.*.jsonl")):
        for line in path.read_bytes().split(b"\n")[:-1]:
            with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):
                entry = json.loads(line)
                done[entry["index"]] = entry["result"]
    return stem, secrets.token_hex(4), done
