"""What a regression among selected people tends to in large samples: least squares over both potential outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simtrial.arrays import Bools, Floats
from simtrial.batch import TrialBatch
from simtrial.kernels.segments import sum_by


@dataclass(frozen=True)
class World:
    """One arm's outcomes (participants,), who is analysed there, and the regressor whose coefficient is sought."""

    outcome: Floats
    analysed: Bools
    exposed: Floats


def cross_products(
    batch: TrialBatch, worlds: Sequence[World], adjust: Sequence[str], equal: bool
) -> tuple[Floats, ...]:
    """Cross-products of intercept, covariates, exposure and outcome by practice, both worlds added (practices,) each.

    Every practice stands in both arms, as if half of all practices were allocated to either. Where practices count
    ``equal``, a person counts one over the number analysed in that practice and arm.
    """
    practice, practices = batch.index.participant_practice, batch.index.practices
    x = [np.ones(batch.index.participants), *(v for name in adjust for v in _columns(batch, name))]
    pairs = [(i, j) for i in range(len(x) + 2) for j in range(i, len(x) + 2)]
    sums = [np.zeros(practices) for _ in pairs]
    for world in worlds:
        weight = world.analysed.astype(np.float64)
        if equal:
            weight /= np.maximum(sum_by(weight, practice, practices), 1.0)[practice]
        columns = [*x, world.exposed, world.outcome]
        for at, (i, j) in enumerate(pairs):
            sums[at] += sum_by(weight * columns[i] * columns[j], practice, practices)
    return tuple(sums)


def coefficient(sums: Sequence[Floats]) -> tuple[float, float]:
    """Coefficient of the exposure from the cross-products of practices, and its standard error, practices independent.

    Solves sum_j X_j'X_j b = sum_j X_j'y_j; practice j's influence is the last row of (X'X)^-1 (X_j'y_j - X_j'X_j b).
    """
    q = int(np.rint((np.sqrt(8 * len(sums) + 1) - 1) / 2))
    packed = np.stack(sums)
    by_practice = np.empty((q, q, packed.shape[1]))
    rows, columns = np.triu_indices(q)
    by_practice[rows, columns] = by_practice[columns, rows] = packed
    total = by_practice.sum(axis=2)
    x, y = by_practice[:-1, :-1], by_practice[:-1, -1]
    if np.linalg.matrix_rank(total[:-1, :-1], hermitian=True) < q - 1:
        return float("nan"), float("nan")
    beta = np.linalg.solve(total[:-1, :-1], total[:-1, -1])
    direction = np.linalg.solve(total[:-1, :-1], np.eye(q - 1)[-1])
    influence = direction @ (y - np.einsum("ijn,j->in", x, beta))
    return float(beta[-1]), float(np.sqrt((influence**2).sum()))


def _columns(batch: TrialBatch, name: str) -> list[Floats]:
    """A covariate as it stands, or indicators of its categories but the first (participants,) each."""
    column, values = batch.columns[name], batch.at(name)
    if column.categories:
        return [(values == code).astype(np.float64) for code in range(1, len(column.categories))]
    return [np.asarray(values, dtype=np.float64)]
