"""Two runs of a recipe compared: the same artifacts to the last byte, but for what the run took."""

import csv
import io
import json
from pathlib import Path

from comflp.data.inventory import CACHE
from comflp.replacing import MARK

COSTS = {"seconds", "finished", "command", "started_by", "decode_seconds", "rtf", "layer_runs", "frontend_runs"}
"""JSON keys and CSV columns of what a run was and took; one that was killed takes more (GLP loses its cached layer outputs)."""


KEPT = (".lock", CACHE, MARK)
"""Beginnings of the names of hidden files that stay: locks, what audio files held when they were last opened, and the sign of a directory of ours."""
GROWING = "train_log.csv"


def final_artifacts(recipe):
    """{path: content} of what the stages left in data/ and exp/; content is comparable between runs.

    Left out: checkpoints, TensorBoard events, log files and the lock. Of report/, which prints times, only the names of its files.
    """
    found = {}
    for top in ("data", "exp"):
        for path in sorted(Path(recipe, top).rglob("*")):
            name = path.relative_to(recipe)
            if not path.is_file() or {"save", "tensorboard", "log"} & set(name.parts):
                continue
            if any(part.startswith(".") for part in name.parts):  # work in progress
                continue
            found[str(name)] = None if "report" in name.parts else _content(path)
    return found


def _content(path):
    if path.suffix == ".json":
        return _without_costs(json.loads(path.read_text(encoding="utf-8")))
    if path.suffix == ".csv":
        rows = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))
        return [_without_costs(row) for row in rows]
    return path.read_bytes()


def _without_costs(value):
    if isinstance(value, dict):
        # The hash of an output that itself holds times says no more than its comparison here does.
        return {key: _without_costs(item) for key, item in value.items() if key not in {*COSTS, "outputs"}}
    return [_without_costs(item) for item in value] if isinstance(value, list) else value


def leftovers(recipe):
    """Files that a finished stage must not leave: work in progress, which has hidden names, and partial downloads."""
    return sorted(
        str(path.relative_to(recipe))
        for top in ("data", "exp")
        for path in Path(recipe, top).rglob("*")
        if not path.name.startswith(KEPT) and (path.name.startswith(".") or path.name.endswith(".part"))
    )


def half_written(recipe, before, after):
    """Files of a killed run that are neither as they were before it nor as a whole run leaves them, as lines of text."""
    try:
        now = final_artifacts(recipe)
    except ValueError as error:  # JSON that ends in the middle
        return [f"half-written JSON: {error}"]
    then, finally_ = final_artifacts(before), final_artifacts(after)
    return [
        f"{name} is half-written"
        for name, content in now.items()
        if not name.endswith(GROWING) and not ((name in then and content == then[name]) or (name in finally_ and content == finally_[name]))
    ]


def differences(recipe, undisturbed):
    """What is wrong with a recipe's artifacts, as lines of text; none is good."""
    now, then = final_artifacts(recipe), final_artifacts(undisturbed)
    lines = [f"{name} is missing" for name in sorted(then.keys() - now.keys())]
    lines += [f"{name} is there and should not be" for name in sorted(now.keys() - then.keys())]
    lines += [f"{name} differs" for name in sorted(then.keys() & now.keys()) if now[name] != then[name]]
    return lines + [f"{name} was left behind" for name in leftovers(recipe)]
