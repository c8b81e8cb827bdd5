"""What the benchmarks of repair share: rows that are kept as they are measured, and the models of an experiment scored."""

import argparse
import json
from functools import cached_property
from pathlib import Path

import numpy as np

import comflp.models
from comflp.artifacts import fingerprint_model, read_json
from comflp.data.data_dir import read_data_dir
from comflp.experiment import Layout
from comflp.inference.hypotheses import own_hypotheses
from comflp.inference.speech import Speech
from comflp.proposal import PruningProposal
from comflp.repair import Calibration
from comflp.result_names import ListName
from comflp.scoring import METRICS, NORMALISERS
from comflp.search.baselines import FIXED
from comflp.search.fine.evaluate import evaluate
from comflp.stacks import depths_of
from comflp.target import ENCODER, LayerCounts


class Rows:
    """Measured rows in a file of JSON lines, by a key."""

    def __init__(self, path):
        self.path, self.rows = path, {}
        for line in path.read_text().splitlines() if path.exists() else []:
            row = json.loads(line)
            self.rows[row["key"]] = row

    def of(self, key, measure):
        if key not in self.rows:
            self.rows[key] = {"key": key, **measure()}
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(self.rows[key]) + "\n")
        return self.rows[key]


class Bench:
    """What all tables measure with."""

    def __init__(self, options):
        self.options = options
        self.deep = comflp.models.load(options.exp / "deep")
        self.test, self.probe = (read_data_dir(options.data / name) for name in (options.test, options.probe))
        options.out = options.out or options.exp / options.rows
        self.rows = Rows(options.out)
        measured = {"deep": fingerprint_model(options.exp / "deep"), "metric": options.metric, "normaliser": options.normaliser}
        if self.rows.of("measured", lambda: measured) != {"key": "measured", **measured}:
            raise SystemExit(f"{options.out} holds rows of another deep model, metric or normaliser; take another --out")
        self._calibrations = {}

    def score(self, model, data=None):
        """Errors and reference length of every utterance, of the test set where nothing else is said."""
        found = evaluate(model, [model.nothing], data or self.test, self.options.metric, self.options.normaliser,
                         hypotheses=None if data else self._hypotheses)
        counts = found.counts[model.nothing]
        return {"errors": counts[:, :3].sum(axis=1).tolist(), "lengths": (counts[:, 0] + counts[:, 1] + counts[:, 3]).tolist()}

    @cached_property
    def _hypotheses(self):
        """The deep model's own on the test set, soon after which the searches of others end; None for models that do not write token by token."""
        return own_hypotheses(Speech(self.deep, self.test)) if self.deep.teacher_forced else None

    def calibration(self, utterances, seed=0):
        key = utterances, seed
        if key not in self._calibrations:
            self._calibrations = {key: Calibration(Speech(self.deep, self.probe).drawn(utterances, seed), seed)}
        return self._calibrations[key]

    def deep_row(self):
        return self.rows.of(f"deep {self.options.test}", lambda: self.score(self.deep))

    def pruned_row(self, proposal):
        return self.rows.of(pruned_key(proposal, self.options.test), lambda: self.score(self.deep.prune(proposal)))

    def repaired_row(self, proposal, utterances, seed=0):
        def measure():
            model = self.calibration(utterances, seed).repair(self.deep.prune(proposal))
            done = model.origin["pruning"][-1]["repair"]
            return {**self.score(model), "kept": len(done["kept"]), "maps": len(done["kept"]) + len(done["refitted"])}

        return self.rows.of(repaired_key(proposal, utterances, self.options.probe, self.options.test, seed), measure)

    def half(self):
        """What the first of the choices removes for half of the layers."""
        return self.chosen(self.deep.num_layers // 2, self.options.choices[0])

    def chosen(self, num_prune, name):
        """The proposal of a name: a written one, or as ``first_of`` has it."""
        if is_written(name):
            return PruningProposal.parse(name, depths_of(self.deep.stacks))
        return first_of(self.options.exp, self.deep.num_layers, num_prune, name)


def first_of(exp, num_layers, num_prune, name):
    """What a rule removes, a drawn proposal (``random0``, ``random1``...), or the first of a search of the experiment ``exp``."""
    if name in FIXED:
        return FIXED[name](num_layers, num_prune, {})[0]
    if name.startswith("random"):
        generator = np.random.default_rng([num_prune, int(name.removeprefix("random"))])
        removed = 1 + generator.choice(num_layers, num_prune, replace=False)
        return PruningProposal.from_layers(removed.tolist(), num_layers)
    found = read_json(Layout(exp).list(LayerCounts({ENCODER: num_prune}), ListName.parse(name)).candidates)
    return PruningProposal.parse(found["candidates"][0]["proposal"], num_layers)


def pruned_key(proposal, test="test"):
    """The key of a pruned model's row on a data set."""
    return f"{proposal} pruned {test}"


def repaired_key(proposal, utterances, probe="probe", test="test", seed=0):
    """The key of a row of a model that was repaired with so many utterances of a data set."""
    return f"{proposal} repaired {utterances} {seed} {probe} {test}"


def trained_key(proposal, epoch, start):
    """The key of a row after so many epochs of training from a start: pruned, repaired, scratch, scratch_distilled..."""
    return f"{proposal} after {epoch} epochs from {start}"


def made_up(deep, pruned, repaired):
    """The share of the distance between the pruned and the deep model's error rates that a repair makes up; not a number where there is none."""
    return (pruned - repaired) / (pruned - deep) if pruned != deep else float("nan")


def is_written(name):
    """Whether the name of a choice is a proposal, such as ``4,7-8`` or ``encoder=6+decoder=4``."""
    return name[0].isdigit() or "=" in name


def rate(row):
    """Error rate in percent."""
    return 100 * sum(row["errors"]) / sum(row["lengths"])


def interval(row):
    """The 95% interval of an error rate in percent, over utterances (bootstrap)."""
    errors, lengths = np.array(row["errors"]), np.array(row["lengths"])
    weights = np.random.default_rng(0).multinomial(len(errors), np.full(len(errors), 1 / len(errors)), size=2000)
    return np.quantile(100 * (weights @ errors) / (weights @ lengths), [0.025, 0.975])


def percent(row):
    """Error rate in percent with its 95% interval."""
    low, high = interval(row)
    return f"{rate(row):.2f} [{low:.2f}, {high:.2f}]"


def options_of(tables, description):
    """The command line of a benchmark that has several tables."""
    arguments = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("table", choices=tables)
    bench_options(arguments, "repair.jsonl")
    arguments.add_argument("--num-prune", type=int, nargs="+", default=[4, 6, 8], help="N, layers to remove")
    arguments.add_argument("--choices", nargs="+", default=["skip_kl", "dc", "top", "uniform"],
                           help="searches of the experiment (dc, skip_kl, ...), top, bottom, middle, uniform, random0, random1..., "
                           "or proposals (4,7-8, encoder=6+decoder=4), which stand for themselves at every N")
    arguments.add_argument("--sizes", type=int, nargs="+", default=[64, 256, 1024], help="utterances to repair with")
    return arguments


def bench_options(arguments, out):
    """The options that a Bench reads; out: the file of its rows in the experiment, where another is not given."""
    arguments.add_argument("--exp", type=Path, required=True, help="experiment directory, with the deep model and its searches")
    arguments.add_argument("--data", type=Path, default="data", help="folder of the data sets")
    arguments.add_argument("--test", default="test", help="data set that error rates are of")
    arguments.add_argument("--probe", default="probe", help="data set of unlabelled speech, to fit on")
    arguments.add_argument("--out", type=Path, help=f"file of the rows measured so far; EXP/{out} if left out")
    arguments.set_defaults(rows=out)
    arguments.add_argument("--metric", default="cer", choices=METRICS, help="error rate")
    arguments.add_argument("--normaliser", default="none", choices=NORMALISERS, help="what texts are put through before errors are counted")
