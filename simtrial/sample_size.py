"""Design arithmetic: people and practices that a cluster-randomised trial needs, and the power it has, by formula."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf, nan, sqrt
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from simtrial.errors import ScenarioError

SMALLEST = 1.5  # people per arm: the fewest that leave a t test a degree of freedom, before rounding up
LARGEST = 1e15  # people: more than any trial can have
RULES = {
    "normal": "normal quantiles",
    "one-more": "normal quantiles, one practice more per arm",
    "t": "t quantiles for the individuals",
}
"""Rules for the number analysed, with their basis."""

Rule = Literal["normal", "one-more", "t"]


class Design(BaseModel):
    """What a trial was planned to detect, and under which assumptions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    difference: float = Field(gt=0, description="difference to detect, points")
    sd: float = Field(gt=0, description="SD of the outcome, points")
    alpha: float = Field(0.05, gt=0, lt=0.5, description="two-sided significance level")
    power: float = Field(0.9, gt=0.5, lt=1, description="power wanted")
    cluster_size_mean: float = Field(gt=1, description="people recruited per practice")
    cluster_size_cv: float = Field(0.0, ge=0, le=10, description="coefficient of variation of cluster size")
    icc: float = Field(ge=0, lt=1, description="intracluster correlation of the outcome")
    baseline_correlation: float = Field(
        0.0, gt=-1, lt=1, description="correlation of baseline and follow-up; 0: unused"
    )
    unequal_sizes: Literal["eldridge", "van-breukelen"] = Field(
        "eldridge", description="what varying sizes cost: an analysis of people alike, or the mixed model"
    )
    individual_loss: float = Field(0.0, ge=0, lt=1, description="share of people lost to follow-up")
    practice_loss: float = Field(0.0, ge=0, lt=1, description="share of practices lost")

    @property
    def design_effect(self) -> float:
        """Variance inflation by practices of m people in the mean.

        eldridge: 1 + ((CV^2 + 1) m - 1) ICC (Eldridge 2006, doi:10.1093/ije/dyl129). van-breukelen:
        D/(1 - CV^2 L(1 - L)), D = 1 + (m - 1) ICC, L = m ICC/D (van Breukelen, Candel and Berger 2007,
        doi:10.1002/sim.2740).
        """
        if self.unequal_sizes == "eldridge":
            return 1 + ((self.cluster_size_cv**2 + 1) * self.cluster_size_mean - 1) * self.icc
        equal = 1 + (self.cluster_size_mean - 1) * self.icc
        share = self.cluster_size_mean * self.icc / equal
        left = 1 - self.cluster_size_cv**2 * share * (1 - share)
        return equal / left if left > 0 else inf

    @property
    def kept(self) -> float:
        """Share of those recruited who are expected in the analysis."""
        return (1 - self.individual_loss) * (1 - self.practice_loss)

    @property
    def reduction(self) -> float:
        """Variance left after adjusting for baseline, 1 - r^2 (Teerenstra 2012, doi:10.1002/sim.5352)."""
        return 1 - self.baseline_correlation**2


@dataclass(frozen=True)
class SampleSize:
    """People to analyse (a fraction) and to recruit, and practices to randomise."""

    rule: str
    per_arm: float
    analysed: float
    recruited: int
    practices: int


def individuals(effect: float, power: float, alpha: float, t: bool) -> float:
    """People per arm for a standardised effect were there no clustering.

    Normal 2 (z_{1-alpha/2} + z_power)^2 / effect^2; t: the smallest n whose noncentral t test has the power.
    """
    from scipy import optimize, stats

    quantiles = float(stats.norm.isf(alpha / 2) + stats.norm.ppf(power))
    normal = 2 * quantiles / effect * (quantiles / effect) if effect > 0 else inf
    if not t or not normal < LARGEST:
        return normal

    def short(n: float) -> float:
        return power_of_t(effect * sqrt(n / 2), 2 * n - 2, alpha) - power

    low = max(normal, SMALLEST)
    if short(low) >= 0:
        return low
    high = low + 30
    while short(high) < 0 and high < LARGEST:
        high = low + 2 * (high - low)
    return float(optimize.brentq(short, low, high))


def power_of_t(shift: float, df: float, alpha: float) -> float:
    """Power of a two-sided t test; NaN without degrees of freedom."""
    from scipy import stats

    if not df > 0:
        return nan
    bound = float(stats.t.isf(alpha / 2, df))
    found = float(stats.nct.sf(bound, df, shift)) if shift < 1e3 and bound < 1e6 else nan
    # on the other side at most alpha / 2, and no more than that where scipy's value is none
    if shift < 8.0 and bound < 1e3:
        found += min(float(stats.nct.cdf(-bound, df, shift)), alpha / 2)
    # so far out, where scipy's value is none, the numerator does not vary beside the denominator
    return found if found == found else float(stats.chi2.cdf(df * (shift / bound) * (shift / bound), df))


def sample_size(design: Design, rule: Rule = "normal") -> SampleSize:
    """People and practices needed, recruited in whole practices of mean size.

    normal: individuals by normal quantiles, times design effect and 1 - r^2; one-more: and one practice more per arm
    for the degrees of freedom; t: individuals by the t test on the SD left after adjustment, rounded up. At least one
    practice per arm.

    Raises
    ------
    ScenarioError
        When no number of people suffices.
    """
    if rule == "t":
        effect = design.difference / design.sd / sqrt(design.reduction)
        per_arm = individuals(effect, design.power, design.alpha, True)
        per_arm = float(ceil(per_arm)) if per_arm < LARGEST else inf
    else:
        effect = design.difference / design.sd
        per_arm = individuals(effect, design.power, design.alpha, False) * design.reduction
    analysed = 2 * per_arm * design.design_effect + (2 * design.cluster_size_mean if rule == "one-more" else 0)
    if not analysed / design.kept < LARGEST:
        raise ScenarioError(
            f"[design] difference = {design.difference:g} with sd = {design.sd:g}, icc = {design.icc:g}, "
            f"cluster_size_mean = {design.cluster_size_mean:g} and these losses: no trial is large enough"
        )
    practices = max(2, ceil(analysed / design.kept / design.cluster_size_mean))
    return SampleSize(
        rule=rule,
        per_arm=per_arm,
        analysed=analysed,
        recruited=round(practices * design.cluster_size_mean),
        practices=practices,
    )


def power(design: Design, practices: int, t: bool = True) -> float:
    """Power with a number of practices of mean size, losses taken off: probability of rejection on either side.

    Standard error sqrt(4 DE (1 - r^2) sd^2 / N); against the normal, or a noncentral t with as many degrees of freedom
    as practices are expected to stay, less 2 (NaN where none are left).
    """
    from scipy import stats

    analysed = practices * design.cluster_size_mean * design.kept
    shift = design.difference / design.sd * sqrt(analysed / (4 * design.design_effect * design.reduction))
    if not t:
        limit = stats.norm.isf(design.alpha / 2)
        return float(stats.norm.sf(limit - shift) + stats.norm.cdf(-limit - shift))
    return power_of_t(shift, practices * (1 - design.practice_loss) - 2, design.alpha)


def refuse_impossible(design: Design | None) -> None:
    """Raise ScenarioError where no number of people suffices by some rule; None: no design."""
    if design is not None:
        for rule in get_args(Rule):
            sample_size(design, rule)
