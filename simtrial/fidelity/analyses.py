"""Results of the paper's analyses in observed trials: estimates, crude intracluster correlations, interactions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from simtrial.arrays import Floats
from simtrial.batch import ObservedBatch
from simtrial.errors import SimtrialError
from simtrial.estimators import Estimates, Method, method_class
from simtrial.estimators.fitting import fit
from simtrial.estimators.icc import reml
from simtrial.estimators.lmm import between_within
from simtrial.fidelity.quantities import SUBSETS
from simtrial.generate import Variable
from simtrial.kernels.joint_test import wald
from simtrial.moments.build import moments
from simtrial.moments.moments import Moments
from simtrial.moments.rows import Spec
from simtrial.moments.shared import SharedMoments
from simtrial.seeding import stream

ESTIMATED = {"estimate": "estimate", "ci_lower": "ci_lower", "ci_upper": "ci_upper", "p": "p_value"}
CORRELATED = ("icc", "icc_lower", "icc_upper")
ADJUSTED: dict[str, tuple[str, ...]] = {"partial": (), "full": ("region", "practice_size")}
RECEIVED = {"cace_i": "sessions >= 6", "cace_ii": "goal_sessions >= 4"}
SUBSET_ROWS = ("window", "available", "pre", "during")


@dataclass(frozen=True)
class AnalysisRequest:
    """A result of an analysis: ``p:mansa:full:window``, ``icc:mansa`` or ``wald:mansa:full:arm*region``."""

    statistic: str
    response: str
    adjustment: str = ""
    variant: str = ""


@cache
def read_request(text: str) -> AnalysisRequest:
    """Read a name of a result, ``statistic:response[:adjustment[:variant]]``."""
    found = AnalysisRequest(*text.split(":"))
    known = ["", "mi", *SUBSET_ROWS, *RECEIVED]
    fits = {
        **dict.fromkeys(ESTIMATED, found.adjustment in ADJUSTED and found.variant in known),
        **dict.fromkeys(CORRELATED, not found.adjustment),
        "wald": found.adjustment in ADJUSTED and bool(found.variant),
    }
    if not fits.get(found.statistic):
        raise SimtrialError(f"'{text}' names no result of an analysis")
    return found


@cache
def method(response: str, adjustment: str, variant: str) -> Method:
    """Return the analysis of the paper: a random-intercept model of change, t on practices less coefficients.

    Subsets are analysed per protocol; complier effects by two-stage least squares with normal intervals.
    """
    lmm: dict[str, object] = {"kind": "lmm", "df": "between-within"}
    common = {
        "name": f"{variant or 'primary'}, {adjustment}", "response": response, "outcome": "change",
        "adjust": [f"{response}_baseline", *ADJUSTED[adjustment]],
    }  # fmt: skip
    own: dict[str, object] = lmm
    if variant == "mi":
        own = {"kind": "mi", "auxiliary": ["sessions"], "m": 20, "analysis": lmm}
        common["name"] = f"multiple imputation, {adjustment}"
    elif variant in RECEIVED:
        own = {"kind": "iv", "received": RECEIVED[variant], "se": "CR2", "df": "normal"}
    elif variant:
        own = {"kind": "per-protocol", "keep": SUBSETS[variant], "analysis": lmm}
    return method_class(str(own["kind"])).model_validate({**common, **own})


def reads(wanted: AnalysisRequest) -> frozenset[str]:
    """Columns that a result needs."""
    if wanted.statistic in ESTIMATED:
        return method(wanted.response, wanted.adjustment, wanted.variant).reads()
    needed = {"arm", f"{wanted.response}_followup", f"{wanted.response}_baseline"}
    if wanted.statistic == "wald":
        needed |= {*ADJUSTED[wanted.adjustment], wanted.variant.removeprefix("arm*")}
    return frozenset(needed)


def problem(wanted: AnalysisRequest, available: Mapping[str, Variable]) -> str:
    """Why trials with these variables do not allow an analysis; empty: they do."""
    absent = sorted(n for n in reads(wanted) if n not in available or available[n].latent)
    if absent:
        return f"no column {', '.join(absent)}"
    factor = wanted.variant.removeprefix("arm*")
    if wanted.statistic == "wald" and len(available[factor].categories) < 2:
        return f"{factor} has no two categories"
    return ""


class Analysed:
    """Observed trials of one block, each analysis computed once on demand.

    ``seed``, ``cell`` and ``block`` address the draws of multiple imputation, which are those of a run.
    """

    def __init__(self, batch: ObservedBatch, seed: int, cell: str, block: int) -> None:
        self.batch = batch
        self.address = (seed, cell, block)
        self.shared = SharedMoments(batch)
        self._fits: dict[tuple[str, str, str], Estimates] = {}

    def value(self, wanted: AnalysisRequest) -> Floats:
        """Result in every trial (trials,), NaN where the fit failed."""
        if wanted.statistic in ESTIMATED:
            found = self._fit(wanted.response, wanted.adjustment, wanted.variant)
            return np.asarray(getattr(found, ESTIMATED[wanted.statistic])[0])
        if wanted.statistic == "wald":
            return wald_p(self.batch, wanted.response, ADJUSTED[wanted.adjustment], wanted.variant)
        spec = Spec(f"{wanted.response}_followup", f"{wanted.response}_baseline")
        return crude_icc(self.shared.moments(spec))[CORRELATED.index(wanted.statistic)]

    def _fit(self, response: str, adjustment: str, variant: str) -> Estimates:
        key = (response, adjustment, variant)
        if key not in self._fits:
            chosen = method(*key)
            rng = stream(*self.address, f"method:{chosen.name}") if chosen.is_random() else None
            self._fits[key] = fit(chosen, self.shared, rng)
        return self._fits[key]


def crude_icc(fitted: Moments) -> tuple[Floats, Floats, Floats]:
    """Intracluster correlation by REML and its 95% interval (trials,) each; NaN with one person per practice."""
    found = reml(fitted, 0.95)
    alone = fitted.counts == fitted.clusters
    icc, lower, upper = (np.where(alone, np.nan, found[at]) for at in (0, 2, 3))
    return icc, lower, upper


def wald_p(batch: ObservedBatch, response: str, adjustment: tuple[str, ...], tested: str) -> Floats:
    """P value of a factor, or of its interaction with arm (``arm*factor``), in the random-intercept model (trials,).

    Wald F = b'V^-1 b/q over its q estimable coefficients, with the between-within df of the denominator.
    """
    factor, adjust = tested.removeprefix("arm*"), [f"{response}_baseline", *adjustment]
    if tested != factor:
        options = {"kind": "lmm", "name": tested, "response": response, "outcome": "change", "interaction": factor}
        lmm = method_class("lmm").model_validate({**options, "adjust": adjust})
        return np.asarray(fit(lmm, SharedMoments(batch)).p_value[0])
    terms = [f"{factor}={label}" for label in batch.column(factor).categories[1:]]
    covariates = tuple(dict.fromkeys((*adjust, factor)))
    fitted = moments(batch, Spec(f"{response}_followup", f"{response}_baseline", covariates))
    if not len(fitted.usable):
        return np.full(fitted.trials, np.nan)
    at, usable = [fitted.terms.index(term) for term in terms], fitted.usable
    covariance = fitted.reml.sigma2 * fitted.reml.at.inverse[np.ix_(at, at)]
    kept = fitted.kept[at][:, usable]
    df = np.where(kept, np.stack([between_within(fitted, term)[usable] for term in terms]), np.inf).min(axis=0)
    test = wald(fitted.reml.at.coefficients[at], covariance, kept)
    return test.scaled(1.0, df).spread(usable, fitted.trials).p_value
