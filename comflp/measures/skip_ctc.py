"""Skip cost by the CTC loss of what the deep model recognises: without labels, but blind to how sure it was."""

from __future__ import annotations

import numpy as np

from comflp.measures.skip import NUM_UTTERANCES, skip_costs
from comflp.inference.speech import Speech


def skip_ctc(
    speech: Speech, seed: int = 0, progress=None, *, num_utterances: int = NUM_UTTERANCES, max_block: int | None = None
) -> np.ndarray:
    """Rise of the CTC loss of the deep model's own best path without layers i+1..j alone, in nats a label.

    num_utterances: of the probe set. max_block: layers of the longest block measured, for deep models.
    """
    return skip_costs(speech, "ctc", seed, num_utterances, max_block, progress)
