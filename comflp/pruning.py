"""From a model and some speech to a smaller model, in one call: ``comflp.prune``, and what the command ``comflp prune`` runs.

The steps are those of the recipes, with settings that need no thought: the cost of skipping blocks (``skip_kl``), the exact
search, the best proposals run whole, fine search where there are texts, or a quick repair of each candidate where models write
token by token, repair, and a look at utterances that no step has seen.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
import time
from dataclasses import replace
from functools import cached_property
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence

import numpy as np

from comflp.artifacts import read_json, write_json
from comflp.budget import parse_target, resolve, timed_batch_size
from comflp.costs import ModelCosts
from comflp.data.data_dir import DataDir, subset
from comflp.data.sources import read_speech
from comflp.errors import ComflpError, shown
from comflp.inference.decode import decode
from comflp.inference.journal import work_key
from comflp.inference.measure_costs import costs_of
from comflp.inference.hypotheses import on_own_hypotheses
from comflp.inference.output_change import model_divergence, output_changes
from comflp.inference.speech import Progress, Speech
from comflp.measures import skip_matrix
from comflp.measures.skip import skip_costs
from comflp.models import LayeredModel, load
from comflp.proposal import NOTHING, Proposal, PruningProposal
from comflp.pruned import Pruned, Standing
from comflp.repair import Calibration
from comflp.repair import repair as repaired_copy
from comflp.repair.candidates import evaluate_repaired
from comflp.repair.quick import RepairedCosts, ordered_by_repair
from comflp.scoring import METRICS, check_references, error_rate, usual_normaliser
from comflp.search import BlockMatrix, Candidate, coarse_searches
from comflp.search.coarse.joint import MOST_SETS, joint_searches
from comflp.search.coarse.free_runs import ordered_by_free_runs
from comflp.search.coarse.refine import FORCED_KINDS, KINDS, NUM_UTTERANCES, REPAIR, Refinement
from comflp.search.depth import most_within
from comflp.search.fine.bootstrap import Difference, difference
from comflp.search.fine.evaluate import evaluate
from comflp.search.fine.ranking import fine_search
from comflp.stacks import depths_of
from comflp.target import LayerCounts

FEWEST = 10
"""Utterances that are needed at least."""
_HELD_OUT, _MOST_HELD_OUT = 0.2, 500
_MOST_SEARCHED = 200
_REFINED = 100
_CANDIDATES = 10
_MOST_JOINT = 16
_REPAIRED_ON = 8
"""Utterances that hold quickly repaired candidates of a model that writes token by token to the deep model."""


def prune(
    model: Any,
    speech: Any,
    target: str | None = None,
    repair: int = 256,
    *,
    processor: Any = None,
    sample_rate: int | None = None,
    max_increase: float | None = None,
    metric: str = "cer",
    normaliser: str | None = None,
    seed: int = 0,
    work: str | Path | None = None,
    progress: Progress | None = None,
    allow_pipes: bool = False,
) -> Pruned:
    """A smaller model that does what ``model`` does, as far as its target lets it.

    model: a LayeredModel, a model directory, a name on the Hugging Face hub, or a model of transformers with its
        ``processor``; one in memory is used itself, in evaluation mode and with layerdrop off (give ``copy.deepcopy(model)`` to keep it as it was).
    speech: what :func:`comflp.data.sources.read_speech` reads, at least ten utterances: a data
        directory, a table, a folder of audio files, file names, or arrays with their ``sample_rate``. Texts are not needed;
        where there are some, candidates of CTC models are ranked by error rate (``metric``: ``cer`` or ``wer``; ``normaliser``: of
        :mod:`comflp.scoring`, by the model where it is left out).
    target: docs/targets.md; ``params=50%`` where neither it nor ``max_increase`` is given. max_increase: instead of a target, by how
        many percentage points the error rate may rise: the smallest model within it is searched, which takes texts.
    repair: utterances to refit the pruned model's maps on; 0 leaves them as they are. With more, candidates of a model that writes token
        by token are compared after a quick repair each, by how close to the deep model they end, with texts or without.
    seed: seed for the random draws of utterances. A fifth of them, 500 at most, is held out of all steps but the last.
    work: a directory for what the steps leave, so that a killed call goes on; a temporary one without it.

    >>> result = comflp.prune("facebook/wav2vec2-base-960h", "recordings", target="params=60%")     # doctest: +SKIP
    >>> result.save("smaller")                                                                      # doctest: +SKIP

    Raises ComflpError for a target that cannot be reached, and for options, speech or a model that cannot be used.
    """
    if target is not None and max_increase is not None:
        raise ComflpError(f"a target ({target}) and max_increase ({max_increase:g}) both say how small the model is to be; give one")
    whole = isinstance(repair, Integral) and repair >= 0 and repair != 1 and isinstance(seed, Integral) and seed >= 0
    rise = max_increase is None or (isinstance(max_increase, Real) and 0 <= max_increase < float("inf"))
    if not (whole and rise and metric in METRICS and isinstance(target, (str, type(None)))):
        raise ComflpError(f"repair ({shown(repair)}) is 0 or a whole number from 2, seed ({shown(seed)}) one from 0, max_increase ({shown(max_increase)}) "
                          f"a number from 0, metric ({shown(metric)}) one of {', '.join(METRICS)}, and target ({shown(target)}) a text such as 'params=50%'")
    with _work_directory(work) as directory:
        deep = model if isinstance(model, LayeredModel) else load(model, processor)
        deep.eval()
        data = read_speech(speech, directory / "speech", sample_rate, allow_pipes, progress)
        if isinstance(speech, (str, Path)):
            data = DataDir(speech, data.utterances)  # as the caller names it, whatever it was made into
        run = _Run(Speech(deep, data, work=directory / "partial", allow_pipes=allow_pipes, progress=progress), metric, normaliser, seed, directory)
        return run.prune(target, max_increase, repair)


class _Run:
    """One call of :func:`prune`. rest: what the steps see. held_out: what only the last one does."""

    def __init__(self, speech: Speech, metric: str, normaliser: str | None, seed: int, directory: Path):
        data = speech.data
        if len(data) < FEWEST:
            raise ComflpError(f"at least {FEWEST} utterances are needed, and there are {len(data)}; a few hundred are better")
        self.deep, self.metric, self.seed, self.directory = speech.model, metric, seed, directory
        self.normaliser = normaliser or usual_normaliser(speech.model.teacher_forced)
        self.has_texts = any(utterance.text for utterance in data)
        if self.has_texts:
            check_references({utterance.utt_id: utterance.text for utterance in data}, self.deep.tokenizer, self.normaliser)
        held_out = subset(data, min(max(round(_HELD_OUT * len(data)), 2), _MOST_HELD_OUT), seed)
        rest = DataDir(data.path, [utterance for utterance in data if utterance.utt_id not in held_out])
        self.held_out = on_own_hypotheses(replace(speech, data=held_out))
        self.rest = on_own_hypotheses(replace(speech, data=rest))
        self.history: list[dict[str, Any]] = []

    def prune(self, target: str | None, max_increase: float | None, num_repair: int) -> Pruned:
        if max_increase is None:
            costs, counts = self._target("params=50%" if target is None else target)
            proposal = self._best(counts, num_repair)
        else:
            costs = costs_of(self.deep, None, self.directory / "costs.json")
            proposal = self._smallest(costs, max_increase, num_repair)
        states = {"deep": self.deep, "pruned": self.deep.prune(proposal)}
        if num_repair:
            states["repaired"] = self._repair(states["pruned"], proposal, num_repair)
        standings = self._look(states)
        best = list(states.values())[-1].eval()
        return Pruned(best, proposal, costs, standings, self.metric, len(self.held_out.data), self.history)

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[dict[str, Any]]:
        start, facts = time.monotonic(), {"step": name}
        yield facts
        self.history.append({**facts, "seconds": round(time.monotonic() - start, 3)})

    def _target(self, text: str) -> tuple[ModelCosts, list[LayerCounts]]:
        """The costs of the deep model, and the numbers of layers whose removal just reaches the target."""
        with self._step("target") as facts:
            targets = parse_target(text, depths_of(self.deep.stacks))
            costs = costs_of(self.deep, timed_batch_size(targets), self.directory / "costs.json")
            found = resolve(targets, costs)
            facts |= {"target": text, "num_layers": costs.num_layers, "removed": [dict(counts) for counts in found],
                      "ceiling": costs.ceiling}
        return costs, found

    def _best(self, counts: Sequence[LayerCounts], num_repair: int) -> Proposal:
        """What is to go: of models that write token by token by what a repair leaves, if there is to be one; else by error rates where there are texts.

        What such a model writes before its repair says little about what it writes after it (:mod:`comflp.repair.quick`).
        """
        if num_repair and self.deep.teacher_forced:
            return self._coarse_search(counts, repaired=True)[0].proposal
        candidates = self._coarse_search(counts)
        return self._fine_search(candidates) if self.has_texts else self._free_runs(candidates)[0].proposal

    def _smallest(self, costs: ModelCosts, limit: float, num_repair: int) -> Proposal:
        """The layers whose removal makes the error rate rise by ``limit`` points at most, as many as can be."""
        if not self.has_texts:
            raise ComflpError(f"max_increase ({limit:g}) is in points of the error rate, which takes speech with texts")
        heard, fitted = self.rest.drawn(_MOST_SEARCHED, self.seed), self.rest.drawn(num_repair, self.seed) if num_repair else None
        num_fitted = sum(utterance.utt_id in fitted.data for utterance in heard.data) if fitted else 0
        how: dict[str, Any] = {"metric": self.metric, "normaliser": self.normaliser, "seed": self.seed, **heard.how}
        nothing = PruningProposal.parse(NOTHING, costs.num_layers)
        whole = evaluate(self.deep, [nothing], heard.data, **how)
        found: dict[int, tuple[Proposal, Difference]] = {}

        def increase_of(number: int) -> float:
            proposal = self._best(resolve(parse_target(f"layers={number}", costs.num_layers), costs), num_repair)
            with self._step("increase") as facts:
                if fitted:
                    calibration = Calibration(fitted, self.seed, keep_states=False)
                    evaluation = evaluate_repaired(calibration, [proposal], heard.data, **how)
                else:
                    evaluation = evaluate(self.deep, [proposal], heard.data, **how)
                change = difference(evaluation.ranking_counts(proposal), whole.ranking_counts(nothing), self.seed, evaluation.speakers)
                facts |= {"removed": number, "proposal": str(proposal), "metric": self.metric, "limit": limit, "increase": change.value,
                          "interval": [change.low, change.high], "num_utterances": change.num_utterances, "num_fitted": num_fitted}
            found[number] = proposal, change
            return change.value

        number = most_within(limit, sum(costs.removable.values()), increase_of, self._predicted)
        if not number:
            least, (_, change) = min(found.items())
            raise ComflpError(f"no layer can go within {limit:g} points of {self.metric.upper()}: without {least} it rises by {change.value:.2f}")
        return found[number][0]

    @property
    def _predicted(self) -> list[float]:
        """What removing 1, 2, ... layers costs by the matrix of a model of one stack; nothing of several."""
        if len(self.deep.stacks) > 1:
            return []
        numbers = range(1, min(self._matrix.num_layers - len(self._matrix.must_stay), self._matrix.num_layers - 1) + 1)
        return [-found[0].quality for found in coarse_searches(self._matrix, list(numbers), beam_size=1).values()]

    @cached_property
    def _matrix(self) -> BlockMatrix:
        """The costs of blocks of a model of one stack."""
        (stack,) = self.deep.stacks.values()
        return BlockMatrix(skip_matrix(self.rest, "skip_kl", seed=self.seed), is_cost=True, must_stay=stack.must_stay)

    def _coarse_search(self, counts: Sequence[LayerCounts], repaired: bool = False) -> Sequence[Candidate]:
        """The best candidates among all numbers of layers that reach the target; repaired: by what a quick repair leaves."""
        with self._step("coarse search") as facts:
            heard = self.rest.drawn(_MOST_JOINT, self.seed)

            def divergences(proposals: Sequence[Proposal]) -> Mapping[Proposal, float]:
                return output_changes(heard, proposals, "kl")

            if len(self.deep.stacks) > 1:
                results = joint_searches(divergences, self._matrices(heard), counts)
                found = sorted((c for result in results.values() for c in result.candidates), key=lambda c: -c.quality)[:_CANDIDATES]
                facts |= {"measure": "kl"}
            else:
                num_prune = counts[0].total
                refinement = Refinement(_REFINED, NUM_UTTERANCES, self.seed, "kl" if self.deep.teacher_forced else KINDS[0])
                found = refinement.search(self.rest, self._matrix, [num_prune])[num_prune].candidates
                facts |= {"measure": "skip_kl"}
            if repaired:
                quick = RepairedCosts(self.rest, _REPAIRED_ON, self.seed, divergences, len(found))
                found = ordered_by_repair(quick, {"": found}, len(found))[""]
                facts |= {"measure": REPAIR}
            facts |= {"candidates": [candidate.as_dict() for candidate in found]}
        return found

    def _free_runs(self, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        """The candidates in the order of what they write, for models that write token by token: the fine search of speech without texts."""
        if not self.deep.teacher_forced:
            return candidates
        with self._step("free runs") as facts:
            heard = self.rest.drawn(_MOST_JOINT, self.seed)
            found = ordered_by_free_runs(heard, {"": candidates}, len(candidates))[""]
            facts |= {"measure": FORCED_KINDS[0], "num_utterances": len(heard.data), "candidates": [candidate.as_dict() for candidate in found]}
        return found

    def _matrices(self, speech: Speech) -> dict[str, BlockMatrix]:
        """Block costs of each stack; they are only measured of stacks whose sets of layers are too many to run them all."""
        matrices = {}
        for name, stack in self.deep.stacks.items():
            many = math.comb(stack.num_layers, stack.num_layers // 2) > MOST_SETS
            values = skip_costs(speech, "kl", self.seed, _MOST_JOINT, None, name) if many else np.zeros((stack.num_layers + 1,) * 2)
            matrices[name] = BlockMatrix(values, is_cost=True, must_stay=stack.must_stay)
        return matrices

    def _fine_search(self, candidates: Sequence[Candidate]) -> Proposal:
        with self._step("fine search") as facts:
            heard = self.rest.drawn(_MOST_SEARCHED, self.seed)
            found = fine_search(self.deep, candidates, heard.data, self.metric, seed=self.seed, normaliser=self.normaliser, **heard.how)
            facts |= {"metric": self.metric, "num_utterances": len(heard.data),
                      "results": [{"proposal": str(r.proposal), "error_rate": r.errors.rate} for r in found.results]}
        return found.best.proposal

    def _repair(self, pruned: LayeredModel, proposal: Proposal, number: int) -> LayeredModel:
        """The repaired model; the one that a call before this one left, where it was made of the same things."""
        with self._step("repair") as facts:
            heard = self.rest.drawn(number, self.seed)
            kept, key_file = self.directory / "repaired", self.directory / "repaired.json"
            key = work_key(self.deep, heard.data, [], repair=str(proposal), seed=self.seed)
            if key_file.exists() and read_json(key_file)["key"] == key:
                repaired = load(kept, trust_hyperparams=True).to(pruned.device)
            else:
                repaired = repaired_copy(heard, pruned, self.seed, self.rest.progress)
                key_file.unlink(missing_ok=True)  # or a kill here would leave it beside another model
                repaired.save(kept)
                write_json(key_file, {"key": key})
            facts |= {"proposal": str(proposal), **repaired.origin["pruning"][-1]["repair"]}
        return repaired

    def _look(self, states: dict[str, LayeredModel]) -> dict[str, Standing]:
        """How each model does on what was held out."""
        standings, speech = {}, self.held_out
        references = {utterance.utt_id: utterance.text for utterance in speech.data}
        with self._step("held-out utterances") as facts:
            for name, model in states.items():
                rate = None
                if self.has_texts:
                    texts = decode(model, speech.data, **speech.how)
                    rate = error_rate(references, texts, self.metric, self.normaliser).rate
                standings[name] = Standing(rate, 0.0 if model is self.deep else model_divergence(speech, model))
            facts |= {"metric": self.metric, "num_utterances": len(speech.data), **{k: vars(v) for k, v in standings.items()}}
        return standings


@contextlib.contextmanager
def _work_directory(given: str | Path | None) -> Iterator[Path]:
    if given is not None:
        yield Path(given)
        return
    with tempfile.TemporaryDirectory(prefix="comflp-") as made:
        yield Path(made)
