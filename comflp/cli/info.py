"""``comflp info MODEL``: what a model consists of, and how small pruning can make it."""

from __future__ import annotations

from typing import Sequence

from comflp.cli.options import add_model_options, load_model, parser
from comflp.costs import ModelCosts, quantity
from comflp.errors import NoLanguageError
from comflp.stacks import depth_in_words


def run(arguments: Sequence[str]) -> None:
    """Print stacks, layers, costs and the ceiling."""
    options = parser("info", "Show the stacks, layers, parameters and costs of a model.")
    add_model_options(options)
    options.add_argument("--seconds", action="store_true", help="also measure how fast the model is on this machine")
    given = options.parse_args(arguments)
    from comflp.inference.measure_costs import measure_costs, measure_seconds

    try:
        model = load_model(given)
    except NoLanguageError as error:  # layers and costs are those of every language
        given.language = error.languages[0]
        model = load_model(given)
    costs = measure_costs(model)
    if given.seconds:
        costs = measure_seconds(model, costs)
    print(f"{given.model}: {model.family}, {model.sample_rate} Hz audio")
    for step in model.origin.get("pruning", []):
        repaired = f", repaired on {step['repair']['utterances']} utterances" if "repair" in step else ""
        print(f"pruned: layers {step['removed']} of {depth_in_words(step['num_layers'], ' + ')} are gone{repaired}")
    for name, stack in model.stacks.items():
        stay = f", of which {len(stack.must_stay)} must stay" if stack.must_stay else ""
        print(f"{name}: {stack.num_layers} layers{stay}")
    print("\n".join(table(costs)))
    print(costs.ceiling)


def table(costs: ModelCosts) -> list[str]:
    """Lines of a table: each cost of the whole model, of a layer of each stack, and without half of the layers."""
    rows = [["", "whole model", *(f"one {name} layer" for name in costs.num_layers), "without half of the layers"]]
    for name, unit in (("parameters", costs.parameters), ("bytes of weights", costs.bytes),
                       ("multiply-adds a second of audio", costs.multiply_adds)):
        values = [unit.whole, *unit.layer.values(), unit.after(costs.halved)]
        rows.append([name, *(quantity(value, "multiply-adds").split()[0] for value in values)])
    if costs.seconds is not None:
        values = [costs.seconds.whole, *costs.seconds.layer.values(), costs.seconds.after(costs.halved)]
        rows.append(["ms a second of audio", *(f"{1000 * value:.3g}" for value in values)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]) for row in rows]
    return [*lines, *([f"measured on {costs.measured_on}"] if costs.seconds is not None else [])]
