"""Generalised estimating equations, with standard errors corrected for few practices."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simtrial.arrays import Bools, Floats
from simtrial.batch import ObservedBatch
from simtrial.estimators import OF_A_FIT, Estimates, Method, register, report, terms_of
from simtrial.flags import BIT
from simtrial.kernels import gee as kernel
from simtrial.kernels import sandwich
from simtrial.moments.moments import Moments

StandardError = Literal["kauermann-carroll", "robust", "mancl-derouen", "fay-graubard"]

CORRECTIONS: dict[StandardError, sandwich.Correction] = {
    "robust": "CR0",
    "kauermann-carroll": "CR2",
    "mancl-derouen": "CR3",
    "fay-graubard": "CR0",  # corrects the scores, not the residuals
}


@register("gee")
class EstimatingEquations(Method):
    """Population-averaged model of the outcome on arm and covariates; practices share a working correlation.

    ``working``: exchangeable (one correlation alpha between any two people of a practice, possibly negative) or
    independence. ``se``: robust is Liang and Zeger's sandwich, too small with few practices; the others correct it.
    ``moments``: whether the divisors of phi and alpha lose the number of coefficients.
    """

    kind: Literal["gee"] = "gee"
    working: Literal["exchangeable", "independence"] = Field("exchangeable", description="working correlation")
    se: StandardError = Field("kauermann-carroll", description="standard error")
    df: Literal["clusters-p", "normal"] = Field("clusters-p", description="degrees of freedom of the t interval")
    moments: Literal["n-p", "n"] = Field("n-p", description="divisors of phi and alpha: less p, or not")

    def fit(
        self, batch: ObservedBatch, moments: Moments, rng: np.random.Generator | None, every_term: bool = False
    ) -> Estimates:
        """Fit every trial; see `simtrial.kernels.gee` for the algorithm."""
        terms = terms_of(moments, self.target, every_term)
        trials, usable = moments.trials, moments.usable
        flags, failed = moments.flags.copy(), moments.failed.copy()
        estimate, variance = np.full((2, len(terms), trials), np.nan)
        extras = {name: np.full(trials, np.nan) for name in ("alpha", "phi")}
        if len(usable):
            found = kernel.fit(moments.size_sums(), self.working == "exchangeable", self.moments == "n-p")
            contrasts = np.stack([moments.contrast(term)[:, usable] for term in terms])
            estimate[:, usable] = np.einsum("lpr,pr->lr", contrasts, found.coefficients)
            if "intercept" in terms:
                estimate[terms.index("intercept"), usable] += moments.center[moments.regressors, usable]
            variance[:, usable], lonely = _variances(moments, found, contrasts, terms, self.se)
            flags[usable] = _flags(found, lonely, flags[usable])
            estimate[:, usable] = np.where(found.converged, estimate[:, usable], np.nan)  # refused
            extras["alpha"][usable] = np.where(found.identified, found.alpha, np.nan)
            extras["phi"][usable] = found.phi
        between = moments.clusters - moments.cluster_rank
        saturated = ~failed & (between <= 0)  # the scores of whole clusters are 0: no sandwich can be made of them
        flags[saturated] |= BIT["tau2_not_identified"]
        df = np.broadcast_to(np.inf if self.df == "normal" else between, estimate.shape)
        return report(
            moments, terms, estimate, variance, df, self.level, failed=failed | saturated, flags=flags, extras=extras
        )


def _flags(found: kernel.Fit, lonely: Bools, flags: NDArray[np.int64]) -> NDArray[np.int64]:
    flags = flags | np.where(lonely, BIT["leverage_one"], 0) | np.where(found.identified, 0, BIT["tau2_not_identified"])
    return np.where(found.converged, flags, flags & ~OF_A_FIT | BIT["not_converged"])


def _variances(
    moments: Moments, found: kernel.Fit, contrasts: Floats, terms: tuple[str, ...], se: StandardError
) -> tuple[Floats, Bools]:
    """Variances of contrasts (terms, p, usable trials), and where a cluster has leverage one (usable trials,)."""
    usable, p = moments.usable, moments.regressors
    sizes = np.zeros(moments.basis.shape[:2])
    sizes[moments.cluster_trial, moments.analysed.position] = moments.sizes
    whole = len(usable) == moments.trials
    x, y, sizes = (a if whole else a[usable] for a in (moments.basis, moments.responses[..., :1], sizes))
    x, y = (kernel.whitened(a, sizes, found.gamma) for a in (x, y))
    beta, variances = found.coefficients[:, None], np.empty((len(terms), len(usable)))
    for at, contrast in enumerate(contrasts):
        if at == 0 or se != "fay-graubard":
            leverage = sandwich.leverage(x, found.inverse, contrast, CORRECTIONS[se])
            variances[at] = sandwich.variance(leverage, x, y, beta)[0, 0]
    if se == "fay-graubard":
        residual = y[..., 0] - np.einsum("tckp,pt->tck", x, found.coefficients)
        center = (moments.center[:p] * moments.kept)[:, usable]
        places = np.array([0 if term == "intercept" else moments.terms.index(term) for term in terms])
        variances = kernel.fay_graubard(x, residual, found.inverse, center, places)
    return variances, leverage.singular
