"""Skip cost by posteriors: what the output layer does with a removed block, without labels."""

from __future__ import annotations

import numpy as np

from comflp.measures.skip import NUM_UTTERANCES, skip_costs
from comflp.inference.speech import Speech


def skip_kl(
    speech: Speech, seed: int = 0, progress=None, *, num_utterances: int = NUM_UTTERANCES, max_block: int | None = None
) -> np.ndarray:
    """KL(deep model's posteriors || posteriors without layers i+1..j alone), in nats a frame; 0 and up.

    num_utterances: of the probe set. max_block: layers of the longest block measured, for deep models.
    """
    return skip_costs(speech, "kl", seed, num_utterances, max_block, progress)
