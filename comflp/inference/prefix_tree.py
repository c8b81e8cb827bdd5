"""Pruned models as a tree of prefixes: what they have in common is computed once.

A proposal is the sequence of layers that it keeps. Two proposals that keep the
same first layers compute the same there, so the sequences form a tree: a node
is a distinct prefix, and its cost is one run of its last layer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Callable, Iterable, Iterator, Sequence

from comflp.proposal import Proposal

if TYPE_CHECKING:  # only named here; they need torch, which takes seconds to import
    from comflp.models.layered import LayeredModel, State, Step

    Prefix = tuple[Step, ...]


class _Node:
    __slots__ = ("children", "proposals")

    def __init__(self) -> None:
        self.children: dict[Step, _Node] = {}
        self.proposals: list[Proposal] = []


class PrefixTree:
    """The tree of some proposals for one model; proposals of several N may share a tree.

    path: proposal -> the steps that its pruned model runs, :meth:`LayeredModel.path`.

    >>> from comflp.proposal import PruningProposal
    >>> proposals = [PruningProposal.parse(text, num_layers=4) for text in ("3", "4", "3-4")]
    >>> tree = PrefixTree(proposals, lambda proposal: proposal.kept)
    >>> tree.num_prefixes, sum(len(proposal.kept) for proposal in proposals)
    (4, 8)
    """

    def __init__(self, proposals: Iterable[Proposal], path: Callable[[Proposal], Sequence[Step]]):
        self._root = _Node()
        self.prefixes_of_length: dict[int, int] = {0: 1}
        for proposal in proposals:
            node = self._root
            for length, step in enumerate(path(proposal), start=1):
                if step not in node.children:
                    node.children[step] = _Node()
                    self.prefixes_of_length[length] = self.prefixes_of_length.get(length, 0) + 1
                node = node.children[step]
            node.proposals.append(proposal)

    @property
    def num_prefixes(self) -> int:
        """Distinct prefixes, the empty one not counted: the layer runs that one batch takes."""
        return sum(self.prefixes_of_length.values()) - 1

    def walk(
        self, model: LayeredModel, state: State, cache: StateCache | None = None
    ) -> Iterator[tuple[Proposal, State, int]]:
        """Depth first: each proposal with the output of its last kept layer, and the layers run so far.

        state: H_0 of a batch. At any time only the states of one path's open
        branches are held, so memory is bounded by the depth of the tree.
        cache: states of an earlier walk over the same batch to use instead of running layers.
        """
        runs = 0
        state = replace(state, revisited=True)
        open_branches = [(state, step, (step,), node) for step, node in reversed(self._root.children.items())]
        del state
        while open_branches:
            parent, step, prefix, node = open_branches.pop()
            state = cache.get(prefix) if cache else None
            if state is None:
                state = model.run(parent, step)
                runs += 1
            if cache:
                cache.offer(prefix, state)
            del parent
            for next_step, child in reversed(node.children.items()):
                open_branches.append((state, next_step, (*prefix, next_step), child))
            for proposal in node.proposals:
                yield proposal, state, runs


class StateCache:
    """States of the shortest prefixes of one batch, kept from one walk for the next.

    Only prefixes up to a length such that all of that length fit into
    ``max_bytes`` are kept; :meth:`start` sets it for a tree.
    """

    def __init__(self, max_bytes: float):
        self._max_bytes = max_bytes
        self._before: dict[Prefix, State] = {}
        self._kept: dict[Prefix, State] = {}
        self._longest = -1

    def start(self, tree: PrefixTree) -> State | None:
        """Begin a walk over ``tree``; returns H_0 where it was kept."""
        self._before, self._kept = self._kept, {}
        root = self._before.get(())
        if root is not None:
            self._limit(tree, root)
            self.offer((), root)
        return root

    def put_root(self, tree: PrefixTree, state: State) -> None:
        """Give H_0 where :meth:`start` had none."""
        self._limit(tree, state)
        self.offer((), state)

    def finish(self) -> None:
        """End a walk: what the walk before kept is released."""
        self._before = {}

    def get(self, prefix: Prefix) -> State | None:
        """The state after the layers ``prefix`` in the walk before, or None."""
        return self._before.get(prefix)

    def offer(self, prefix: Prefix, state: State) -> None:
        """Keep a state for the next walk if its prefix is short enough."""
        if len(prefix) <= self._longest:
            self._kept[prefix] = state

    def _limit(self, tree: PrefixTree, state: State) -> None:
        self._longest, bytes_left = -1, self._max_bytes
        for length, count in sorted(tree.prefixes_of_length.items()):
            bytes_left -= count * state.hidden.numel() * state.hidden.element_size()
            if bytes_left < 0:
                break
            self._longest = length
