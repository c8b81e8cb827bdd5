"""What comes of pruning a model in one call: the smaller model, what was removed, and how it does."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comflp.artifacts import atomic_directory, write_json
from comflp.costs import ModelCosts
from comflp.models import LayeredModel
from comflp.models.verify import verify_saved
from comflp.proposal import Proposal
from comflp.replacing import MODEL


@dataclass(frozen=True)
class Standing:
    """How a model does on the utterances that were held out.

    error_rate: in percent; None without texts. divergence: KL of its posteriors from the deep model's, in nats a row of its output (``model.row``).
    """

    error_rate: float | None
    divergence: float


@dataclass(frozen=True)
class Pruned:
    """What :func:`comflp.prune` returns.

    model: the smaller model, repaired where that was asked for; in evaluation mode. proposal: the layers that it lacks.
    costs: what the deep model costs. history: what each step did and found, with its seconds, in order.
    standings: ``deep``, ``pruned`` and, where there is one, ``repaired`` -> Standing. metric: ``cer`` or ``wer``.
    num_held_out: utterances that the standings are of.
    """

    model: LayeredModel
    proposal: Proposal
    costs: ModelCosts
    standings: dict[str, Standing]
    metric: str
    num_held_out: int
    history: list[dict[str, Any]] = field(default_factory=list)

    def save(self, directory: str | Path, force: bool = False) -> None:
        """Write the model, load it again and compare; ``pruning.json`` and ``costs.json`` beside it have what was found.

        The directory appears whole. It replaces a model directory of comflp, with ``force`` one that others added files to.
        """
        rates = {name: standing.error_rate for name, standing in self.standings.items()}
        if rates["deep"] is not None:
            *_, rate = rates.values()
            self.model.origin["training"] = {
                "metric": self.metric, "error_rate": rate, "error rate of the whole model": f"{rates['deep']:.2f}%",
                "data": f"{self.num_held_out} utterances that no step has seen",
            }
        with atomic_directory(directory, MODEL, force) as temporary:
            self.model.save(temporary)
            verify_saved(self.model, temporary)
            self.costs.write(temporary / "costs.json")
            write_json(temporary / "pruning.json", {"proposal": str(self.proposal), "steps": self.history})
