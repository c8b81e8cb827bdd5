"""How many layers are to go: --num-prune says it, or --target, which is resolved by what the parts of the deep model cost."""

from __future__ import annotations

import argparse
from typing import Callable, Mapping, Sequence

from cli import NUM_PRUNE
from deep_model import DeepModel

from comflp.budget import FORMS, parse_target, resolve, timed_batch_size
from comflp.costs import ModelCosts
from comflp.experiment import Layout
from comflp.processes import Ranks
from comflp.record import Stage
from comflp.target import LayerCounts, layer_counts


def wanted_options(arguments: argparse.ArgumentParser) -> None:
    """Add ``--num-prune`` and ``--target``, one of which has to be given, to the options of a stage."""
    either = arguments.add_mutually_exclusive_group(required=True)
    either.add_argument("--num-prune", help=NUM_PRUNE)
    either.add_argument("--target", help=f"what the pruned model is to be, instead of N: {FORMS.replace('%', '%%')} (docs/targets.md)")


def wanted_counts(
    options: argparse.Namespace, num_layers: Mapping[str, int], deep: Callable[[], DeepModel], ranks: Ranks
) -> Sequence[LayerCounts]:
    """The numbers of layers to remove; with ``--target`` those that just reach it, and a line with the ceiling.

    num_layers: name and L of each stack. deep: gives the deep model, which ``--target`` measures where nobody has.
    """
    if options.target is None:
        return layer_counts(options.num_prune, num_layers)
    targets = parse_target(options.target, num_layers)
    costs = measured_costs(Layout(options.exp), deep(), ranks, timed_batch_size(targets))
    if ranks.is_main:
        print(costs.ceiling, flush=True)
    return resolve(targets, costs)


def measured_costs(layout: Layout, deep: DeepModel, ranks: Ranks, batch_size: int | None = None) -> ModelCosts:
    """What the parts of the deep model cost: from costs.json, or measured and written there, once a model and, for seconds, a processor.

    batch_size: with how many utterances at a time its speed is wanted; None where it is not.
    """
    stage = Stage(layout.costs.with_suffix(".record.json"), "costs", {}, {"model": deep.fingerprint})

    def find() -> ModelCosts:
        known = ModelCosts.read(layout.costs) if stage.is_current() else None
        if known is not None and batch_size is None:
            return known
        from comflp.inference.device import processor_of

        if known is not None and known.measured_here(batch_size, processor_of(deep.device)):
            return known
        from comflp.inference.measure_costs import measure_costs, measure_seconds

        costs = measure_costs(deep.model)
        if batch_size is not None:
            costs = measure_seconds(deep.model, costs, batch_size)
        costs.write(layout.costs)
        stage.finish([layout.costs])
        return costs

    return ranks.decide(find)
