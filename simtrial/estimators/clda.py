"""Constrained longitudinal data analysis: baseline and follow-up as outcomes, equal arm means at baseline."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simtrial.batch import ObservedBatch
from simtrial.estimators import Estimates, Method, register, report
from simtrial.estimators.visit_rows import VisitData, prepare
from simtrial.flags import BIT
from simtrial.kernels.two_visits_fit import Fit, fit
from simtrial.moments.moments import Moments
from simtrial.moments.rows import Spec

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
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
            alone = data.unclustered[usable]
            found = fit(data.sums.take(usable), alone, self.estimation == "reml")
            scale = data.scale[:, usable]
            estimate[usable] = found.at.coefficients[-1] * scale[1] + data.fitted[usable]
            estimate[usable[~found.converged]] = np.nan  # refused
            variance[usable] = found.at.inverse[-1, -1] * scale[1] ** 2
            for name, values in _extras(found, data, usable, self.estimation == "reml").items():
                extras[name][usable] = np.where(alone & (name in OF_PRACTICES), np.nan, values)
            edge = np.linalg.eigvalsh(found.u.transpose(2, 0, 1))[:, 0] < SINGULAR
            flags[usable] |= np.where(edge & ~alone, BIT["boundary"], 0)
            flags[usable] |= np.where(~found.converged, BIT["not_converged"], 0)
            flat, collinear = degenerate(found)
            flags[usable] |= np.where(flat, BIT["constant_within"], 0)
            flags[usable] |= np.where(collinear, BIT["tau2_not_identified"], 0)
            failed[usable] |= flat | collinear
        df = np.full(trials, np.inf) if self.df == "normal" else data.df
        return report(
            replace(moments, analysed=data.rows), ("arm",), estimate[None], variance[None], df[None], self.level,
            failed=failed, flags=flags, extras=extras, in_outcome_units=False,
        )  # fmt: skip


OF_PRACTICES = ("icc", "tau2", "tau2_baseline", "tau2_both")
EXTRAS = (*OF_PRACTICES, "sigma2", "sigma2_baseline", "correlation", "loglik")


def degenerate(found: Fit) -> tuple[Bools, Bools]:
    """Where an outcome does not vary within practices, and where the residuals of both visits are collinear (trials,).

    Then the criterion falls without bound: in the second case because so few share a practice.
    """
    flat = np.minimum(found.e[0, 0], found.e[1, 1]) < VANISHED
    return flat, ~(np.linalg.eigvalsh(found.e.transpose(2, 0, 1))[:, 0] > COLLINEAR) & ~flat


def _extras(found: Fit, data: VisitData, usable: NDArray[np.intp], reml: bool) -> dict[str, Floats]:
    """Variances in units of the data (follow-up unless named otherwise), correlations over visits, log-likelihood."""
    first, second = data.scale[:, usable]
    e, u = found.e, found.u
    at, rows = found.at, data.visits[:, usable]
    constant = 2.0 * (rows[0] * np.log(first) + rows[1] * np.log(second))
    degrees = rows.sum(axis=0)
    if reml:
        constant += data.design_scale[usable]
        degrees = degrees - data.sums.dropped.shape[1] + data.sums.dropped[usable].sum(axis=1)
    return {
        "icc": u[1, 1] / (u[1, 1] + e[1, 1]),
        "tau2": u[1, 1] * second**2,
        "sigma2": e[1, 1] * second**2,
        "tau2_baseline": u[0, 0] * first**2,
        "sigma2_baseline": e[0, 0] * first**2,
        "correlation": e[0, 1] / np.sqrt(e[0, 0] * e[1, 1]),
        "tau2_both": u[0, 1] * first * second,
        "loglik": -0.5 * (at.value + constant + degrees * np.log(2.0 * np.pi)),
    }
