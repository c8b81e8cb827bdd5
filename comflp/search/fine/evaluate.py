"""Decoding many pruned models of one deep model at once.

All proposals, of whatever search and whatever N, are walked in one
:class:`~comflp.inference.prefix_tree.PrefixTree`: the front end runs once a batch,
a layer once a distinct prefix. The texts equal those of decoding each pruned
model by itself.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Mapping, Sequence

import numpy as np

from comflp.data.batching import AudioBatch
from comflp.data.data_dir import DataDir, Utterance
from comflp.errors import ComflpError
from comflp.inference.loop import Pass
from comflp.inference.prefix_tree import PrefixTree, StateCache
from comflp.inference.speech import How, Speech
from comflp.models.layered import LayeredModel
from comflp.proposal import Proposal
from comflp.scoring import METRICS, ErrorRate, capped_counts, check_references, utterances_errors
from comflp.search.fine.bootstrap import difference_intervals

if TYPE_CHECKING:
    from typing_extensions import Unpack

RACE_SHARES = (0.25, 0.5, 0.75)
"""Shares of the batches after which a race drops those that are behind."""


@dataclass
class Evaluation:
    """What evaluating some proposals gave.

    utt_ids: (n,) sorted. speakers: (n,) who speaks each, for the intervals; none: every utterance is taken for itself.
    counts: proposal -> (n, 4) int64: substitutions, deletions, insertions, hits of each utterance;
        zeros for utterances on which a dropped proposal was not tried.
    texts: proposal -> utterance id -> decoded text.
    ran_into_limit: proposal -> on how many utterances its search was cut off before its end.
    dropped: proposal -> number of utterances after which a race dropped it.
    layer_runs, frontend_runs: modules executed, over all batches. num_batches: how many there are.
    capped: whether proposals are compared by the rate with no utterance above 100%.
    seconds: time for computing and decoding, without reading audio, added over processes.
    """

    metric: str
    normaliser: str
    utt_ids: list[str]
    counts: dict[Proposal, np.ndarray]
    texts: dict[Proposal, dict[str, str]]
    ran_into_limit: dict[Proposal, int]
    dropped: dict[Proposal, int] = field(default_factory=dict)
    num_batches: int = 0
    layer_runs: int = 0
    frontend_runs: int = 0
    capped: bool = False
    seconds: float = 0.0
    speakers: Sequence[str] = ()

    def error_rate(self, proposal: Proposal) -> ErrorRate:
        """Counts over all utterances that the proposal was tried on."""
        return ErrorRate(*self.counts[proposal].sum(axis=0).tolist())

    def capped_error_rate(self, proposal: Proposal) -> ErrorRate:
        """The same with no utterance above 100%: what a model that repeats itself for ever on one of them cannot decide."""
        return ErrorRate(*capped_counts(self.counts[proposal]).sum(axis=0).tolist())

    @property
    def ranked_by(self) -> str:
        """What proposals are compared by: ``error_rate`` or ``capped_error_rate``."""
        return "capped_error_rate" if self.capped else "error_rate"

    def ranking_rate(self, proposal: Proposal) -> float:
        """The rate, in percent, that proposals are compared by: capped for models that write token by token."""
        return ErrorRate(*self.ranking_counts(proposal).sum(axis=0).tolist()).rate

    def ranking_counts(self, proposal: Proposal) -> np.ndarray:
        """(n, 4) the counts of that rate."""
        return capped_counts(self.counts[proposal]) if self.capped else self.counts[proposal]

    def tried(self, proposal: Proposal) -> np.ndarray:
        """(n,) bool: the utterances that the proposal was tried on."""
        return np.array([utt_id in self.texts[proposal] for utt_id in self.utt_ids])

    def ranking_difference(self, proposal: Proposal, reference: Proposal) -> float:
        """That rate of a proposal less another's that was not dropped, on the utterances that the proposal was tried on."""
        tried = self.tried(proposal)
        rates = (ErrorRate(*self.ranking_counts(each)[tried].sum(axis=0).tolist()).rate for each in (proposal, reference))
        return next(rates) - next(rates)

    def intervals(
        self, proposals: Sequence[Proposal], reference: Proposal, seed: int
    ) -> list[tuple[float, float]]:
        """95% interval of each proposal's error rate less the reference's, in percentage points (paired bootstrap)."""
        counts = np.stack([self.ranking_counts(proposal) for proposal in proposals])
        tried = np.stack([self.tried(proposal) for proposal in proposals])
        return difference_intervals(counts, self.ranking_counts(reference), seed, self.speakers, tried)


