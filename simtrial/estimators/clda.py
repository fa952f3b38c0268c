"""Constrained longitudinal data analysis: baseline and follow-up as outcomes, equal arm means at baseline."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simtrial.arrays import Bools, Floats
from simtrial.batch import ObservedBatch
from simtrial.estimators import Estimates, Method, register, report
from simtrial.estimators.visit_rows import VisitData, prepare
from simtrial.flags import BIT
from simtrial.kernels.two_visits_fit import Fit, fit
from simtrial.moments.moments import Moments
from simtrial.moments.rows import Spec

SINGULAR = 1e-8  # smaller eigenvalue of the practice covariance, as a share of the variance of the outcomes

COLLINEAR = 1e-6  # the same of the residual covariance
VANISHED = 1e-6  # residual variance within practices as a share of the whole


@register("clda")
class ConstrainedLongitudinal(Method):
    """Baseline and follow-up as rows of one model whose baseline mean is the same in both arms.

    Liang and Zeger (2000, Sankhya B 62:134-148); Lu (2010, Biometrics 66:891-896). Covariates have coefficients of
    their own at each visit; residuals and practice effects have unstructured covariances over the visits. Everyone with
    a baseline or a follow-up is analysed.
    """

    kind: Literal["clda"] = "clda"
    estimation: Literal["reml", "ml"] = Field("reml", description="restricted or full maximum likelihood")
    df: Literal["clusters-p", "normal"] = Field("clusters-p", description="df of the t interval")

    def spec(self) -> Spec:
        """Follow-up and the covariates without the baseline, which is a row of its own here."""
        where = (self.subset,) if self.subset else ()
        others = tuple(name for name in self.adjust or () if name != self._baseline)
        return Spec(f"{self.response}_followup", None, others, where)

    def reads(self) -> frozenset[str]:
        """Names of the observed columns the method needs."""
        return super().reads() | {self._baseline}

    @property
    def _baseline(self) -> str:
        return f"{self.response}_baseline"

    def fit(
        self, batch: ObservedBatch, moments: Moments, rng: np.random.Generator | None, every_term: bool = False
    ) -> Estimates:
        """Fit every trial from sums by practice and pattern; see `simtrial.kernels.two_visits_criterion`."""
        data = prepare(batch, self.spec(), self._baseline)
        trials, usable = batch.index.trials, np.flatnonzero(~data.failed)
        flags, failed = data.flags.copy(), data.failed.copy()
        blank = np.full(trials, np.nan)
        estimate, variance, extras = blank, blank.copy(), {name: blank.copy() for name in EXTRAS}
        if len(usable):
            found = FittedVisits.of(data, usable, self.estimation == "reml")
            estimate[usable], variance[usable] = found.estimate, found.variance
            for name, values in found.extras.items():
                extras[name][usable] = values
            flags[usable] |= found.flags
            failed[usable] |= found.flat | found.collinear
        df = np.full(trials, np.inf) if self.df == "normal" else data.df
        return report(
            replace(moments, analysed=data.rows), ("arm",), estimate[None], variance[None], df[None], self.level,
            failed=failed, flags=flags, extras=extras, in_outcome_units=False,
        )  # fmt: skip


OF_PRACTICES = ("icc", "tau2", "tau2_baseline", "tau2_both")
EXTRAS = (*OF_PRACTICES, "sigma2", "sigma2_baseline", "correlation", "loglik")


@dataclass(frozen=True, kw_only=True)
class FittedVisits:
    """The model fitted to usable trials, and what it says in units of the data.

    ``alone`` (trials,) is where every practice has one person; ``scale`` (2, trials) and ``fitted`` (trials,) are as in
    `VisitData`; units add ``constant`` to the criterion, and log 2 pi as often as ``degrees`` (trials,).
    """

    found: Fit
    alone: Bools
    scale: Floats
    fitted: Floats
    constant: Floats
    degrees: Floats

    @classmethod
    def of(cls, data: VisitData, usable: NDArray[np.intp], reml: bool) -> FittedVisits:
        """Fit the usable trials."""
        alone, scale = data.unclustered[usable], data.scale[:, usable]
        found = fit(data.sums.take(usable), alone, reml)
        rows = data.visits[:, usable]
        constant = 2.0 * (rows[0] * np.log(scale[0]) + rows[1] * np.log(scale[1]))
        degrees = rows.sum(axis=0)
        if reml:
            constant += data.design_scale[usable]
            degrees = degrees - data.sums.dropped.shape[1] + data.sums.dropped[usable].sum(axis=1)
        return cls(
            found=found, alone=alone, scale=scale, fitted=data.fitted[usable],
            constant=constant, degrees=degrees,
        )  # fmt: skip

    @property
    def estimate(self) -> Floats:
        """Coefficient of arm at follow-up (trials,), NaN where no optimum was reached."""
        effect = self.found.at.coefficients[-1] * self.scale[1] + self.fitted
        return np.where(self.found.converged, effect, np.nan)

    @property
    def variance(self) -> Floats:
        """Model variance of that coefficient (trials,)."""
        return np.asarray(self.found.at.inverse[-1, -1] * self.scale[1] ** 2)

    @property
    def flat(self) -> Bools:
        """Where an outcome does not vary within practices (trials,)."""
        return np.asarray(np.minimum(self.found.e[0, 0], self.found.e[1, 1]) < VANISHED)

    @property
    def collinear(self) -> Bools:
        """Where the residuals of both visits are collinear (trials,): so few share a practice that nothing bounds them.

        There, as where the outcome is flat, the criterion falls without bound.
        """
        return ~(_least_eigenvalue(self.found.e) > COLLINEAR) & ~self.flat

    @property
    def flags(self) -> NDArray[np.int64]:
        """What is odd about the fit (trials,)."""
        edge = _least_eigenvalue(self.found.u) < SINGULAR
        flags = np.where(edge & ~self.alone, BIT["boundary"], 0).astype(np.int64)
        flags |= np.where(~self.found.converged, BIT["not_converged"], 0)
        flags |= np.where(self.flat, BIT["constant_within"], 0)
        return flags | np.where(self.collinear, BIT["tau2_not_identified"], 0)

    @property
    def extras(self) -> dict[str, Floats]:
        """Variances (follow-up unless named otherwise), correlations over visits, log-likelihood (trials,)."""
        first, second = self.scale
        e, u = self.found.e, self.found.u
        every = {
            "icc": u[1, 1] / (u[1, 1] + e[1, 1]),
            "tau2": u[1, 1] * second**2,
            "sigma2": e[1, 1] * second**2,
            "tau2_baseline": u[0, 0] * first**2,
            "sigma2_baseline": e[0, 0] * first**2,
            "correlation": e[0, 1] / np.sqrt(e[0, 0] * e[1, 1]),
            "tau2_both": u[0, 1] * first * second,
            "loglik": -0.5 * (self.found.at.value + self.constant + self.degrees * np.log(2.0 * np.pi)),
        }
        return {name: np.where(self.alone & (name in OF_PRACTICES), np.nan, x) for name, x in every.items()}


def _least_eigenvalue(matrix: Floats) -> Floats:
    return np.asarray(np.linalg.eigvalsh(matrix.transpose(2, 0, 1))[:, 0])
