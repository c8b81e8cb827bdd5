"""Label-free criteria that a pruned model's output can be judged by, all from the same logits.

Each is a function(model, batch, deep output) -> function(pruned output) -> (sum, number summed over); lower is better.
``kl`` and ``ctc`` are the library's; the others are what docs/measures.md says was tried.
"""

import torch

from comflp.data.training import required_frames
from comflp.inference.output_change import CHANGES
from comflp.models.greedy import best_paths, labels_of, texts_of
from comflp.scoring import utterances_errors

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


def _divergences(deep, output):
    """KL(deep at frame t || pruned at frame t + s), (3, B, T) for s = -1, 0, 1; the edge frames stand for those beyond."""
    target, found, last = deep.log_probs(), output.log_probs(), (deep.num_frames - 1)[:, None]
    own = (target.exp() * target).sum(dim=-1)
    frames = torch.arange(target.shape[1], device=target.device)[None]
    shifted = [found.take_along_dim((frames + s).clamp_min(0).minimum(last)[..., None], dim=1) for s in (-1, 0, 1)]
    return torch.stack([own - (target.exp() * other).sum(dim=-1) for other in shifted])


def near(model, batch, deep):
    """KL to the nearest of the pruned model's frames t - 1, t and t + 1."""
    rows = deep.own()
    return lambda output: (float(_divergences(deep, output).amin(dim=0)[rows].double().sum()), int(rows.sum()))


def text(model, batch, deep):
    """Error rate of the pruned model's text against the deep model's."""
    def spelled(output):
        return texts_of(best_paths(output.logits, output.num_frames).cpu(), model.tokenizer)

    references = spelled(deep)

    def compare(output):
        errors = utterances_errors(references, spelled(output), "cer", "none")
        return sum(e.substitutions + e.deletions + e.insertions for e in errors), sum(map(len, references))

    return compare


CRITERIA = {"kl": CHANGES["kl"], "ctc": CHANGES["ctc"], "sampled": sampled, "near": near, "text": text}
SUMS = {"kl + ctc": ("kl", "ctc"), "kl + sampled": ("kl", "sampled")}
"""Sums of two criteria, in nats an utterance."""
