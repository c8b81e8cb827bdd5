"""What to type next, for this experiment."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Iterator, Sequence

from comflp.report.answer import Answer
from comflp.report.choices import FINE_TUNED, Choice, is_test
from comflp.report.collect import Experiment
from comflp.report.document import Commands, Part, Text
from comflp.result_names import ProposalName


@dataclass(frozen=True)
class Recipe:
    """Where an experiment is made. exp: its directory as it is typed from the recipe's. run: the recipe's command with the options it had.

    benchmarks: the folder of that name as it is typed from there, where there is one.
    """

    exp: str
    run: str = "./run.sh"
    benchmarks: str = "../../benchmarks"


def parts(experiment: Experiment, found: Sequence[Choice], given: Answer | None, recipe: Recipe | None) -> list[Part]:
    """The next steps as commands; none where the experiment is no recipe's."""
    if recipe is None:
        return []
    steps = list(_steps(experiment, found, given, recipe))
    where = "From the recipe's directory, after `. ./path.sh`, which makes its environment the active one:"
    return [Text(where), Commands(steps)] if steps else []


def _steps(experiment: Experiment, found: Sequence[Choice], given: Answer | None, recipe: Recipe) -> Iterator[tuple[str, str]]:
    if given is None or given.chosen_on is None:
        first = 1 if given is None else 4
        yield "Find layers and decode the candidates.", f"{recipe.run} --stage {first} --stop-stage 4"
        yield "Make this report again.", f"{recipe.run} --stage 7 --stop-stage 7"
        return
    choice = given.choice
    if choice.path is None:
        name = next((str(name) for name in choice.names if isinstance(name, ProposalName)), str(choice.proposal))
        yield ("Repair and fine-tune these layers and the deep model in the same way, decode both, and make this report again.",
               f"{recipe.run} --stage 5 --stop-stage 7 --finetune-prune {shlex.quote(str(choice.counts))} --proposals {shlex.quote(f'{name} deep')}")
        return
    trained_on = any(other.is_deep and other.counts is not None for other in found)
    if choice.state == FINE_TUNED and not trained_on:
        yield ("Train the deep model in the same way, and compare again.",
               f"{recipe.run} --stage 5 --stop-stage 7 --finetune-prune {shlex.quote(str(choice.counts))} --proposals deep")
    scores = experiment.models[choice.path][2].scores
    decoded = sorted(scores, key=lambda name: (name != "test", is_test(name), name))
    if not decoded:
        yield "Decode what stage 5 made, and make this report again.", f"{recipe.run} --stage 6 --stop-stage 7"
        return
    score = scores[decoded[0]]
    data = shlex.quote(score.get("data", f"data/{decoded[0]}"))
    model, exp = shlex.quote(f"{recipe.exp}/{choice.path}"), shlex.quote(recipe.exp)
    if len(experiment.stacks) < 2:
        usual = {"metric": "cer", "normaliser": "none"}
        scored = "".join(f" --{name} {score[name]}" for name, value in usual.items() if score.get(name, value) != value)
        yield ("Write it in the forms that devices read, checked on real utterances.",
               f"python steps/export.py --model {model} --data {data}{scored}")
        if not (choice.speed and choice.speed.measured) and recipe.benchmarks:
            models = "" if choice.state == FINE_TUNED else f" --models {shlex.quote(f'deep {choice.path}')}"
            yield ("Measure speed and memory of the models on this machine.",
                   f"python {recipe.benchmarks}/deploy.py --exp {exp} --data {data}{models}")
    yield ("Read the texts that it gets most wrong.", f"cat {model}/decode_{shlex.quote(decoded[0])}/worst.txt")
