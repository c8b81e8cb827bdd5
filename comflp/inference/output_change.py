"""What removing layers does to a model's output, measured on speech without decoding it.

The paper's measures compare hidden states, and cannot see what the head makes of them. Here the pruned model runs, all
proposals in one prefix tree, and its posteriors and texts are held against the deep model's. The utterances' texts are read by one
kind of change alone.
"""

from __future__ import annotations

import math
from typing import Callable, Sequence

import numpy as np
import torch

from comflp.data.batching import AudioBatch
from comflp.data.training import required_frames
from comflp.errors import ComflpError
from comflp.inference.device import evaluation
from comflp.inference.journal import fingerprint_weights
from comflp.inference.loop import Pass
from comflp.inference.prefix_tree import PrefixTree
from comflp.inference.speech import Speech
from comflp.models.finite import finite_rows, not_finite
from comflp.models.greedy import best_paths, labels_of, texts_of
from comflp.models.layered import LayeredModel, Output
from comflp.proposal import Proposal
from comflp.scoring import utterances_errors


def output_changes(speech: Speech, proposals: Sequence[Proposal], kind: str) -> dict[Proposal, float]:
    """How far each proposal moves the output of ``speech.model``; 0 for one that changes nothing.

    kind: a name of ``CHANGES``, which says what is measured and in which unit, or several with ``+`` between them, such as
        ``near+text``: their geometric mean, in which all but the first are a thousandth more, since many have none of them.

    The front end runs once a batch, and a layer once a distinct prefix of kept layers, the deep model's among them.
    Raises ComflpError for a proposal for another number of layers, and where an output is not finite.
    """
    model, data = speech.model, speech.data
    kinds = [CHANGES[name] for name in kind.split("+")]
    if model.teacher_forced and kinds != [divergence]:
        raise ComflpError(f"what {kind} compares is of CTC's frames, which this model does not have; compare posteriors (kl, skip_kl, --refine-by kl)")
    nothing = model.nothing
    proposals = sorted(set(proposals) - {nothing})
    # The deep model's own path comes first, so that its output is there when the others' are compared with it.
    tree = PrefixTree([nothing, *proposals], model.path)
    names = [str(proposal) for proposal in proposals]
    results = Pass(speech, kind=kind, proposals=names).run(
        lambda _, audio: _changes_of_batch(model, audio, tree, kinds), f"{len(proposals)} pruned models"
    )
    sums = {name: np.zeros((len(kinds), 2)) for name in names}
    for result in results:
        for name, pairs in result.items():
            sums[name] += pairs
    if not all(pairs[:, 1].all() for pairs in sums.values()):
        raise ComflpError(f"none of the {len(data)} utterances of {data.path} can be used to measure {kind}")
    return {proposal: joined((sums[name][:, 0] / sums[name][:, 1]).tolist()) for proposal, name in zip(proposals, names)}


def joined(means: Sequence[float]) -> float:
    """The geometric mean of one kind of change, or of several."""
    first, *others = means
    return math.prod([first, *(mean + _LEAST for mean in others)]) ** (1 / len(means)) if others else first


def model_divergence(speech: Speech, other: LayeredModel) -> float:
    """KL(deep || other) of the posteriors of ``speech.model`` and of another model with the same output, in nats a row.

    Raises ComflpError, which names the utterance, where the other model's output is not finite.
    """

    def work(_: int, audio: AudioBatch) -> list[float]:
        compare, output = divergence(speech.model, audio, speech.model(audio)), other(audio)
        change = _with_finite_rows([compare(output)], output).tolist()
        _refuse_not_finite("the model's output", change[2:], audio)
        return change[:2]

    with evaluation(other):
        results = Pass(speech, other=fingerprint_weights(other)).run(work, "divergence")
    return sum(total for total, _ in results) / sum(rows for _, rows in results)


def _changes_of_batch(model: LayeredModel, batch: AudioBatch, tree: PrefixTree, kinds: Sequence[Callable]) -> dict[str, list[list[float]]]:
    """Proposal -> of each kind (sum of the change over what it is a mean of, how many that were). One copy from a GPU brings all of them."""
    found, waiting, compare = {}, [], []
    for proposal, state, _ in tree.walk(model, model.begin(batch)):
        waiting.append((proposal, model.finish(state)))
        if not proposal.num_removed:
            deep = waiting.pop()[1]
            found[proposal] = _with_finite_rows([torch.zeros(2)] * len(kinds), deep)
            compare = [kind(model, batch, deep) for kind in kinds]
        while compare and waiting:
            changed, output = waiting.pop()
            found[changed] = _with_finite_rows([kind(output) for kind in compare], output)
    values = dict(zip(found, torch.stack(list(found.values())).tolist()))
    for proposal, row_values in values.items():
        what = f"without the layers {proposal} the model's output" if proposal.num_removed else "the model's output"
        _refuse_not_finite(what, row_values[2 * len(kinds) :], batch)
    return {
        str(proposal): [row[2 * number : 2 * number + 2] for number in range(len(kinds))]
        for proposal, row in values.items() if proposal.num_removed
    }


