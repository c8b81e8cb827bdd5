"""Whether the models of an experiment come from the deep model that lies beside them."""

from __future__ import annotations

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
