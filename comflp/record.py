"""The record that each stage leaves beside its artifacts (docs/artifacts.md), and what it decides.

A record is written last; the same options on the same inputs with intact outputs is "up to date"; anything else is
made again or refused, never mixed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections import defaultdict
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any, Iterable, Iterator, Mapping

from comflp import __version__
from comflp.artifacts import check_file, fingerprint_file, fingerprint_model, fingerprint_value, read_json, write_json
from comflp.errors import ComflpError
from comflp.locks import this_process

STARTED = "started.json"
"""What unfinished work was started with, and by which process."""
_EDITED = 1 << 24
"""Bytes of a file that somebody may have edited, so that it is looked at before it is used."""
_MOST_NAMED = 6
"""Changed options that a message names."""
_PACKAGES = ("torch", "speechbrain", "transformers", "numpy", "kaldiio", "jiwer")


class Stage:
    """One run of a stage: decides whether it is needed, and records what it made.

    record: where the JSON record lies, beside the artifacts.
    name: the stage's name, such as ``stage2_correlation``.
    options: the options that change the result (JSON-able).
    inputs: what the stage reads, name -> fingerprint. Upstream records are
        given by path in ``upstream``; what they came from (their ``origin``)
        is carried along, and two inputs that came from different models or
        data stop the stage, as does a record whose own upstream was made otherwise since.
    force: make the artifacts again where a record of other options would stop.
    elsewhere: where results of other options may lie beside these, "another ...", for messages.
    """

    def __init__(
        self,
        record: str | Path,
        name: str,
        options: Mapping[str, Any],
        inputs: Mapping[str, str],
        upstream: Iterable[str | Path] = (),
        force: bool = False,
        elsewhere: str = "experiment directory",
    ):
        self.record = Path(record)
        self.name = name
        self.options = json.loads(json.dumps(options))
        self.inputs = dict(inputs)
        there = [path for path in map(Path, upstream) if path.exists()]
        self.origin = self.agree(there)
        self._made_from = {os.path.relpath(path, self.record.parent): _said(read_record(path)) for path in there}
        self.force = force
        self._elsewhere = elsewhere
        self._started = time.monotonic()
        self._process = this_process()

    def agree(self, upstream: Iterable[str | Path]) -> dict[str, str]:
        """What this stage's inputs and the records ``upstream`` together came from, name -> fingerprint.

        Raises ComflpError that names the record and the input where two came from different models or data, the file
        where one that the record names was changed or removed since, and the record where what it was made from was made otherwise since.
        """
        origin, source = dict(self.inputs), {key: f"{self.name}'s own input" for key in self.inputs}
        for path in map(Path, upstream):
            if not path.exists():
                continue
            record = read_record(path)
            refuse_changed(path.parent, record, all_there=True)
            refuse_outdated(path, record)
            for key, value in record["origin"].items():
                if origin.setdefault(key, value) != value:
                    raise ComflpError(
                        f"{self.name}: {path} was made from another {key} than {source[key]}; "
                        f"run the stage that made it again with --force, or use another experiment directory"
                    )
                source.setdefault(key, str(path))
        return origin

    def up_to_date(self) -> bool:
        """True when the record says the same and every output is intact. Records upstream that led to the same are noted in it.

        False when there is nothing yet, an output is missing or damaged, or
        ``force`` is set. Raises ComflpError, naming what changed, when the
        artifacts there were made with other options or from other inputs.
        """
        if self.force or not self.record.exists():
            return False
        old = read_record(self.record)
        self._compare(self.record.parent, "results", old["options"], old["origin"])
        intact = self._all_intact(self.record.parent, old)
        if intact and self._made_from != old.get("made_from", {}):
            with contextlib.suppress(ComflpError):  # an experiment that may only be read
                write_json(self.record, {**old, "made_from": self._made_from})
        return intact

    def is_current(self) -> bool:
        """As :meth:`up_to_date`, for what is made again whenever something has changed: False where it was made otherwise.

        False also where the record is damaged: the new one takes its place.
        """
        if self.force or not self.record.exists():
            return False
        try:
            old = read_record(self.record)
        except ComflpError:
            return False
        return not self._changed(old["options"], old["origin"]) and self._all_intact(self.record.parent, old)

    def record_to_extend(self, key: str) -> dict | None:
        """The record of intact results to which a larger whole number in the option ``key`` is all that this run adds, or None."""
        if self.force or not self.record.exists():
            return None
        old = read_record(self.record)
        same = {**old["options"], key: None} == {**self.options, key: None} and old["origin"] == self.origin
        now, before = (str(options.get(key)) for options in (self.options, old["options"]))
        more = same and now.isdecimal() and before.isdecimal() and int(now) > int(before)
        return old if more and self._all_intact(self.record.parent, old) else None

    def begin(self, work: str | Path, extends: Mapping[str, Any] | None = None) -> None:
        """Mark the directory ``work`` as unfinished work of this stage, which this process goes on with.

        extends: the record of the finished results that this work goes on from (:meth:`record_to_extend`).
        With ``force`` it begins anew, and the results that are there are finished no more; what such a run left when it was
        killed goes on, with ``force`` and without. Raises ComflpError, naming what changed, where it is work with other
        options or on other inputs.
        """
        marker = Path(work) / STARTED
        old = read_json(marker) if marker.exists() else None
        killed = old is not None and old.get("forced", False) and not self.record.exists() and not self._changed(old["options"], old["origin"])
        if self.force and not killed:
            shutil.rmtree(work, ignore_errors=True)
            old = None
        if old is not None and not (extends and old["options"] == extends["options"]):
            self._compare(work, "unfinished work", old["options"], old["origin"])
        write_json(marker, {"stage": self.name, "options": self.options, "origin": self.origin, "started_by": self._process,
                            "forced": self.force or killed})
        if self.force:
            self.record.unlink(missing_ok=True)

    def check_own(self, work: str | Path) -> None:
        """ComflpError where another process has begun this work since :meth:`begin`, or removed it.

        A process may outlive the run that started it, and would mix its work with the next run's.
        """
        marker = Path(work) / STARTED
        by = read_json(marker)["started_by"] if marker.exists() else None
        if by != self._process:
            who = f"{by} has begun it" if by else "another process has removed it"
            raise ComflpError(f"{work} is no longer the work of this process: {who} since; this process ends, and changes nothing more")

    def _changed(self, options: Mapping[str, Any], origin: Mapping[str, str]) -> list[str]:
        return [*_differences(options, self.options), *_differences(origin, self.origin)]

    def _compare(self, place: str | Path, what: str, options: Mapping[str, Any], origin: Mapping[str, str]) -> None:
        changed = self._changed(options, origin)
        if changed:
            more = f"; and {len(changed) - _MOST_NAMED} more" if len(changed) > _MOST_NAMED else ""
            raise ComflpError(
                f"{place} holds {what} of {self.name} made otherwise ({'; '.join(changed[:_MOST_NAMED])}{more}); "
                f"add --force to make it again, or keep it and take another {self._elsewhere}"
            )

    @classmethod
    def _all_intact(cls, directory: Path, record: Mapping[str, Any]) -> bool:
        return all(cls._intact(directory / path, entry) for path, entry in record["outputs"].items())

    @staticmethod
    def _intact(path: Path, entry: Mapping[str, Any]) -> bool:
        if path.is_dir():
            return fingerprint_model(path) == entry["sha256"]
        return path.is_file() and path.stat().st_size == entry.get("size") and fingerprint_file(path) == entry["sha256"]

    def finish(self, outputs: Iterable[str | Path], **extra: Any) -> dict:
        """Write the record, last of all, and return it. ``outputs`` are files or model directories."""
        entries: dict[str, dict[str, Any]] = {}
        for path in map(Path, outputs):
            name = os.path.relpath(path, self.record.parent)
            if path.is_dir():
                entries[name] = {"sha256": fingerprint_model(path)}
            else:
                entries[name] = {"size": path.stat().st_size, "sha256": fingerprint_file(path)}
        record = {
            "stage": self.name,
            "options": self.options,
            "inputs": self.inputs,
            "origin": self.origin,
            "made_from": self._made_from,
            "outputs": entries,
            "seconds": round(time.monotonic() - self._started, 3),
            "finished": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "command": " ".join(sys.argv),
            "versions": versions(),
            **extra,
        }
        write_json(self.record, record)
        return record


def read_record(path: Path) -> dict:
    """A stage's record; ComflpError where it is not one any more."""
    try:
        record = read_json(path)
        entries = [record["options"], record["origin"], record["outputs"], *record["outputs"].values()]
        whole = isinstance(record["stage"], str) and all(isinstance(entry, dict) for entry in entries)
        whole = whole and all("sha256" in entry for entry in entries[3:])
    except (ComflpError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise ComflpError(f"{path} is damaged; delete it, and the stage that wrote it makes its results again")
    return record


def refuse_changed(directory: Path, record: Mapping[str, Any], all_there: bool = False) -> None:
    """ComflpError where a file of a record in ``directory``, small enough to be edited by hand, is not as the stage left it.

    all_there: also where such a file is missing.
    """
    for name, entry in record["outputs"].items():
        path = directory / name
        if entry.get("size", _EDITED + 1) <= _EDITED:
            check_file(path)
            if all_there and not path.exists():
                raise ComflpError(f"{path} is missing, and {record['stage']} wrote it; run that stage again with --force")
        if path.is_file() and path.stat().st_size <= _EDITED and fingerprint_file(path) != entry["sha256"]:
            raise ComflpError(
                f"{path} was changed after {record['stage']} wrote it; run that stage again with --force, "
                f"or give what you want by its options"
            )


def refuse_outdated(path: Path, record: Mapping[str, Any]) -> None:
    """ComflpError where a record that the one at ``path`` was made from was made otherwise since, or one that that was made from."""
    for name, said in record.get("made_from", {}).items():
        upstream = Path(os.path.normpath(path.parent / name))
        if upstream.exists():
            now = read_record(upstream)
            if _said(now) != said:
                raise ComflpError(f"{path} was made before {upstream} was made otherwise; run {record['stage']} again for it, "
                                  f"or move {path.parent} away if nobody needs that any more")
            refuse_outdated(upstream, now)


def _said(record: Mapping[str, Any]) -> str:
    """What a record says its results follow from, which is the same when they are made again."""
    return fingerprint_value([record["options"], record["origin"]])


def seconds_of_stages(records: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Stage name -> seconds in which at least one of its results was in the making: those of one call share its time.

    >>> walk = [{"stage": "stage4", "seconds": 9.0, "finished": f"2026-01-01T00:00:{end}+00:00"} for end in (10, 11)]
    >>> seconds_of_stages([*walk, {"stage": "stage4", "seconds": 2.5, "finished": "2026-01-02T00:00:00.000+00:00"}])
    {'stage4': 12.5}
    """
    spans = defaultdict(list)
    for record in records:
        end = datetime.fromisoformat(record["finished"]).timestamp()
        spans[record["stage"]].append((end - record["seconds"], end))
    totals = {}
    for stage in sorted(spans):
        total, reached = 0.0, float("-inf")
        for start, end in sorted(spans[stage]):
            total += max(end - max(start, reached), 0.0)
            reached = max(reached, end)
        totals[stage] = round(total, 3)
    return totals


def versions() -> dict[str, str]:
    """Versions of Python, of this package and of the packages that numbers depend on."""
    found = {"python": sys.version.split()[0], "comflp": __version__}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], within: str = "") -> Iterator[str]:
    """What changed, a text a key; of an option that is a mapping itself the keys in it: ``search.beam_size: 10 before, 50 now``."""
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _differences(old, new, f"{within}{key}.")
        elif old != new:
            yield f"{within}{key}: {_short(old)} before, {_short(new)} now"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:16] + "..."