def _refuse_not_finite(what: str, fine: list[float], batch: AudioBatch) -> None:
    """fine: of each utterance whether the output was finite."""
    if not all(fine):
        row = fine.index(False)
        raise not_finite(what, batch.utterances[row] if batch.utterances else None, batch.waveforms[row])


def _with_finite_rows(changes: Sequence[torch.Tensor], output: Output) -> torch.Tensor:
    """(2 * kinds + B,) float64: each change and its weight, and of each utterance whether the output was finite."""
    fine = finite_rows(output.logits, output.num_frames)
    return torch.cat([*(change.to(fine.device).double() for change in changes), fine.double()])


def divergence(model: LayeredModel, batch: AudioBatch, deep: Output) -> Callable[[Output], torch.Tensor]:
    """KL(deep || pruned) of the posteriors, in nats a row of the output. What is returned gives (2,): sum and number of rows."""
    own, target = deep.own(), deep.log_probs()

    def compare(output: Output) -> torch.Tensor:
        differences = torch.nn.functional.kl_div(output.log_probs(), target, log_target=True, reduction="none").sum(dim=-1)
        return torch.stack([torch.where(own, differences.double(), 0.0).sum().clamp_min(0.0), own.sum()])

    return compare


def nearest(model: LayeredModel, batch: AudioBatch, deep: Output) -> Callable[[Output], torch.Tensor]:
    """:func:`divergence` from the nearest of three frames: what comes one frame early or late is no change."""
    own, target = deep.own(), deep.log_probs()
    frames = torch.arange(target.shape[1], device=target.device)[None]
    neighbours = [(frames + shift).clamp_min(0).minimum((deep.num_frames - 1)[:, None])[..., None] for shift in (-1, 0, 1)]

    def compare(output: Output) -> torch.Tensor:
        found = output.log_probs()
        of_each = [torch.nn.functional.kl_div(found.take_along_dim(frame, dim=1), target, log_target=True, reduction="none").sum(dim=-1)
                   for frame in neighbours]
        differences = torch.stack(of_each).amin(dim=0).double()
        return torch.stack([torch.where(own, differences, 0.0).sum().clamp_min(0.0), own.sum()])

    return compare


def distance(model: LayeredModel, batch: AudioBatch, deep: Output) -> Callable[[Output], torch.Tensor]:
    """Errors of the text by the best path against the deep model's, a character of that one; an empty one counts as one character."""

    def spelled(output: Output) -> list[str]:
        paths = best_paths(output.logits, output.num_frames).cpu()
        return texts_of(torch.cat([paths[:, :1].clamp_min(0), paths[:, 1:]], dim=1), model.tokenizer)  # not finite: refused by the caller

    references = spelled(deep)

    def compare(output: Output) -> torch.Tensor:
        errors = utterances_errors(references, spelled(output))
        return torch.tensor([[one.substitutions + one.deletions + one.insertions, max(one.substitutions + one.deletions + one.hits, 1)]
                             for one in errors]).sum(dim=0)

    return compare


def own_path(model: LayeredModel, batch: AudioBatch, deep: Output) -> Callable[[Output], torch.Tensor]:
    """Rise of the CTC loss of what the deep model's best path spells, in nats a label."""
    blank = model.tokenizer.blank_id
    return _rise_of_loss(deep, labels_of(best_paths(deep.logits, deep.num_frames).cpu(), blank), blank)


def own_text(model: LayeredModel, batch: AudioBatch, deep: Output) -> Callable[[Output], torch.Tensor]:
    """Rise of the CTC loss of the utterances' texts, in nats a label; an utterance too short for its text is left out."""
    labels = [torch.tensor(model.tokenizer.encode(utterance.text), dtype=torch.int64) for utterance in batch.utterances]
    return _rise_of_loss(deep, labels, model.tokenizer.blank_id)


def _rise_of_loss(deep: Output, labels: Sequence[torch.Tensor], blank: int) -> Callable[[Output], torch.Tensor]:
    device = deep.logits.device
    lengths = torch.tensor([len(row) for row in labels])
    # A model that has learned nothing spells nothing; that has a loss too, of blanks alone, and counts as one label.
    targets = torch.nn.utils.rnn.pad_sequence([*labels, torch.zeros(1, dtype=torch.int64)], batch_first=True)[:-1]
    usable = required_frames(targets, lengths).to(device) <= deep.num_frames
    targets, lengths = targets.to(device), lengths.to(device)

    def loss(output: Output) -> torch.Tensor:
        losses = torch.nn.functional.ctc_loss(
            output.log_probs().transpose(0, 1), targets, output.num_frames, lengths, blank=blank, reduction="none"
        )
        return torch.where(usable, losses.double(), 0.0).sum()

    before, weight = loss(deep), torch.where(usable, lengths.clamp_min(1), 0).sum()
    return lambda output: torch.stack([loss(output) - before, weight])


_LEAST = 0.001
"""What is added to a kind of change that most good proposals have none of, so that the other kind still orders them."""
CHANGES = {"kl": divergence, "near": nearest, "text": distance, "ctc": own_path, "ctc_labelled": own_text}
"""Kinds of change by name: function(model, batch, deep output) -> function(pruned output) -> (sum, number summed over)."""
