#!/usr/bin/env python3
"""Low rank instead of fewer layers: the maps of a deep model cut to their outputs' main directions, at the size of a pruned model.

    cd recipes/fsdd && . ./path.sh
    python ../../benchmarks/low_rank.py --exp exp/transformer12
    python ../../benchmarks/low_rank.py --exp exp/transformer12 --remove 7-12        both: of a pruned and repaired model

As LiteASR has it: the outputs y = Wx + b of every linear map of every layer are projected on their first principal
components on --utterances of data/probe, whose texts are not read, so that a map becomes two narrow ones. One threshold of the
variance that is kept decides every rank; it is the one that leaves --shares of the layers' parameters. A map that two narrow
ones would make larger stays as it is. The error rates are those of the deep model with the products of the narrow maps in
place of its own, which computes the same; the parameters are counted of the narrow maps, and speed is not measured.
"""

import argparse

import torch
from measuring import table
from repair_rows import Bench, bench_options, percent

from comflp.inference.device import evaluation
from comflp.inference.loop import load_batches, plan_batches
from comflp.inference.speech import Speech
from comflp.models.layered import Step
from comflp.proposal import PruningProposal
from comflp.repair.fit import exchange
from comflp.repair.maps import LinearMap, sub_blocks
from comflp.repair.states import own
from comflp.repair.watch import calling_output_map, inputs_of
from comflp.stacks import depths_of


class Directions:
    """Principal components of what one map gives.

    variances: (out,), the components', descending. parameters: how many the map's matrix has.
    """

    def __init__(self, linear, gram, total, frames):
        self.linear, mean = linear, total / frames
        covariance = linear.matrix @ (gram / frames - torch.outer(mean, mean)) @ linear.matrix.T
        self.mean = linear.matrix @ mean + linear.offset
        variances, vectors = torch.linalg.eigh(covariance)
        self.variances, self.vectors = variances.flip(0).clamp_min(0), vectors.flip(1)
        self.parameters = linear.matrix.numel()

    def rank(self, kept):
        """Components that hold the share ``kept`` of the variance; None where two maps would be no smaller than one."""
        held = self.variances.cumsum(0) / self.variances.sum()
        rank = int((held < kept).sum()) + 1
        return rank if rank * sum(self.linear.matrix.shape) < self.parameters else None

    def size(self, kept):
        """Parameters of the matrices at that rank."""
        rank = self.rank(kept)
        return self.parameters if rank is None else rank * sum(self.linear.matrix.shape)

    def changes(self, kept):
        """The map's parameters with the values of the product of the two narrow maps."""
        rank = self.rank(kept)
        if rank is None:
            return []
        onto = self.vectors[:, :rank] @ self.vectors[:, :rank].T
        lost = self.linear.matrix - onto @ self.linear.matrix
        return self.linear.changed(-lost, onto @ (self.linear.offset - self.mean) + self.mean - self.linear.offset)


def directions_of(model, speech):
    """Of every map of every layer, on the speech."""
    found, batches = [], list(load_batches(model, plan_batches(model, speech.data, speech.max_seconds)))
    with evaluation(model):
        states = [model.begin(batch) for batch in batches]
        for stack in model.stacks.values():
            for number, layer in enumerate(stack.layers, start=1):
                step, blocks = Step(stack.name, number), sub_blocks(layer)
                opaque = next((block.opaque for block in blocks if block.opaque), None)
                points = {name: point for block in blocks for name, point in zip((*block.readers, block.writer), (*block.read_points, block.writer))}
                sums = {}
                with calling_output_map(layer.get_submodule(opaque) if opaque else None):
                    for position, state in enumerate(states):
                        inputs, states[position] = inputs_of(model, state, step, set(points.values()), to_end=True)
                        for point, seen in inputs.items():
                            frames = seen[own(state)].double()
                            gram, total, count = sums.get(point, (0.0, 0.0, 0))
                            sums[point] = gram + frames.T @ frames, total + frames.sum(dim=0), count + len(frames)
                found += [Directions(LinearMap(layer, name), *sums[point]) for name, point in points.items()]
    return found


def threshold_of(maps, wanted):
    """The largest share of the variance at which the maps have ``wanted`` parameters or fewer, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(one.size(middle) for one in maps) <= wanted else (low, middle)
    return low


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    bench_options(arguments, "low_rank.jsonl")
    arguments.add_argument("--utterances", type=int, default=256, help="number of utterances that the principal components are taken from")
    arguments.add_argument("--shares", type=float, nargs="+", default=[0.75, 0.5, 0.33], help="shares of the layers' parameters that stay")
    arguments.add_argument("--remove", default="none", help="layers to remove first, such as 7-12, with a repair on 256 utterances")
    options = arguments.parse_args()
    bench = Bench(options)
    proposal = PruningProposal.parse(options.remove, depths_of(bench.deep.stacks))
    model = bench.calibration(256).repair(bench.deep.prune(proposal)) if proposal.num_removed else bench.deep
    maps = directions_of(model, Speech(model, bench.probe).drawn(options.utterances, seed=0))
    whole = sum(one.parameters for one in maps)
    start = bench.rows.of(f"{proposal} {options.test}", lambda: bench.score(model))
    rows = [row_of(model.num_parameters, "all", "", start)]
    for share in options.shares:
        kept = threshold_of(maps, share * whole)
        left = sum(one.size(kept) for one in maps)
        parameters = model.num_parameters - whole + left
        found = bench.rows.of(f"{proposal} low rank {share} {options.utterances} {options.probe} {options.test}",
                              lambda kept=kept, parameters=parameters: {**score_at(bench, model, maps, kept), "parameters": parameters})
        rows.append(row_of(parameters, f"{left / whole:.0%}", f"{kept:.2%}", found))
    print(table(rows))


def row_of(parameters, share, kept, scored):
    return {"parameters, M": f"{parameters / 1e6:.2f}", "of the layers' matrices": share, "variance kept": kept, "error rate": percent(scored)}


def score_at(bench, model, maps, kept):
    """Errors with every map at its rank; the model is put back."""
    back = exchange([change for one in maps for change in one.changes(kept)])
    scored = bench.score(model)
    exchange(back)
    return scored


if __name__ == "__main__":
    main()
