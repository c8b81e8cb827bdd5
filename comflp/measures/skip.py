"""The cost of skipping a block: S[i, j] is what the output loses when layers i+1..j alone are removed.

One deep pass gives H_0..H_L and the deep model's output. For every end j and every start i < j, layers j+1..L then run
on H_i. That is L(L^2 - 1)/6 layer runs a batch besides the deep ones, 24 encoder passes at L=12, and no decoding.

All measures here share their options. num_utterances: how many are drawn from the probe set; all of it where it has fewer.
max_block: layers of the longest block that is measured, for deep models: B makes it about L^2 B / 2 layer runs. A longer block
costs what its first B layers cost, and each further layer what it adds to the B - 1 layers before it (the single layers' costs
added up, where B is 1). The block of all layers, and those with a layer that must stay, cost infinity.
"""

from __future__ import annotations

from typing import Collection

import numpy as np

from comflp.errors import ComflpError
from comflp.inference.speech import Speech
from comflp.proposal import PruningProposal

NUM_UTTERANCES = 16


def single_blocks(num_layers: int, longest: int | None = None, must_stay: Collection[int] = ()) -> list[PruningProposal]:
    """Every block of up to ``longest`` layers, but for that of all layers and those with a layer that must stay.

    >>> [str(block) for block in single_blocks(3)]
    ['1', '1-2', '2', '2-3', '3']
    """
    longest = min(num_layers - 1, longest or num_layers)
    return [
        PruningProposal(num_layers, ((first, last),))
        for first in range(1, num_layers + 1)
        for last in range(first, min(first + longest - 1, num_layers) + 1)
        if not any(first <= layer <= last for layer in must_stay)
    ]


def skip_kl(
    speech: Speech, seed: int = 0, stack: str | None = None, *, num_utterances: int = NUM_UTTERANCES, max_block: int | None = None
) -> np.ndarray:
    """KL(deep model's posteriors || posteriors without layers i+1..j alone), in nats a row of the output; 0 and up. Without labels."""
    return skip_costs(speech, "kl", seed, num_utterances, max_block, stack)


def skip_ctc(
    speech: Speech, seed: int = 0, stack: str | None = None, *, num_utterances: int = NUM_UTTERANCES, max_block: int | None = None
) -> np.ndarray:
    """Rise of the CTC loss of the deep model's own best path without layers i+1..j alone, in nats a label.

    Without labels, but blind to how sure the deep model was.
    """
    return skip_costs(speech, "ctc", seed, num_utterances, max_block, stack)


def skip_ctc_labelled(
    speech: Speech, seed: int = 0, stack: str | None = None, *, num_utterances: int = NUM_UTTERANCES, max_block: int | None = None
) -> np.ndarray:
    """Rise of the CTC loss of the probe set's text without layers i+1..j alone, in nats a label; can be negative."""
    return skip_costs(speech, "ctc_labelled", seed, num_utterances, max_block, stack)


def skip_costs(
    speech: Speech, kind: str, seed: int, num_utterances: int, max_block: int | None, stack: str | None = None
) -> np.ndarray:
    """S (L+1, L+1) float64, symmetric, 0 on the diagonal: the output change of every single block of one stack.

    kind: a name of ``comflp.inference.output_change.CHANGES``. seed: seed for the random draw of utterances.
    stack: which stack's blocks; the model's first, or only, one where it is left out.
    """
    # torch takes seconds to import, and only these measures need it.
    from comflp.inference.output_change import output_changes

    speech = speech.drawn(num_utterances, seed)
    measured = speech.model.stacks[stack or next(iter(speech.model.stacks))]
    num_layers, must_stay = measured.num_layers, set(measured.must_stay)
    if max_block is not None and max_block < 1:
        raise ComflpError(f"the longest block has at least 1 layer, not {max_block}")
    longest = min(num_layers - 1, max_block or num_layers)
    blocks = {speech.model.proposing({measured.name: block}): block for block in single_blocks(num_layers, longest, must_stay)}
    matrix = np.full((num_layers + 1, num_layers + 1), np.inf)
    np.fill_diagonal(matrix, 0.0)
    for proposal, cost in output_changes(speech, list(blocks), kind).items():
        [(first, end)] = blocks[proposal].blocks
        matrix[first - 1, end] = matrix[end, first - 1] = cost
    for start in range(num_layers):
        for end in range(start + longest + 1, num_layers + (start > 0)):
            if must_stay.isdisjoint(range(start + 1, end + 1)):
                added = matrix[end - longest, end] - matrix[end - longest, end - 1]
                matrix[start, end] = matrix[end, start] = matrix[start, end - 1] + max(added, 0.0)
    return matrix
