"""What a mechanism implies in closed form, wherever that is exact."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING, Any

from simtrial.generate.outcomes.residuals import Implied, implied

if TYPE_CHECKING:
    from simtrial.generate.missing.dropout import Dropout
    from simtrial.generate.outcomes.baseline import Baseline
    from simtrial.generate.outcomes.mansa import Mansa
    from simtrial.generate.step import Step

Exact = dict[tuple[str, str, str], float]

FAR = 12.0
"""SDs from the mean beyond which a normal score lies with probability 4e-33: an end of the scale there cuts none."""

MOMENTS_HOLD = ("truncated-negative-binomial", "one-plus-gamma-poisson")
"""Families of cluster size whose mean and coefficient of variation are those written."""


def exact_values(mechanism: Mapping[str, Step]) -> Exact:
    """Numbers that need no simulation: (name, of, arm) to value, those of `simtrial.run.implied`.

    Scores count only where they are normal, neither rounded nor cut, and nothing beside baseline, residuals and an
    effect that is the same for all adds to them; loss to follow-up where it has no slopes.
    """
    if "generator" in mechanism:
        return {}
    found = _sizes(mechanism)
    if "dropout" not in mechanism:
        found |= {("dropout", "", arm): 0.0 for arm in ("control", "intervention")}
    else:
        found |= _loss(mechanism["dropout"], _plain_engagement(mechanism))  # type: ignore[arg-type]
    baseline: Any = mechanism.get("baseline")
    followup: Any = mechanism.get("outcomes.mansa")
    for step, arms in ((baseline, ("",)), (followup, ("control", "intervention"))):
        if step is not None and step.ratings.ends == (-inf, inf):
            found |= {("cut", "mansa", arm): 0.0 for arm in arms}
    if "identification" in mechanism:
        return {of: value for of, value in found.items() if of[0] in ("cut", "dropout")}
    before = _before(baseline)
    if before:
        found |= {(name, "mansa", ""): value for name, value in before.items()} | {("cut", "mansa", ""): 0.0}
    return found | (_after(mechanism, before) if followup is not None else {})


def _sizes(mechanism: Mapping[str, Step]) -> Exact:
    practices: Any = mechanism["practices"]
    if practices.sizes not in MOMENTS_HOLD or practices.until_participants:
        return {}
    mean, cv = practices.cluster_size_mean, practices.cluster_size_cv
    return {("cluster_size_mean", "", ""): mean, ("cluster_size_cv", "", ""): cv}


def _plain_engagement(mechanism: Mapping[str, Step]) -> bool:
    """Whether engagement is standard normal, and independent of baseline and between people."""
    delivery: Any = mechanism.get("delivery")
    return delivery is None or not (
        delivery.engagement_effects or delivery.engagement_baseline or delivery.engagement_icc
    )


def _loss(dropout: Dropout, plain: bool) -> Exact:
    """1 - (1 - rate)(1 - practice_rate), without slopes."""
    if dropout.terms() or (dropout.engagement_correlation and not plain):
        return {}
    rates = dropout.rate, dropout.rate if dropout.rate_intervention is None else dropout.rate_intervention
    pairs = zip(("control", "intervention"), rates, strict=True)
    return {("dropout", "", arm): 1.0 - (1.0 - rate) * (1.0 - dropout.practice_rate) for arm, rate in pairs}


def _as_it_is(step: Baseline | Mansa, mean: float, sd: float) -> bool:
    """Whether scores of this mean and SD are normal and recorded as they are."""
    normal = step.shapes.residuals == "normal" and step.shapes.practice_effects == "normal"
    lowest, highest = step.ratings.ends
    return normal and not step.ratings.items and lowest < mean - FAR * sd and mean + FAR * sd < highest


def _before(baseline: Baseline | None) -> dict[str, float]:
    """Mean, SD and ICC at baseline; empty where they are not those written."""
    if baseline is None or not _as_it_is(baseline, baseline.mean, baseline.sd):
        return {}
    return {"mean": baseline.mean, "sd": baseline.sd, "icc": baseline.icc}


def _after(mechanism: Mapping[str, Step], before: Mapping[str, float]) -> Exact:
    """Mean, SD, ICC and correlation with baseline at follow-up, by arm."""
    step: Any = mechanism["outcomes.mansa"]
    tied = step.baseline_slope or step.cluster_autocorrelation
    shifted = (
        step.region_effects, step.small_practice_effect, step.pandemic_effect, step.sizes.reads(),
        step.leavers.shifts(), step.engagement_correlation and not _plain_engagement(mechanism), tied and not before,
    )  # fmt: skip
    if any(shifted):
        return {}
    mean = step.mean + (step.baseline_slope * (before["mean"] - step.at_baseline) if step.baseline_slope else 0.0)
    found: Exact = {}
    for arm, offered in (("control", False), ("intervention", True)):
        level = mean + step.effect if offered else mean
        same = _same_for_all(step) if offered else not _reached_in_control(mechanism)
        of = _of_arm(step, before, offered)
        if same and _as_it_is(step, level, of.sd):
            found |= _named(arm, level, of, bool(before))
    return found


def _of_arm(step: Mansa, before: Mapping[str, float], offered: bool) -> Implied:
    residual, slope = step.residual, step.expected.baseline_slope
    sd = residual.residual_sd_intervention if offered and residual.residual_sd_intervention else residual.residual_sd
    icc = residual.icc_intervention if offered and residual.icc_intervention >= 0 else residual.icc
    r = residual.correlations(offered)[0]
    return implied(slope, before.get("sd", 1.0), before.get("icc", 0.0), sd, icc, r)


def _named(arm: str, mean: float, of: Implied, correlates: bool) -> Exact:
    names = {"mean": mean, "sd": of.sd, "icc": of.icc, "cut": 0.0}
    names |= {"baseline_correlation": of.correlation} if correlates else {}
    return {(name, "mansa", arm): value for name, value in names.items()}


def _same_for_all(step: Mansa) -> bool:
    """Whether the effect is the same for everybody."""
    of = step.effects
    varies = (
        of.effect_among,
        of.subgroup_effects,
        of.effect_sd,
        step.sizes.reads(),
        of.pandemic_interaction,
        of.effect_per_session,
        of.baseline_effect,
    )
    return not any(varies)


def average_effect(mechanism: Mapping[str, Step]) -> float | None:
    """Effect on the average person, and practice, where it goes with a baseline that is normal; None elsewhere.

    E{effect + b (X - at)} = effect + b (E X - at): baselines and random effects have nothing to do with sizes.
    """
    step: Any = mechanism.get("outcomes.mansa")
    if step is None or "identification" in mechanism or not step.effects.baseline_effect:
        return None
    of, before = step.effects, _before(mechanism.get("baseline"))  # type: ignore[arg-type]
    other = of.effect_among, of.subgroup_effects, step.sizes.reads(), of.pandemic_interaction, step.leavers.shifts()
    if any(other) or not before or step.ratings.items or step.ratings.ends != (-inf, inf):
        return None
    return float(of.effect + of.baseline_effect * (before["mean"] - of.effect_at_baseline))


def _reached_in_control(mechanism: Mapping[str, Step]) -> bool:
    """Whether somebody in control might have the effect."""
    step: Any = mechanism["outcomes.mansa"]
    delivery: Any = mechanism.get("delivery")
    return bool(step.effect_among and delivery is not None and (delivery.control_access or delivery.defiers))
