"""One repair: along the pruned model, layer by layer, one family of maps after another."""

from __future__ import annotations

import contextlib
import itertools
from typing import Callable, Iterator, Sequence

import torch

from comflp.inference.loop import track
from comflp.models.layered import ENTER, LayeredModel, State, Step
from comflp.proposal import Proposal
from comflp.repair.fit import NormalEquations, fitted_readers, fitted_writer
from comflp.repair.head import fitted_projection, projection_inputs, projection_of
from comflp.repair.judge import Judge
from comflp.repair.maps import LinearMap, SubBlock, shared_parameters, sub_blocks
from comflp.repair.states import DeepStates, finite, own
from comflp.repair.watch import Replay, calling_output_map, inputs_of, layer_of


class Refit:
    """The deep model and the model under repair, in lockstep.

    deep_states: the deep model's states. model: the pruned model, changed in place. proposal: what was removed from the deep model to make it.
    prior_frames: the old weights count as much as so many frames.
    """

    def __init__(self, deep_states: DeepStates, model: LayeredModel, proposal: Proposal, prior_frames: float):
        self.deep_states, self.deep, self.model = deep_states, deep_states.model, model
        self.prior_frames = prior_frames
        self.path = model.path()
        self.here = [deep_states.path.index(step) for step in self.deep.path(proposal)]
        self.as_pruned = _as_pruned(self.deep, model, proposal)
        self.shared = shared_parameters(model)
        self.states: list[State] = list(deep_states.after(0) if self.as_pruned else deep_states.begun_by(model))
        self.memory: list[torch.Tensor] = []
        self.replays: list[Replay] = []
        self.widest = 0

    @property
    def untouched(self) -> int:
        """How many steps at the beginning are the deep model's and will not be refitted: all before the first gap but the last."""
        same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], enumerate(self.here)))
        return max(same - 1, 0) if self.as_pruned else 0

    def run(self, judge: Judge, progress: Callable | None = None) -> None:
        """Refit every layer that stands after a removed one, or just before, and the output projection.

        judge: decides which refits stay; it has the states after the ``untouched`` steps.
        """
        self.judge, path, deep_path = judge, self.path, self.deep_states.path
        disturbed, done, untouched = not self.as_pruned, 0, self.untouched
        for number, step in enumerate(track(path, progress, "repair", len(path))):
            at = self.here[number]
            disturbed = disturbed or at != done
            self.deep_states.forget(at)
            if step.layer == ENTER:
                self.memory = [own(state) for state in self.states]
            end = end_of_gap(path, self.here, number, deep_path)
            if step.layer > ENTER and (disturbed or end > at):
                self._layer(step, at, end, disturbed)
                disturbed = True
            if disturbed:
                for batch, (state, utterances) in enumerate(zip(self.states, self.deep_states.utterances)):
                    with self._replaying(batch):
                        self.states[batch] = finite(self.model.run(state, step), utterances)
            else:
                self.states, done = list(self.deep_states.after(at + 1)), at + 1
            self.replays = []
            if number >= untouched:
                self.judge.advance()
        self._projection()

    @contextlib.contextmanager
    def _replaying(self, batch: int, new: Sequence[Replay] = ()) -> Iterator[None]:
        """Passes of a batch within the block take what is settled of the layer from the passes before; ``new`` is recorded."""
        with contextlib.ExitStack() as stack:
            for replay in self.replays:
                stack.enter_context(replay.replaying(batch))
            for replay in new:
                stack.enter_context(replay.recording(batch))
            yield

    def _layer(self, step: Step, deep_step: int, end_step: int, disturbed: bool) -> None:
        """Refit the maps of one layer. deep_step: the same layer in the deep model's path. end_step: the step there whose
        end is where this layer is to bring the stream."""
        layer, deep_layer = layer_of(self.model, step), layer_of(self.deep, self.deep_states.path[deep_step])
        before, after = (self.deep_states.after(number)[0].hidden.shape for number in (deep_step, deep_step + 1))
        if before != after:  # a layer that subsamples
            return
        blocks = sub_blocks(layer)
        name = f"{step.stack}.{self.deep_states.path[deep_step].layer}"
        inside = None
        if disturbed:
            points = {name for block in blocks for name in (*block.read_points, block.after) if name is not None}
            inside = self.deep_states.inside(deep_step, sorted(points))
        with contextlib.ExitStack() as stack:
            for opaque in {block.opaque for block in blocks if block.opaque}:
                stack.enter_context(calling_output_map(layer.get_submodule(opaque)))
            settled = []
            for block in blocks:
                settled += _replays(layer, block)
                if disturbed:
                    self._readers(step, block, layer, deep_layer, inside, name)
                last = block is blocks[-1]
                if last and end_step > deep_step:
                    self._writer(step, block, layer, self._stream(end_step, block.after), name, self._norm(end_step, block), settled)
                elif disturbed:
                    targets = [seen[block.after] for seen in inside] if block.after else self._stream(deep_step, None)
                    self._writer(step, block, layer, targets, name, None, settled)
                    settled = []

    def _stream(self, deep_step: int, after: str | None) -> list[torch.Tensor]:
        """The deep model's stream at the end of a layer, before the norm ``after`` where there is one."""
        if after is None:
            return [state.hidden for state in self.deep_states.after(deep_step + 1)]
        return [seen[after] for seen in self.deep_states.inside(deep_step, [after])]

    def _norm(self, deep_step: int, block: SubBlock) -> torch.nn.Module | None:
        """The deep layer's norm at its end, where it normalises the stream itself."""
        return layer_of(self.deep, self.deep_states.path[deep_step]).get_submodule(block.after) if block.ends_in_norm else None

    def _readers(self, step: Step, block: SubBlock, layer, deep_layer, inside, name: str) -> None:
        points = dict(zip(block.readers, block.read_points))
        groups: dict[tuple, list[str]] = {}
        for reader, point in points.items():
            if point in inside[0] and id(LinearMap(layer, reader).weight) not in self.shared:
                groups.setdefault((id(inside[0][point]), LinearMap(layer, reader).bias is None), []).append(reader)
        equations = {}
        for batch, (state, deep_inputs) in enumerate(zip(self.states, inside)):
            with self._replaying(batch):
                inputs, _ = inputs_of(self.model, state, step, points.values())
            for key, readers in groups.items():
                point, first = points[readers[0]], LinearMap(layer, readers[0])
                mask = self.memory[batch] if readers[0] in block.memory else own(state)
                features, targets = (_frames(seen[point], mask, first.channels_first) for seen in (inputs, deep_inputs))
                if key not in equations:
                    width = features.shape[1]
                    equations[key] = NormalEquations(width, width, first.bias is not None, features.device)
                equations[key].add(features, targets)
        for key, readers in groups.items():
            own_maps, deep_maps = ([LinearMap(at, reader) for reader in readers] for at in (layer, deep_layer))
            self.widest = max(self.widest, len(equations[key].gram))
            changes = fitted_readers(equations.pop(key), own_maps, deep_maps, self.prior_frames)
            self.judge.decide(changes, [f"{name}.{reader}" for reader in readers])

    def _writer(self, step: Step, block: SubBlock, layer, targets, name: str, end_norm, settled: Sequence[Replay]) -> None:
        writer = LinearMap(layer, block.writer)
        if id(writer.weight) in self.shared:
            return
        scale = block.scale(layer) if callable(block.scale) else block.scale
        names = [block.writer] if block.after is None else [block.writer, block.after]
        equations = None
        for batch, (state, target) in enumerate(zip(self.states, targets)):
            with self._replaying(batch, settled):
                inputs, end = inputs_of(self.model, state, step, names, to_end=block.after is None)
            mask = own(state)
            stream = end.hidden if block.after is None else inputs[block.after]
            features = _frames(inputs[block.writer], mask, writer.channels_first)
            target = target[mask]
            lacking = (target - stream[mask]) / scale
            if equations is None:
                equations = NormalEquations(features.shape[1], lacking.shape[1], writer.bias is not None, features.device)
            # A norm divides each frame by its deviation, so an error there counts by the inverse of the variance.
            equations.add(features, lacking, 1 / target.double().var(dim=1) if block.ends_in_norm else None)
        self.widest = max(self.widest, len(equations.gram))
        changes = fitted_writer(equations, writer, self.prior_frames)
        if end_norm is not None:
            mine = layer.get_submodule(block.after)
            changes += [(p, end_norm.get_parameter(key).detach().clone()) for key, p in mine.named_parameters()]
        self.judge.decide(changes, [f"{name}.{block.writer}"])
        self.replays += settled

    def _projection(self) -> None:
        name = projection_of(self.model, self.states[0])
        if name is None:
            return
        deep_inputs = projection_inputs(self.deep, name, self.deep_states.after(len(self.deep_states.path)))
        inputs = projection_inputs(self.model, name, self.states)
        changes = fitted_projection(LinearMap(self.model, name), inputs, LinearMap(self.deep, name), deep_inputs)
        self.judge.decide(changes, ["output"])


