"""Dropout by covariates: the linear predictor of a probit model, with an intercept computed once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from simtrial.arrays import Floats
from simtrial.batch import TrialBatch
from simtrial.errors import ScenarioError
from simtrial.generate import Mechanism, drawn_for, practices_per_trial, simulate, steps
from simtrial.generate.column_names import MANSA
from simtrial.generate.covariate_keys import in_category, split

SEEN = 1e-6
"""Least probability of being observed: below one in a million, trials would have no observations."""

PRACTICES = 20_000
"""Practices of the population that intercepts are found in: 100,000 people, a rate within about 0.0005."""


def some_seen(lost: float) -> float:
    """Reject a dropout probability that leaves no observations (a threshold beyond every score)."""
    if lost > 1.0 - SEEN:
        raise ValueError(
            f"{lost!r} leaves fewer than one person in a million under observation; it must lie in [0, {1.0 - SEEN:g}]"
        )
    return lost


Lost = Annotated[float, Field(ge=0, lt=1), AfterValidator(some_seen)]
"""Probability of being lost: below 1, with at least one in a million seen."""


@dataclass(frozen=True)
class Term:
    """One term of the linear predictor: its variable, and its slope in control and in intervention."""

    name: str
    control: float
    intervention: float


@dataclass(frozen=True)
class Calibration:
    """Mean and SD that standardise each term, and the threshold above which a person of either arm drops out."""

    means: tuple[float, ...]
    sds: tuple[float, ...]
    thresholds: tuple[float, float]


def reads(terms: tuple[Term, ...]) -> frozenset[str]:
    """Columns that the terms are found from."""
    outcomes = frozenset(MANSA.potential)
    needed: set[str] = {"arm"} if terms else set()
    for term in terms:
        needed |= {"outcome": outcomes, "change": outcomes | {MANSA.baseline}}.get(term.name, {split(term.name)[0]})
    return frozenset(needed)


def raw_values(term: Term, batch: TrialBatch) -> Floats:
    """Values of a term before it is standardised (participants,); a category is 0 or 1, a blank is NaN."""
    if term.name in ("outcome", "change"):
        control, intervention = (batch.at(name) for name in MANSA.potential)
        realised = np.where(batch.at("arm") == 1, intervention, control)
        return np.asarray(realised - batch.at(MANSA.baseline) if term.name == "change" else realised)
    column, category = split(term.name)
    if category:
        return in_category(column, category, batch).astype(np.float64)
    return np.asarray(batch.at(column), dtype=np.float64)


def predictor(terms: tuple[Term, ...], means: tuple[float, ...], sds: tuple[float, ...], batch: TrialBatch) -> Floats:
    """Linear predictor of dropping out, on the probit scale (participants,); a blank counts as the mean."""
    treated = batch.at("arm") == 1
    total = np.zeros(batch.index.participants)
    for term, mean, sd in zip(terms, means, sds, strict=True):
        slope = np.where(treated, term.intervention, term.control)
        total += slope * np.nan_to_num((raw_values(term, batch) - mean) / sd)
    return total


def threshold(scores: Floats, own_sd: float, probability: float) -> float:
    """Solve mean over people of P(score + own_sd z > c) = probability for c, z standard normal.

    For normal scores of SD s and mean 0 this is Phi^-1(1 - probability) sqrt(s^2 + own_sd^2).
    """
    from scipy.optimize import brentq
    from scipy.special import ndtr

    if probability <= 0.0 or not len(scores):
        return float("inf")
    if own_sd < 1e-9:
        return float(np.quantile(scores, 1.0 - probability))
    margin = 40.0 * own_sd
    low, high = float(scores.min()) - margin, float(scores.max()) + margin
    return float(brentq(lambda c: float(ndtr((scores - c) / own_sd).mean()) - probability, low, high, xtol=1e-9))


def calibrate(
    mechanism: Mechanism, terms: tuple[Term, ...], engagement: float, probabilities: tuple[float, float]
) -> Calibration:
    """Standardise the terms, and find both thresholds, in a population drawn once for these options.

    Parameters
    ----------
    mechanism
        The stages before dropout.
    engagement
        Correlation of engagement with dropping out.
    probabilities
        Of dropping out, in control and in the intervention arm.
    """
    needed = reads(terms) | (frozenset({"engagement"}) if engagement else frozenset())
    chosen = drawn_for(mechanism, needed, masks=False)
    key = tuple((stage, step.model_dump_json()) for stage, step in mechanism.items() if stage in chosen)
    return _calibrated(key, terms, engagement, probabilities)


@lru_cache(maxsize=256)
def _calibrated(
    key: tuple[tuple[str, str], ...], terms: tuple[Term, ...], engagement: float, probabilities: tuple[float, float]
) -> Calibration:
    batch = _population(key)
    arm = batch.at("arm")
    means, sds = zip(*(_moments(term, batch, arm) for term in terms), strict=True)
    scores = predictor(terms, means, sds, batch)
    if engagement:
        scores += engagement * batch.at("engagement")
    own = float(np.sqrt(1.0 - engagement * engagement))
    found = tuple(threshold(scores[arm == a], own, probabilities[a]) for a in (0, 1))
    return Calibration(means, sds, (found[0], found[1]))


@lru_cache(maxsize=4)
def _population(key: tuple[tuple[str, str], ...]) -> TrialBatch:
    """Trials of the stages in the key, always the same ones."""
    mechanism = {stage: steps()[stage].model_validate_json(options) for stage, options in key}
    trials = max(2, -(-PRACTICES // practices_per_trial(mechanism)))
    return simulate(mechanism, trials, 0, "", 0, purpose="dropout calibration: ")


def _moments(term: Term, batch: TrialBatch, arm: NDArray[Any]) -> tuple[float, float]:
    """Mean and SD over the people to whom the slope applies; 0 and 1 for a category."""
    if "=" in term.name:
        return 0.0, 1.0
    applies = np.where(arm == 1, term.intervention, term.control) != 0
    values = raw_values(term, batch)[applies]
    values = values[~np.isnan(values)]
    if not len(values) or values.std() < 1e-12:
        raise ScenarioError(f"dropout goes with '{term.name}', which does not vary: a slope per SD is undefined")
    return float(values.mean()), float(values.std())


def arm_specific(shared: Mapping[str, float], intervention: Mapping[str, float]) -> tuple[Term, ...]:
    """Terms of covariates: the slope of the intervention arm is the shared one unless it has its own."""
    names = dict.fromkeys((*shared, *intervention))
    found = (Term(n, shared.get(n, 0.0), intervention.get(n, shared.get(n, 0.0))) for n in names)
    return tuple(term for term in found if term.control or term.intervention)
