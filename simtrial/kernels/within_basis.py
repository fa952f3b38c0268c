"""Columns turned so that their products within clusters are diagonal, with exact zeros where nothing varies.

As gamma grows, M(gamma) = W + sum_j a_j z_j z_j' of `simtrial.kernels.random_intercept_criterion` comes down to W, and
what W leaves undetermined to sums that are 1 / gamma of it. Where covariates are collinear within clusters, or use up
all that varies there, W holds rounding in that place, which outweighs these sums. With A unit upper triangular such
that A'WA is diagonal, the columns [X y]A have the same log|C| and residual sum of squares at every gamma, and those
zeros are exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from simtrial.arrays import Bools, Floats, Ints
from simtrial.kernels.random_intercept_criterion import Evaluation, SizeSums, evaluate
from simtrial.kernels.small_matrices import ALIASED, independent, multiply, pairs, unpack

_COLLINEAR = 1e-6
"""Share of a covariate's within-cluster squares that others leave, below which columns are turned.

Unturned, W is off by eps of its squares, so that a share s is known to eps / s: to some 1e-10 at this one.
"""


@dataclass(frozen=True)
class Turned:
    """``sums`` of the turned columns, and A (q, q, some) of the ``trials`` (some,) in which it is not the identity."""

    sums: SizeSums
    trials: Ints
    turn: Floats

    def evaluate(self, gamma: Floats, nu: Floats, reml: bool) -> tuple[Evaluation, Floats]:
        """Evaluate the criterion; coefficients and C^-1 of the plain columns, and C^-1 (p, p, trials) of the turned."""
        at = evaluate(self.sums, gamma, nu, reml)
        if not len(self.trials):
            return at, at.inverse
        p, some = self.sums.regressors, self.trials
        inverse, coefficients = at.inverse.copy(), at.coefficients.copy()
        inverse[:, :, some] = multiply(multiply(self._columns, at.inverse[:, :, some]), self._columns.swapaxes(0, 1))
        coefficients[:, some] = np.einsum("ijr,jr->ir", self._columns, coefficients[:, some]) - self.turn[:p, p]
        return replace(at, inverse=inverse, coefficients=coefficients), at.inverse

    def contrast(self, plain: Floats) -> Floats:
        """Contrasts (p, ..., trials) of the plain columns' coefficients as contrasts of those of the turned."""
        if not len(self.trials):
            return plain
        out = plain.copy()
        out[..., self.trials] = np.einsum("jir,j...r->i...r", self._columns, plain[..., self.trials])
        return out

    @property
    def _columns(self) -> Floats:
        return self.turn[: self.sums.regressors, : self.sums.regressors]


def turned(sums: SizeSums) -> Turned:
    """Turn the columns of the trials that need it; most do not, and keep theirs."""
    some = np.flatnonzero(_collinear(sums) | used_up(sums))
    if not len(some):
        return Turned(sums, some, np.empty((0, 0, 0)))
    own = sums.take(some)
    turn, squares = _diagonal(own)
    rows, columns = pairs(len(turn))
    within, between = sums.within.copy(), sums.between.copy()
    within[:, some] = np.where((rows == columns)[:, None], squares[rows], 0.0)
    whole = unpack(own.between.transpose(1, 0, 2), len(turn))
    moved = np.einsum("kir,klsr,ljr->ijsr", turn, whole, turn, optimize=True)
    between[:, :, some] = moved[rows, columns].transpose(1, 0, 2)
    return Turned(replace(sums, within=within, between=between), some, turn)


def used_up(sums: SizeSums) -> Bools:
    """Whether covariates use up all degrees of freedom within clusters, of which there are some (trials,)."""
    spare = np.asarray(sums.rows - sums.counts.sum(axis=0))
    out = (spare > 0.0) & (spare <= sums.regressors)
    some = np.flatnonzero(out)
    if len(some):
        out[some] = left_within(sums.take(some)) <= 0.0
    return out


def left_within(sums: SizeSums) -> Floats:
    """Degrees of freedom that X leaves within clusters (trials,)."""
    inside = _inside(sums)
    kept = independent(inside, np.einsum("iir->ir", inside))
    return np.asarray(sums.rows - sums.counts.sum(axis=0) - kept.sum(axis=0))


def _inside(sums: SizeSums) -> Floats:
    """Within-cluster products of X (p, p, trials), 0 for dropped columns."""
    p, at = sums.regressors, np.arange(sums.regressors)
    inside = unpack(sums.within, p + 1)[:p, :p]
    inside[at, at] -= sums.dropped
    return inside


def _collinear(sums: SizeSums) -> Bools:
    """Whether a covariate varies within clusters, but hardly beyond those before it (trials,)."""
    at = np.arange(sums.regressors)
    squares = sums.within[at * (at + 3) // 2] - sums.dropped  # the diagonal of the packed triangle
    if (squares > 0.0).any(axis=1).sum() < 2:  # one covariate of people has nothing to be collinear with
        return np.zeros(len(sums.rows), dtype=bool)
    return np.asarray(((squares > 0.0) & ~independent(_inside(sums), squares, _COLLINEAR)).any(axis=0))


def _diagonal(sums: SizeSums) -> tuple[Floats, Floats]:
    """A (q, q, trials) by elimination in order, and the diagonal of A'WA (q, trials)."""
    p = sums.regressors
    work = unpack(sums.within, p + 1).copy()
    scale = np.einsum("iir->ir", work).copy()
    turn = np.zeros_like(work)
    turn[np.arange(p + 1), np.arange(p + 1)] = 1.0
    for k in range(p):
        pivot = work[k, k]
        kept = pivot > ALIASED * scale[k]
        ratio = np.where(kept, work[k], 0.0) / np.where(kept, pivot, 1.0)
        work[k, k] = np.where(kept, pivot, 0.0)
        for i in range(k + 1, p + 1):
            turn[:, i] -= ratio[i] * turn[:, k]
            work[k + 1 : i + 1, i] -= ratio[i] * work[k, k + 1 : i + 1]
        work[k + 1 :, k + 1 :] = _mirrored(work[k + 1 :, k + 1 :])
    squares = np.maximum(np.einsum("iir->ir", work), 0.0)
    squares[p] = np.where(used_up(sums), 0.0, squares[p])
    return turn, squares


def _mirrored(upper: Floats) -> Floats:
    """Full symmetric matrices from their upper triangles."""
    rows, columns = pairs(len(upper))
    return unpack(upper[rows, columns], len(upper))
