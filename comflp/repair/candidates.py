"""Fine search among repaired models: what is decoded is what the user gets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Sequence

from comflp.data.data_dir import DataDir
from comflp.proposal import Proposal
from comflp.repair.calibration import Calibration
from comflp.search.fine.evaluate import Evaluation, evaluate

_OF_PROPOSALS = ("counts", "texts", "ran_into_limit")
"""Fields of an Evaluation that are by proposals."""


def evaluate_repaired(calibration: Calibration, proposals: Sequence[Proposal], data: DataDir, **options: Any) -> Evaluation:
    """Decode ``data`` with the repaired model of every proposal and count the errors.

    As :func:`comflp.search.fine.evaluate.evaluate` does with pruned models. The deep model's states are computed once
    for all repairs; repaired models have no layers in common, so each is decoded by itself, and there is no race.

    options: those of ``evaluate``: ``metric``, ``work``, ``ranks``...
    """
    parts = {}
    for proposal in sorted(set(proposals)):
        model = calibration.repair(calibration.deep.prune(proposal))
        part = evaluate(model, [model.nothing], data, **options)
        parts[proposal] = replace(part, **{name: {proposal: getattr(part, name)[model.nothing]} for name in _OF_PROPOSALS})
    every = list(parts.values())
    return replace(
        every[0],
        **{name: {proposal: getattr(part, name)[proposal] for proposal, part in parts.items()} for name in _OF_PROPOSALS},
        layer_runs=sum(part.layer_runs for part in every),
        frontend_runs=sum(part.frontend_runs for part in every),
        seconds=sum(part.seconds for part in every),
    )
