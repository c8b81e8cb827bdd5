"""Label-free criteria that a pruned model's output can be judged by, all from the same logits.

Each is a function(model, batch, deep output) -> function(pruned output) -> (sum, number summed over); lower is better.
``sampled`` is what docs/measures.md says was tried; the others are the library's.
"""

import torch

from comflp.data.training import required_frames
from comflp.inference.output_change import CHANGES
from comflp.models.greedy import labels_of

NUM_PATHS = 8
"""Paths of the deep model that ``sampled`` draws for each utterance."""


def sampled(model, batch, deep):
    """Expected rise of the CTC loss over what the deep model may spell: paths drawn from its posteriors, collapsed.

    In expectation the divergence between the two models' distributions over label sequences, which no alignment enters.
    """
    draw = torch.Generator().manual_seed(0)
    blank, lengths = model.tokenizer.blank_id, deep.num_frames.cpu()
    noise = torch.rand((NUM_PATHS, *deep.logits.shape), generator=draw).clamp_min(1e-20)
    paths = (deep.log_probs().cpu() - torch.log(-torch.log(noise))).argmax(dim=-1).int().flatten(0, 1)
    labels = labels_of(torch.cat([lengths.repeat(NUM_PATHS)[:, None].int(), paths], dim=1), blank)
    targets = torch.nn.utils.rnn.pad_sequence([*labels, torch.zeros(1, dtype=torch.int64)], batch_first=True)[:-1]
    num_labels = torch.tensor([len(row) for row in labels])
    assert (required_frames(targets, num_labels) <= lengths.repeat(NUM_PATHS)).all()

    def loss(output):
        log_probs = output.log_probs().repeat(NUM_PATHS, 1, 1).transpose(0, 1)
        losses = torch.nn.functional.ctc_loss(
            log_probs, targets, lengths.repeat(NUM_PATHS), num_labels, blank=blank, reduction="none"
        )
        return float(losses.double().sum())

    before = loss(deep)
    return lambda output: ((loss(output) - before) / NUM_PATHS, int(num_labels.sum()) / NUM_PATHS)


CRITERIA = {**{name: CHANGES[name] for name in ("kl", "ctc", "near", "text")}, "sampled": sampled}
SUMS = {"kl + ctc": ("kl", "ctc"), "kl + sampled": ("kl", "sampled")}
"""Sums of two criteria, in nats an utterance."""
JOINED = ("near+text",)
"""The library's geometric means of two."""
