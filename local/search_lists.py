"""The lists of candidates that stage 4 ranks, where each comes from and what is written for it."""

from functools import cached_property
from pathlib import Path

import numpy as np
from cli import progress
from inference_options import read_data

from comflp.artifacts import fingerprint_file, fingerprint_value, require, write_json
from comflp.data.data_dir import subset
from comflp.errors import ComflpError
from comflp.experiment import NamedFiles
from comflp.search import BlockMatrix, baselines, coarse_search
from comflp.search.coarse.candidate import Candidate
from comflp.search.coarse.candidates_file import read_candidates
from comflp.search.baselines.linear_probe import linear_probe
from comflp.record import Stage

NAMES_OF_BASELINES = (*baselines.FIXED, "random", "reverse", "glp", "linear_probe")
_RANKED, _RECORD = "ranked.json", "stage4.record.json"


class SearchList:
    """One list of candidates of one N: ``prune<N>/<name>/ranked.json`` and the proposals chosen from it.

    find: gives the candidates in the order of their search, and more for ranked.json; called when they are needed.
    identity: what the candidates follow from (JSON-able), for the record.
    chosen: directory name -> "first" (what the list proposes without decoding) or "best" (after it).
    """

    def __init__(self, options, num_prune, name, inputs, find, identity, chosen, upstream=(), measure=None):
        self.num_prune, self.name, self.chosen = num_prune, name, chosen
        self.directory = _directory(options, num_prune, name)
        self.measure, self.metric = measure, options.metric
        self._find = find
        recorded = {
            "metric": options.metric,
            "seed": options.seed,
            "race": options.max_seconds if options.race else False,
            "candidates": fingerprint_value(identity),
        }
        self._stages = {
            directory: Stage(directory / _RECORD, "stage4_fine_search", recorded, inputs, upstream, options.force)
            for directory in {self.directory, *(self.directory.parent / directory for directory in chosen)}
        }

    @cached_property
    def found(self):
        """(candidates, more for ranked.json)."""
        return self._find()

    @property
    def candidates(self):
        """In the order of their search; none for glp, which finds its own."""
        return self.found[0]

    def up_to_date(self):
        """True when everything of this list is there and intact."""
        return all([stage.up_to_date() for stage in self._stages.values()])

    def write(self, result):
        """Write ranked.json and the proposals, then their records."""
        ranked = {"name": self.name, "measure": self.measure, **result.as_json(), **self.found[1]}
        outputs = {directory: [] for directory in self._stages}
        write_json(self.directory / _RANKED, ranked)
        outputs[self.directory].append(self.directory / _RANKED)
        if self.name == "random":
            drawn = [{"proposal": str(c.proposal), "quality": c.quality} for c in self.candidates]
            write_json(self.directory / "candidates.json", {
                "measure": None, "num_layers": ranked["num_layers"], "num_prune": self.num_prune, "method": "random",
                "candidates": drawn,
            })
            outputs[self.directory].append(self.directory / "candidates.json")
        for name, choice in self.chosen.items():
            named = NamedFiles(self.directory.parent / name)
            named.choose(self._proposal(name, self._choose(result, choice), ranked))
            outputs[named.directory].append(named.proposal)
        for directory, stage in self._stages.items():
            stage.finish(outputs[directory])

    def _choose(self, result, choice):
        return result.best if choice == "best" else result.of(self.candidates[0].proposal)

    def _proposal(self, name, chosen, ranked):
        search = name.rpartition("_")[2] if self.measure else "baseline"
        return {
            "name": name,
            "proposal": str(chosen.proposal),
            "num_layers": ranked["num_layers"],
            "num_prune": self.num_prune,
            "measure": self.measure,
            "search": search,
            "quality": chosen.quality,
            "metric": self.metric,
            "error_rate": chosen.errors.rate,
        }

    def summary(self, result):
        """One line for the user."""
        best, rates = result.best, [entry.errors.rate for entry in result.results]
        return (f"{self.name}, {self.num_prune} layers removed: best {best.proposal} with {self.metric.upper()} "
                f"{best.errors.rate:.2f}%, mean of {len(rates)} {np.mean(rates):.2f}%")


def measure_list(options, num_prune, measure, inputs):
    """The candidates that coarse search found by a measure."""
    chosen = {f"{measure}_coarse": "first", f"{measure}_fine": "best"}
    return _list_of_stage3(options, num_prune, measure, measure, inputs, chosen)


def reverse_list(options, num_prune, measure, inputs):
    """The worst candidates by a measure; nothing is proposed from them."""
    return _list_of_stage3(options, num_prune, f"{measure}_reverse", measure, inputs, {})


def _list_of_stage3(options, num_prune, name, measure, inputs, chosen):
    directory = _directory(options, num_prune, name)
    candidates, content = read_candidates(require(directory / "candidates.json", "stage 3 (coarse search)"))
    return SearchList(
        options, num_prune, name, inputs, lambda: (candidates, {}), content["candidates"], chosen,
        upstream=[directory / "stage3.record.json"], measure=measure,
    )


def baseline_list(options, num_prune, name, inputs, model, ranks):
    """The candidates of a baseline, by its name."""
    num_layers, identity, upstream, choice = model.num_layers, [name], [], "best"
    if name in baselines.FIXED:
        def propose():
            return baselines.FIXED[name](num_layers, num_prune), {}
    elif name == "random":
        choice = "first"
        def propose():
            return baselines.random(num_layers, num_prune, options.seed), {}
    elif name == "reverse":
        path = require(matrix_path(options), "stage 2 (correlation)")
        identity, upstream, choice = [name, fingerprint_file(path)], [path.with_suffix(".record.json")], "first"
        def propose():
            return [candidate.proposal for candidate in coarse_search(BlockMatrix.read(path), num_prune, reverse=True)], {}
    elif name == "linear_probe":
        identity = [name, read_data(options.train, options).fingerprint(), options.probe_utterances]
        def propose():
            probed = _probe(options, model, ranks)
            return [probed.proposal(num_prune)], {"probe_losses": list(probed.losses), "layer_gains": list(probed.gains)}
    elif name == "glp":
        def propose():
            return [], {}
    else:
        raise ComflpError(f"--baselines: {name} is not known; there are {', '.join(NAMES_OF_BASELINES)}")

    def find():
        proposals, more = propose()
        return [Candidate(proposal, quality_function(options)(proposal)) for proposal in proposals], more

    return SearchList(options, num_prune, name, inputs, find, identity, {name: choice}, upstream)


_probed = []


def _probe(options, model, ranks):
    """The probes do not depend on N: trained once a run, by one process, for all lists."""
    if not _probed:
        result = None
        if ranks.is_main:
            train = read_data(options.train, options)
            train = subset(train, min(options.probe_utterances, len(train)), options.seed)
            result = linear_probe(model, train, read_data(options.data, options), seed=options.seed,
                                  allow_pipes=options.allow_pipes, progress=progress)
        _probed.append(ranks.gather(result)[0])
    return _probed[0]


def _directory(options, num_prune, name):
    return Path(options.exp) / f"prune{num_prune}" / name


def matrix_path(options):
    measures = options.measures.split()
    if not measures:
        raise ComflpError("--measures is empty; the reverse baseline needs one")
    return Path(options.exp) / "correlation" / f"{measures[0]}.npy"


def quality_function(options):
    """The quality by the first measure's matrix (v(P), or minus the cost); None where stage 2 has not made it."""
    path = matrix_path(options) if options.measures.split() else None
    if path is None or not path.exists():
        return lambda proposal: None
    return BlockMatrix.read(path).quality
