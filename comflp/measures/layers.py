"""The hidden states that a measure works on: chunks and batches of utterances, checked as they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Iterator, Sequence

import numpy as np

from comflp.errors import ComflpError

if TYPE_CHECKING:  # only named here
    from comflp.inference.hidden_states import HiddenStates

CHUNK_VALUES = 1 << 25
"""Values of one chunk over all its layers (128 MiB as float32), so that a dump larger than memory can be measured."""


class Layers:
    """L+1 layers' vectors of the same n utterances, read in chunks and never as a whole.

    hidden: (n, L+1, D), an array, a tensor, or anything with ``shape`` that is indexed by rows as one (a memory-mapped
        ``comflp.inference.hidden_states.HiddenStates``); or a sequence of L+1 arrays (n, D_i), whose widths may differ.
    utt_ids: n names for error messages; row numbers are used without them.

    Raises ComflpError for another shape, for no utterance, and on reading, where a value is NaN or infinite.
    """

    def __init__(self, hidden: np.ndarray | Sequence[np.ndarray] | HiddenStates, utt_ids: Sequence[str] | None = None):
        hidden = _array(hidden)
        if isinstance(hidden, (list, tuple)):
            self._whole, self._parts = None, [np.asarray(_array(part)) for part in hidden]
        elif len(getattr(hidden, "shape", ())) == 3:
            self._whole, self._parts = hidden, None
        else:
            raise ComflpError(
                "hidden states are one array (utterances, layers + 1, values) or a list of layers + 1 arrays "
                f"(utterances, values), not {getattr(hidden, 'shape', type(hidden).__name__)}"
            )
        if self._parts is not None:
            self._check_parts()
        self.num_utterances = self._parts[0].shape[0] if self._parts else self._whole.shape[0]
        self.widths = [part.shape[1] for part in self._parts] if self._parts else [hidden.shape[2]] * hidden.shape[1]
        self.dtype = np.result_type(np.float32, *(self._parts or [np.dtype(self._whole.dtype)]))
        if self.num_utterances < 1 or len(self.widths) < 2 or min(self.widths) < 1:
            raise ComflpError(
                f"hidden states of {self.num_utterances} utterances and {len(self.widths)} layer outputs of "
                f"{min(self.widths, default=0)} values: at least 1, 2 and 1 are needed"
            )
        if utt_ids is not None and len(utt_ids) != self.num_utterances:
            raise ComflpError(f"{len(utt_ids)} utterance ids for hidden states of {self.num_utterances} utterances")
        self._utt_ids = utt_ids

    def _check_parts(self) -> None:
        if not self._parts:
            raise ComflpError("hidden states of no layer at all; at least the input of layer 1 and one output are needed")
        for layer, part in enumerate(self._parts):
            if part.ndim != 2 or part.shape[0] != self._parts[0].shape[0]:
                raise ComflpError(
                    f"layer {layer}: hidden states are (utterances, values) with as many utterances as layer 0 has, "
                    f"{self._parts[0].shape[0]}, but these are {part.shape}"
                )

    def __len__(self) -> int:
        """L+1, the number of layer outputs with H_0."""
        return len(self.widths)

    def rows(self, rows: Sequence[int] | np.ndarray | slice) -> list[np.ndarray]:
        """The L+1 arrays (number of rows, D_i) of the utterances ``rows``, a slice or an array of row numbers."""
        if self._parts is not None:
            taken = [part[rows] for part in self._parts]
        else:
            block = self._whole[rows]
            taken = [block[:, layer] for layer in range(len(self))]
        taken = [np.asarray(part, dtype=self.dtype) for part in taken]
        for layer, part in enumerate(taken):
            # A sum is not finite when one of its terms is not: one pass without a temporary array.
            if not np.isfinite(part.sum(dtype=np.float64)) and not np.isfinite(part).all():
                row = np.arange(self.num_utterances)[rows][np.argwhere(~np.isfinite(part))[0][0]]
                name = f"row {row}" if self._utt_ids is None else f"utterance {self._utt_ids[row]}"
                raise ComflpError(f"hidden states: {name}: the output of layer {layer} is not finite (NaN or infinity)")
        return taken

    def chunks(self, progress: Callable | None = None, desc: str = "") -> Iterator[list[np.ndarray]]:
        """All utterances in order, as :meth:`rows` of up to ``CHUNK_VALUES`` values each; under a progress bar called ``desc`` where there is one."""
        size = self.chunk_size
        starts = range(0, self.num_utterances, size)
        for start in progress(starts, desc=desc) if progress else starts:
            yield self.rows(slice(start, start + size))

    @property
    def chunk_size(self) -> int:
        """Utterances of one chunk."""
        return max(1, min(4096, CHUNK_VALUES // sum(self.widths)))


def _array(values: Any) -> Any:
    """A tensor as an array, of 32 bits at least; anything else as it is."""
    if not hasattr(values, "detach"):
        return values
    tensor = values.detach().cpu()
    return (tensor.float() if tensor.element_size() < 4 else tensor).numpy()
