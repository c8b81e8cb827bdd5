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
from comflp.models.finite import check_finite
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

    def work(_: int, audio: AudioBatch) -> tuple[float, int]:
        return divergence(speech.model, audio, speech.model(audio))(other(audio))

    with evaluation(other):
        results = Pass(speech, other=fingerprint_weights(other)).run(work, "divergence")
    return sum(total for total, _ in results) / sum(rows for _, rows in results)


def _changes_of_batch(model: LayeredModel, batch: AudioBatch, tree: PrefixTree, change: Callable) -> dict[str, tuple[float, float]]:
    """Proposal -> (sum of the change over what it is a mean of, how many that were)."""
    found, waiting, compare = {}, [], None
    for proposal, state, _ in tree.walk(model, model.begin(batch)):
        waiting.append((proposal, model.finish(state)))
        if not proposal.num_removed:
            deep = waiting.pop()[1]
            check_finite(deep.logits, deep.num_frames, batch)
            compare = change(model, batch, deep)
        if compare is not None:
            while waiting:
                changed, output = waiting.pop()
                check_finite(output.logits, output.num_frames, batch, f"without the layers {changed} the model's output")
                found[str(changed)] = compare(output)
    return found


def divergence(model: LayeredModel, batch: AudioBatch, deep: Output) -> Callable[[Output], tuple[float, int]]:
    """KL(deep || pruned) of the posteriors, in nats a frame."""
    own = deep.own()
    target = deep.log_probs()[own]

    def compare(output: Output) -> tuple[float, int]:
        differences = torch.nn.functional.kl_div(output.log_probs()[own], target, log_target=True, reduction="none")
        return max(float(differences.sum(dim=-1).double().sum()), 0.0), len(target)

    return compare


def own_path(model: LayeredModel, batch: AudioBatch, deep: Output) -> Callable[[Output], tuple[float, int]]:
    """Rise of the CTC loss of what the deep model's best path spells, in nats a label."""
    blank = model.tokenizer.blank_id
    return _rise_of_loss(deep, labels_of(best_paths(deep.logits, deep.num_frames).cpu(), blank), blank)


def own_text(model: LayeredModel, batch: AudioBatch, deep: Output) -> Callable[[Output], tuple[float, int]]:
    """Rise of the CTC loss of the utterances' texts, in nats a label; an utterance too short for its text is left out."""
    labels = [torch.tensor(model.tokenizer.encode(utterance.text), dtype=torch.int64) for utterance in batch.utterances]
    return _rise_of_loss(deep, labels, model.tokenizer.blank_id)


def _rise_of_loss(deep: Output, labels: Sequence[torch.Tensor], blank: int) -> Callable[[Output], tuple[float, int]]:
    lengths = torch.tensor([len(row) for row in labels])
    # A model that has learned nothing spells nothing; that has a loss too, of blanks alone, and counts as one label.
    targets = torch.nn.utils.rnn.pad_sequence([*labels, torch.zeros(1, dtype=torch.int64)], batch_first=True)[:-1]
    usable = required_frames(targets, lengths) <= deep.num_frames.cpu()
    targets, lengths = targets.to(deep.logits.device), lengths.to(deep.logits.device)

    def loss(output: Output) -> float:
        losses = torch.nn.functional.ctc_loss(
            output.log_probs().transpose(0, 1), targets, output.num_frames, lengths, blank=blank, reduction="none"
        )
        return float(losses[usable.to(losses.device)].double().sum())

    before, weight = loss(deep), int(lengths.clamp_min(1)[usable.to(lengths.device)].sum())
    return lambda output: (loss(output) - before, weight)


CHANGES = {"kl": divergence, "ctc": own_path, "ctc_labelled": own_text}
"""Kinds of change by name: function(model, batch, deep output) -> function(pruned output) -> (sum, number summed over)."""
