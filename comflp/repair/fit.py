"""Least squares in closed form, with the weights that there are as the prior (float64)."""

from __future__ import annotations

from typing import Sequence

import torch

from comflp.repair.maps import LinearMap

PRIOR_FRAMES = 300.0
"""The old weights count as much as so many frames of speech."""

_LEAST_VARIANCE = 1e-10
"""Share of its second moment below which the variance of an input is what 32-bit arithmetic leaves of equal frames."""

Changes = list[tuple[torch.nn.Parameter, torch.Tensor]]


class NormalEquations:
    """Sums over frames of features F (n, d) and targets T (n, o): F'F, F'T, the means; each frame with a weight.

    centred: whether the map has a bias to take the means, so that F and T count less their means; the means of the first
        frames are taken off before anything is summed, as little would be left of a small variance otherwise.
    """

    def __init__(self, features: int, targets: int, centred: bool, device: torch.device):
        options = dict(dtype=torch.float64, device=device)
        self.gram, self.cross = torch.zeros(features, features, **options), torch.zeros(features, targets, **options)
        self.feature_sum, self.target_sum = torch.zeros(features, **options), torch.zeros(targets, **options)
        self.feature_shift, self.target_shift = torch.zeros(features, **options), torch.zeros(targets, **options)
        self.weight, self.frames, self.centred = 0.0, 0, centred
        self.least = torch.zeros((), **options)

    def add(self, features: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None) -> None:
        """Count frames: features (n, d), targets (n, o), weights (n,) of at least 0."""
        if self.centred and not self.frames:
            self.feature_shift, self.target_shift = features.double().mean(dim=0), targets.double().mean(dim=0)
        features, targets = features - self.feature_shift, targets - self.target_shift  # both in float64, as the shifts are
        weighted = features if weights is None else features * weights.double()[:, None]
        self.gram.addmm_(weighted.T, features)
        self.cross.addmm_(weighted.T, targets)
        self.feature_sum += weighted.sum(dim=0)
        self.target_sum += targets.sum(dim=0) if weights is None else weights.double() @ targets
        self.weight += len(features) if weights is None else float(weights.double().sum())
        self.frames += len(features)

    def close(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Scale to a mean over frames and centre, once all frames are counted; returns the two means (d,) and (o,)."""
        for sums in (self.gram, self.cross, self.feature_sum, self.target_sum):
            sums /= self.weight
        self.least = _LEAST_VARIANCE * (self.gram.diagonal() + 2 * self.feature_shift * self.feature_sum + self.feature_shift**2).mean()
        if self.centred:
            self.gram.addr_(self.feature_sum, self.feature_sum, alpha=-1)
            self.cross.addr_(self.feature_sum, self.target_sum, alpha=-1)
        return self.feature_sum + self.feature_shift, self.target_sum + self.target_shift

    def solve(self, right: torch.Tensor, prior_frames: float = PRIOR_FRAMES) -> torch.Tensor:
        """(G + rho I)^-1 right, (d, o), rho = prior_frames / frames times the mean of G's diagonal; G is overwritten.

        Frames that are all the same leave nothing but rounding in G, and get no solution but 0.
        """
        diagonal = self.gram.diagonal()
        varies = diagonal.mean() > self.least
        diagonal += (prior_frames / self.frames * diagonal.mean()).clamp_min(torch.finfo(torch.float64).tiny)
        lower, info = self.gram.mT, torch.empty((), dtype=torch.int32, device=self.gram.device)
        torch.linalg.cholesky_ex(lower, out=(lower, info))  # in place: a matrix of this size is held once
        solution = right.T.contiguous().T
        torch.linalg.solve_triangular(lower, solution, upper=False, out=solution)
        torch.linalg.solve_triangular(lower.mT, solution, upper=True, out=solution)
        return solution.masked_fill_(~(varies & (info == 0)), 0.0)


def fitted_readers(
    equations: NormalEquations, maps: Sequence[LinearMap], deep_maps: Sequence[LinearMap], prior_frames: float
) -> Changes:
    """New values for maps that read one input, so that they give what the deep model's give.

    equations: those between the input (features) and the deep model's input of the same maps (targets): all maps share them.
    """
    mean, deep_mean = equations.close()
    right = [equations.cross @ deep.matrix.T - equations.gram @ own.matrix.T for own, deep in zip(maps, deep_maps)]
    solution = equations.solve(torch.cat(right, dim=1), prior_frames)
    changes = []
    for own, deep, change in zip(maps, deep_maps, solution.split([len(part.T) for part in right], dim=1)):
        residual = deep.matrix @ deep_mean + deep.offset - own.matrix @ mean - own.offset
        changes += own.changed(change.T, residual - change.T @ mean)
    return changes


def fitted_writer(equations: NormalEquations, writer: LinearMap, prior_frames: float) -> Changes:
    """New values for a map so that it also makes up for what the stream lacks.

    equations: those between its input (features) and what the stream lacks, divided by the writer's scale (targets).
    """
    mean, residual = equations.close()
    change = equations.solve(equations.cross, prior_frames).T
    return writer.changed(change, residual - change @ mean)


def exchange(changes: Changes) -> Changes:
    """Put the new values into the parameters; returns the changes that take them back."""
    old = [(parameter, parameter.detach().clone()) for parameter, _ in changes]
    for parameter, value in changes:
        parameter.data.copy_(value)
    return old
