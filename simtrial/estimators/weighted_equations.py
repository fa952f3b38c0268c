"""Estimating equations of those observed, weighted by inverse probabilities, and what their sandwich needs.

With V_j exchangeable among all n_j people of practice j, observed or not, V_j^-1 is proportional to I - k_j 11' with
k_j = alpha / (1 + (n_j - 1) alpha). The equations sum_j X_j'V_j^-1 W_j (y_j - X_j b) = 0 (Robins, Rotnitzky and Zhao
1995) are then sum over those observed of w_i (x_i - k_j sum_j x) (y_i - x_i'b) = 0: unbiased, because neither k_j nor
the sum depends on who is observed. alpha = 0 is weighted least squares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simtrial.arrays import Bools, Floats
from simtrial.batch import ObservedBatch
from simtrial.estimators.being_observed import BeingObserved
from simtrial.kernels.gee import INSIDE, ahead
from simtrial.kernels.sandwich import SINGULAR, matrix_power
from simtrial.kernels.segments import largest_by, sum_by
from simtrial.kernels.small_matrices import apply, cholesky, multiply, sweep
from simtrial.moments.build import predictors
from simtrial.moments.moments import Moments
from simtrial.moments.rows import Spec

ITERATIONS = 100
SLOW = 40  # turns after which steps that still shrink are near a root, however slowly
STILL, ROUNDING = 1e-13, 1e-9  # steps of alpha that are none, and those that are if they no longer shrink


@dataclass(frozen=True, kw_only=True)
class Equations:
    """Weighted equations of every trial: design ``x`` (p, rows), outcome and weights (rows,) of those observed.

    ``kept`` (p, trials) are the columns that are no combinations of others; the rest are 0. ``sums`` (p, practices) and
    ``sizes`` (practices,) are sums of the design and numbers over everybody of a practice whom V_j is about.
    """

    made: Moments
    x: Floats
    kept: Bools
    weight: Floats
    sums: Floats
    sizes: Floats

    @classmethod
    def of(cls, batch: ObservedBatch, spec: Spec, made: Moments, observed: BeingObserved, weight: Floats) -> Equations:
        """The equations of an analysis among those who have a weight."""
        everyone = observed.everyone
        sums = observed.per_practice(predictors(batch, spec, made, everyone.rows))
        return cls(
            made=made, x=made.design[: made.regressors], kept=made.kept, weight=weight, sums=sums,
            sizes=observed.per_practice(np.ones(len(everyone.rows))),
        )  # fmt: skip

    @classmethod
    def plain(cls, made: Moments, x: Floats, kept: Bools) -> Equations:
        """Those of `gee`, on columns (p, rows): V_j is about those observed, and everybody counts one."""
        rows, ones = made.analysed, np.ones(x.shape[1])
        practice, practices = rows.index.participant_practice[rows.rows], rows.index.practices
        sums, sizes = (sum_by(values, practice, practices) for values in (x, ones))
        return cls(made=made, x=x, kept=kept, weight=ones, sums=sums, sizes=sizes)

    @property
    def y(self) -> Floats:
        """Outcome (rows,)."""
        return np.asarray(self.made.design[self.made.regressors])

    def by_practice(self, values: Floats) -> Floats:
        """Sums of rows over practices (..., practices)."""
        rows = self.made.analysed
        return sum_by(values, rows.index.participant_practice[rows.rows], rows.index.practices)

    def by_trial(self, values: Floats) -> Floats:
        """Sums of practices over trials (..., trials)."""
        return sum_by(values, self.made.analysed.index.practice_trial, self.made.trials)

    def solved(self, alpha: Floats) -> Solution:
        """Coefficients at alpha (trials,)."""
        rows, p, trial = self.made.analysed, len(self.x), self.made.analysed.index.practice_trial
        own = alpha[trial]
        lean = own / (1.0 + (self.sizes - 1.0) * own) * self.sums
        turned = self.x - lean[:, rows.index.participant_practice[rows.rows]] if alpha.any() else self.x
        products = np.stack([self.by_practice(each * self.weight * self.x) for each in turned])
        total = np.zeros((p + 1, p + 1, self.made.trials))
        total[:p, :p] = self.by_trial(products)
        total[range(p), range(p)] += ~self.kept
        total[:p, p] = self.by_trial(self.by_practice(turned * (self.weight * self.y)))
        total[:, :, self.made.failed] = np.eye(p + 1)[:, :, None]
        with np.errstate(all="ignore"):
            inverse, coefficients, _, _ = sweep(total, p)
        beta = coefficients[:, 0] * self.kept
        residual = self.y - np.einsum("pn,pn->n", self.x, beta[:, rows.trial])
        return Solution(
            equations=self, alpha=alpha, coefficients=beta, inverse=inverse, products=products, turned=turned,
            residual=residual,
        )  # fmt: skip

    def correlation(self) -> tuple[Floats, Bools, Bools]:
        """Working correlation by moments weighted by pairs, whether it settled, and whether there are pairs for it.

        phi = sum w e^2 / (sum w - p), alpha = sum over pairs w_i w_k e_i e_k / {(sum over pairs w_i w_k - p) phi}:
        those of `gee` where all weights are 1.
        """
        p, weight, largest = self.kept.sum(axis=0), self.weight, self._largest()
        people, pairs = self.by_trial(self.by_practice(weight)), self._pairs(np.ones_like(weight))
        identified = (pairs > p) & (people > p) & ~self.made.failed
        low = (INSIDE - 1.0) / np.maximum(largest - 1.0, 1.0)
        alpha, moving = np.zeros(self.made.trials), identified
        before = step = np.full(self.made.trials, np.nan)
        for turn in range(ITERATIONS):
            residual = self.solved(alpha).residual
            with np.errstate(invalid="ignore", divide="ignore"):
                phi = self.by_trial(self.by_practice(weight * residual**2)) / (people - p)
                last, step = step, np.clip(self._pairs(residual) / ((pairs - p) * phi), low, 1.0 - INSIDE) - alpha
            size = np.abs(step)
            moving = moving & ~((size <= STILL) | ((size <= ROUNDING) & (size >= np.abs(last))))
            if not moving.any():
                break
            to = ahead(alpha, step, before, last, 0.5 if turn < SLOW else 0.99)
            to = np.clip(to, low, 1.0 - INSIDE)
            before, alpha = alpha, np.where(moving, to, alpha)
        settled = ~moving & (alpha > low + STILL) & (alpha < 1.0 - INSIDE - STILL)
        return alpha, settled | ~identified, identified

    def _pairs(self, values: Floats) -> Floats:
        """Sum over pairs of people of a practice of w_i v_i w_k v_k (trials,)."""
        own = self.weight * values
        return self.by_trial(0.5 * (self.by_practice(own) ** 2 - self.by_practice(own**2)))

    def _largest(self) -> Floats:
        return largest_by(self.sizes, self.made.analysed.index.practice_trial, self.made.trials)


@dataclass(frozen=True, kw_only=True)
class Solution:
    """Coefficients (p, trials) at a working correlation, and what a sandwich needs.

    ``inverse`` (p, p, trials) of A = sum of ``products`` A_j (p, p, practices), ``turned`` x_i - k_j sum_j x (p, rows),
    ``residual`` (rows,).
    """

    equations: Equations
    alpha: Floats
    coefficients: Floats
    inverse: Floats
    products: Floats
    turned: Floats
    residual: Floats

    def scores(self, observed: BeingObserved, slope: Floats) -> Floats:
        """Scores of practices, less what estimating the weights takes off (p, practices).

        s_j - D I^-1 S_j, with D = sum of slope (x - k_j sum_j x) e z' and ``slope`` = -dw/d(linear predictor).
        """
        own = self.equations.by_practice(self.turned * (self.equations.weight * self.residual))
        z, group = observed.columns[:, observed.place], observed.group[observed.place]
        groups = observed.inverse.shape[-1]
        moved = np.stack([sum_by(z * (each * self.residual * slope), group, groups) for each in self.turned])
        taken_off = multiply(moved, observed.inverse)
        estimated = np.einsum("pqn,qn->pn", taken_off[:, :, observed.group], observed.score)
        return own - observed.per_practice(estimated)

    def variances(self, scores: Floats, contrasts: list[Floats], power: float) -> tuple[Floats, Bools]:
        """Variances of contrasts (terms, trials), and where a practice has leverage one (trials,).

        The score of practice j is multiplied by (I - A_j A^-1)^power before it is summed.
        """
        made = self.equations.made
        trial, trials = made.analysed.index.practice_trial, made.trials
        if self.alpha.any():
            adjusted, singular = _turned_power(multiply(self.products, self.inverse[:, :, trial]), scores, power)
        else:
            adjusted, singular = self._adjusted(scores, power)
        lonely = np.zeros(trials, dtype=bool)
        lonely[trial[singular]] = True
        inverse = self.inverse * made.kept * made.kept[:, None]
        ends = [np.einsum("pt,pqt->qt", contrast, inverse) for contrast in contrasts]
        found = np.stack([sum_by((end[:, trial] * adjusted).sum(axis=0) ** 2, trial, trials) for end in ends])
        return found, lonely & ~made.failed

    def _adjusted(self, scores: Floats, power: float) -> tuple[Floats, Bools]:
        """Symmetric A = (LL')^-1: (I - A_j A^-1)^power = L'^-1 (I - L'A_j L)^power L'."""
        made = self.equations.made
        trial, size = made.analysed.index.practice_trial, len(self.inverse)
        if not power:
            return scores, np.zeros(len(trial), dtype=bool)
        inverse = self.inverse * made.kept * made.kept[:, None]
        inverse[range(size), range(size)] += ~made.kept
        with np.errstate(invalid="ignore", divide="ignore"):
            lower = cholesky(inverse)
        upper = lower.transpose(1, 0, 2)
        back = _inverses(upper)
        hat = multiply(multiply(upper[:, :, trial], self.products), lower[:, :, trial])
        adjust, singular = matrix_power(np.eye(size)[:, :, None] - hat, power)
        return apply(back[:, :, trial], apply(adjust, apply(upper[:, :, trial], scores))), singular


def _inverses(matrix: Floats) -> Floats:
    """Inverses (p, p, trials); of a matrix that is no number, something."""
    stacked = np.moveaxis(np.asarray(matrix), 2, 0)
    good = np.isfinite(stacked).all(axis=(1, 2), keepdims=True)
    found = np.linalg.inv(np.where(good, stacked, np.eye(len(matrix))))
    return np.asarray(np.moveaxis(found, 0, 2), dtype=np.float64)


def _turned_power(hat: Floats, scores: Floats, power: float) -> tuple[Floats, Bools]:
    """(I - hat)^power times scores for hats that are not symmetric (p, p, practices), by their eigenvectors.

    Eigenvalues of I - hat that are 0 stay 0, as in `simtrial.kernels.sandwich`.
    """
    if not power:
        return scores, np.zeros(scores.shape[1], dtype=bool)
    stacked = np.moveaxis(hat, 2, 0)
    finite: Bools = np.asarray(np.isfinite(stacked).all(axis=(1, 2)))
    stacked = np.where(finite[:, None, None], stacked, 0.0)
    values, vectors = np.linalg.eig(np.eye(hat.shape[0]) - stacked)
    zero = np.abs(values) < SINGULAR
    raised = np.where(zero, 0.0, np.where(zero, 1.0, values).astype(np.complex128) ** power)
    moved = np.linalg.solve(vectors, scores.T[:, :, None].astype(np.complex128))
    out = (vectors @ (raised[:, :, None] * moved)).real[:, :, 0].T
    return np.where(finite, out, np.nan), np.asarray(zero.any(axis=1))
