"""What removing layers does to a model's output, measured on speech without decoding it.

The paper's measures compare hidden states, and cannot see what the head makes of them. Here the pruned model runs, all
proposals in one prefix tree, and its posteriors are held against the deep model's. Text is not needed for two of the
three kinds of change.
"""

from __future__ import annotations

from typing import Callable, Sequence

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
from comflp.models.greedy import best_paths, labels_of
from comflp.models.layered import LayeredModel, Output
from comflp.proposal import Proposal


def output_changes(speech: Speech, proposals: Sequence[Proposal], kind: str) -> dict[Proposal, float]:
    """How far each proposal moves the output of ``speech.model``; 0 for one that changes nothing.

    kind: a name of ``CHANGES``, which says what is measured and in which unit.

    The front end runs once a batch, and a layer once a distinct prefix of kept layers, the deep model's among them.
    Raises ComflpError for a proposal for another number of layers, and where an output is not finite.
    """
    model, data = speech.model, speech.data
    if len(model.stacks) > 1 and CHANGES[kind] is not divergence:
        raise ComflpError(f"the loss of CTC ({kind}) is of frames, and this model writes tokens; compare posteriors (kl, skip_kl)")
    nothing = model.nothing
    proposals = sorted(set(proposals) - {nothing})
    # The deep model's own path comes first, so that its output is there when the others' are compared with it.
    tree = PrefixTree([nothing, *proposals], model.path)
    names = [str(proposal) for proposal in proposals]
    results = Pass(speech, kind=kind, proposals=names).run(
        lambda _, audio: _changes_of_batch(model, audio, tree, CHANGES[kind]), f"{len(proposals)} pruned models"
    )
    totals, weights = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    for result in results:
        for name, (total, weight) in result.items():
            totals[name] += total
            weights[name] += weight
    if proposals and not all(weights.values()):
        raise ComflpError(f"none of the {len(data)} utterances of {data.path} can be used to measure {kind}")
    return {proposal: totals[name] / weights[name] for proposal, name in zip(proposals, names)}


def model_divergence(speech: Speech, other: LayeredModel) -> float:
    """KL(deep || other) of the posteriors of ``speech.model`` and of another model with the same output, in nats a row."""

    def work(_: int, audio: AudioBatch) -> list[float]:
        return divergence(speech.model, audio, speech.model(audio))(other(audio)).tolist()

    with evaluation(other):
        results = Pass(speech, other=fingerprint_weights(other)).run(work, "divergence")
    return sum(total for total, _ in results) / sum(rows for _, rows in results)


def _changes_of_batch(model: LayeredModel, batch: AudioBatch, tree: PrefixTree, change: Callable) -> dict[str, tuple[float, float]]:
    """Proposal -> (sum of the change over what it is a mean of, how many that were). One copy from a GPU brings all of them."""
    found, waiting, compare = {}, [], None
    for proposal, state, _ in tree.walk(model, model.begin(batch)):
        waiting.append((proposal, model.finish(state)))
        if not proposal.num_removed:
            deep = waiting.pop()[1]
            found[proposal] = _with_finite_rows(torch.zeros(2), deep)
            compare = change(model, batch, deep)
        if compare is not None:
            while waiting:
                changed, output = waiting.pop()
                found[changed] = _with_finite_rows(compare(output), output)
    values = dict(zip(found, torch.stack(list(found.values())).tolist()))
    for proposal, (_, _, *fine) in values.items():
        if not all(fine):
            row = fine.index(False)
            what = f"without the layers {proposal} the model's output" if proposal.num_removed else "the model's output"
            raise not_finite(what, batch.utterances[row] if batch.utterances else None, batch.waveforms[row])
    return {str(proposal): (total, weight) for proposal, (total, weight, *_) in values.items() if proposal.num_removed}


def _with_finite_rows(change: torch.Tensor, output: Output) -> torch.Tensor:
    """(2 + B,) float64: a change and its weight, and of each utterance whether the output was finite."""
    fine = finite_rows(output.logits, output.num_frames)
    return torch.cat([change.to(fine.device).double(), fine.double()])


def divergence(model: LayeredModel, batch: AudioBatch, deep: Output) -> Callable[[Output], torch.Tensor]:
    """KL(deep || pruned) of the posteriors, in nats a frame. What is returned gives (2,): sum and number of frames."""
    own, target = deep.own(), deep.log_probs()

    def compare(output: Output) -> torch.Tensor:
        differences = torch.nn.functional.kl_div(output.log_probs(), target, log_target=True, reduction="none").sum(dim=-1)
        return torch.stack([torch.where(own, differences.double(), 0.0).sum().clamp_min(0.0), own.sum()])

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


CHANGES = {"kl": divergence, "ctc": own_path, "ctc_labelled": own_text}
"""Kinds of change by name: function(model, batch, deep output) -> function(pruned output) -> (sum, number summed over)."""