def evaluate(
    model: LayeredModel,
    proposals: Sequence[Proposal],
    data: DataDir,
    metric: str = "cer",
    normaliser: str = "none",
    race: Sequence[Sequence[Proposal]] = (),
    seed: int = 0,
    caches: Mapping[int, StateCache] | None = None,
    **how: Unpack[How],
) -> Evaluation:
    """Decode ``data`` with every proposal and count the errors.

    metric, normaliser: as :func:`comflp.scoring.error_rate` takes them.
    race: groups of proposals that compete. After each of RACE_SHARES of the
        batches (drawn in an order given by ``seed``), a proposal is dropped that
        is behind the best of each of its groups with 95% confidence. The first of a group is never dropped: it is what
        the coarse search proposes, and needs a rate over all of the data. No groups: no race.
    caches: batch index -> StateCache, to reuse states between calls on the same data and ``max_seconds``.
    how: fields of :class:`comflp.inference.speech.Speech`.

    Raises ComflpError where a proposal is for another number of layers, where an output is not finite, and where the
    references are in the other letter case than the model's vocabulary.
    """
    proposals = sorted(set(proposals))
    _check(model, proposals, metric)
    check_references({utterance.utt_id: utterance.text for utterance in data}, model.tokenizer, normaliser)
    batches = Pass(
        Speech(model, data, **how),
        proposals=[str(proposal) for proposal in proposals],
        race=[[str(proposal) for proposal in group] for group in race],
        seed=seed if race else None,
        scored=[metric, normaliser, data.speakers(), "the first of a group stays"] if race else None,  # what is dropped depends on it
    )
    result = Evaluation(
        metric,
        normaliser,
        [utterance.utt_id for utterance in data.utterances],
        counts={proposal: np.zeros((len(data), 4), dtype=np.int64) for proposal in proposals},
        texts={proposal: {} for proposal in proposals},
        ran_into_limit=dict.fromkeys(proposals, 0),
        num_batches=len(batches.batches),
        capped=model.teacher_forced,
        speakers=[utterance.speaker for utterance in data.utterances],
    )
    active = list(proposals)
    for number, indices in enumerate(_rounds(len(batches.batches), race, seed)):
        if number:
            _drop(result, active, race, seed)
        for index, entry in zip(indices, _run_round(batches, indices, active, caches or {})):
            _add(result, batches.batches[index], entry)
    return result


def _check(model: LayeredModel, proposals: Sequence[Proposal], metric: str) -> None:
    if metric not in METRICS:
        raise ComflpError(f"metric {metric!r} is not known; give one of {', '.join(METRICS)}")
    if not proposals:
        raise ComflpError("there is no proposal to evaluate")


def _rounds(num_batches: int, race: Sequence, seed: int) -> list[list[int]]:
    """The batches between two decisions of a race; all of them where there is none."""
    if not race:
        return [list(range(num_batches))]
    order = np.random.default_rng(seed).permutation(num_batches)
    cuts = [round(share * num_batches) for share in RACE_SHARES]
    return [part.tolist() for part in np.split(order, cuts) if len(part)]


def _run_round(
    batches: Pass, indices: Sequence[int], active: Sequence[Proposal], caches: Mapping[int, StateCache]
) -> list[dict]:
    """Texts of the proposals in a race still, modules run and seconds, of each of the batches."""
    model = batches.speech.model
    tree = PrefixTree(active, model.recognition_path)
    kept = {index: state for index in indices if index in caches and (state := caches[index].start(tree)) is not None}

    def work(index: int, audio: AudioBatch | None) -> dict:
        start, cache, state, layer_runs = time.perf_counter(), caches.get(index), kept.pop(index, None), 0
        if audio is not None:
            state = model.begin(audio)
            if cache:
                cache.put_root(tree, state)
        spelled, unended = {}, {}
        for proposal, last, runs in tree.walk(model, state, cache):
            layer_runs, name = runs, str(proposal)
            spelled[name] = model.spell(last, proposal)
            unended[name] = sum(model.unended(spelled[name], last))
        if cache:
            cache.finish()
        texts = model.texts(spelled, batches.batches[index])
        seconds = time.perf_counter() - start
        return {"frontend_runs": int(audio is not None), "layer_runs": layer_runs, "texts": texts, "ran_into_limit": unended,
                "seconds": seconds}

    return batches.run(work, f"{len(active)} pruned models", only=indices, unread=set(kept))


def _add(result: Evaluation, batch: Sequence[Utterance], entry: dict) -> None:
    rows = np.searchsorted(result.utt_ids, [utterance.utt_id for utterance in batch])
    references = [utterance.text for utterance in batch]
    for proposal, counts in result.counts.items():
        texts = entry["texts"].get(str(proposal))
        if texts is None:
            continue
        result.ran_into_limit[proposal] += entry["ran_into_limit"][str(proposal)]
        result.texts[proposal].update((utterance.utt_id, text) for utterance, text in zip(batch, texts))
        errors = utterances_errors(references, texts, result.metric, result.normaliser)
        counts[rows] = [(e.substitutions, e.deletions, e.insertions, e.hits) for e in errors]
    result.layer_runs += entry["layer_runs"]
    result.frontend_runs += entry["frontend_runs"]
    result.seconds += entry["seconds"]


def _drop(result: Evaluation, active: list[Proposal], race: Sequence[Sequence[Proposal]], seed: int) -> None:
    """Take out of ``active`` what is behind the leader of every group that it runs in, but never the first of a group."""
    behind: dict[Proposal, bool] = {}
    for group in race:
        running = [proposal for proposal in group if proposal in active]
        leader = min(running, key=lambda proposal: (result.ranking_rate(proposal), proposal))
        for proposal, (low, _) in zip(running, result.intervals(running, leader, seed)):
            behind[proposal] = behind.get(proposal, True) and low > 0 and proposal != group[0]
    for proposal, is_behind in behind.items():
        if is_behind:
            active.remove(proposal)
            result.dropped[proposal] = len(result.texts[proposal])
