"""Whether the models of an experiment come from the deep model that lies beside them, and were decoded on the same data."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any, Iterable, Mapping

from comflp.artifacts import fingerprint_model, read_json
from comflp.errors import ComflpError
from comflp.experiment import Layout


def refuse_other_origins(layout: Layout) -> None:
    """ComflpError that names a model whose record says that it was made from another deep model."""
    deep = fingerprint_model(layout.deep) if layout.deep.is_dir() else None
    for directory in (result.model(state) for result in layout.results() for state in result.states()):
        made_from = read_json(directory / "record.json")["origin"].get("model")
        if None not in (deep, made_from) and made_from != deep:
            raise ComflpError(f"{directory} was made from another model than {layout.deep}; run stage 5 again with --force, or move it away")


def refuse_other_data(records: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """ComflpError that names two models which were decoded on a data set before and after it was changed: their rates say nothing beside each other.

    records: path in the experiment -> record, the one that was finished last coming last.
    """
    latest: dict[str, tuple[str, str]] = {}
    for path, record in records:
        directory, data = PurePath(path).parent, record.get("inputs", {}).get("decoded data")
        if data and directory.name.startswith("decode_"):
            before, known = latest.setdefault(directory.name, (str(directory), data))
            if known != data:
                raise ComflpError(f"{before} is of other data than {directory}: the data set was changed in between; run stage 6 again with --force, "
                                  f"or move {before} away")