def end_of_gap(path: Sequence[Step], here: Sequence[int], number: int, deep_path: Sequence[Step]) -> int:
    """The step of the deep model at whose end the stream should be after step ``number`` of the pruned one.

    It is the last layer before the next one that is kept, or before what both models have between layers.

    path: the pruned model's path. here: the same steps in the deep model's path.
    """
    layers = [at for step, at in zip(path[number + 1 :], here[number + 1 :]) if step.layer > ENTER]
    following = layers[0] if layers else len(deep_path)
    between = [at for at in here[number + 1 : number + 2] if here[number] < at < following]
    end = (between[0] if between else following) - 1
    return max([at for at in range(here[number], end + 1) if deep_path[at].layer > ENTER], default=here[number])


def _replays(layer: torch.nn.Module, block: SubBlock) -> list[Replay]:
    """What may be replayed of a sub-block: a module that ends in its writer, which reads no more than the stream is wide (an attention)."""
    width, read = LinearMap(layer, block.writer).weight.shape[:2]
    return [Replay(layer, block.writer)] if "." in block.writer and read <= width else []


def _frames(hidden: torch.Tensor, mask: torch.Tensor, channels_first: bool) -> torch.Tensor:
    """(n, D): the own frames of (B, T', D) or (B, D, T'), T' at least that of the mask (B, T)."""
    hidden = hidden.transpose(1, 2) if channels_first else hidden
    return hidden[:, : mask.shape[1]][mask]


def _as_pruned(deep: LayeredModel, model: LayeredModel, proposal: Proposal) -> bool:
    """Whether all that was not removed still has the deep model's weights: it was not trained or repaired since."""
    pairs = [
        (mine, stack.layers[layer - 1])
        for name, stack in deep.stacks.items() for layer, mine in zip(proposal.of(name).kept, model.stacks[name].layers)
    ]
    parameters = [each for mine, theirs in pairs for each in zip(mine.parameters(), theirs.parameters())]
    return all(torch.equal(mine, theirs) for mine, theirs in [*parameters, *zip(_beside_layers(model), _beside_layers(deep))])


def _beside_layers(model: LayeredModel) -> Iterator[torch.nn.Parameter]:
    """The parameters of a model that are of none of its layers, which pruning leaves as they are."""
    of_layers = {id(parameter) for stack in model.stacks.values() for layer in stack.layers for parameter in layer.parameters()}
    return (parameter for parameter in model.parameters() if id(parameter) not in of_layers)
