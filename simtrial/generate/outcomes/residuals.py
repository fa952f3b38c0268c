"""What is left of the outcome given its mean: practice effects and individual residuals, by arm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from pydantic import Field, model_validator

from simtrial.arrays import Floats
from simtrial.batch import TrialBatch
from simtrial.generate import Variable
from simtrial.generate.by_person import weighted_sum
from simtrial.generate.distributions.shapes import Shapes
from simtrial.generate.parts import Part


class Implied(NamedTuple):
    """What the residual model implies for the outcome at follow-up in the control arm."""

    sd: float
    icc: float
    practice_correlation: float
    correlation: float


def implied(
    slope: float, baseline_sd: float, baseline_icc: float, residual_sd: float, icc: float, autocorrelation: float = 0.0
) -> Implied:
    """SD and ICC at follow-up, and its correlations with baseline between practices and between people.

    With Y0 = b_j + e_ij, Y1 = slope Y0 + u_j + v_ij and corr(u, b) = r: var(Y1) = slope^2 var(Y0) + var(u) + var(v) +
    2 slope r sd(b) sd(u), of which slope^2 var(b) + var(u) + 2 slope r sd(b) sd(u) lies between practices. The
    correlation between practices, corr(b, slope b + u), is the cluster autocorrelation of Teerenstra et al. 2012
    (doi:10.1002/sim.5352). Scores neither rounded nor clipped.
    """
    b, u = baseline_sd * np.sqrt(baseline_icc), residual_sd * np.sqrt(icc)
    shared = autocorrelation * b * u
    between = slope**2 * b**2 + u**2 + 2.0 * slope * shared
    total = slope**2 * baseline_sd**2 + residual_sd**2 + 2.0 * slope * shared
    of_practices = (slope * b**2 + shared) / (b * np.sqrt(between)) if b > 0 and between > 0 else np.nan
    of_people = (slope * baseline_sd**2 + shared) / (baseline_sd * np.sqrt(total))
    return Implied(float(np.sqrt(total)), float(between / total), float(of_practices), float(of_people))


class Residuals(Part):
    """Options: u_j + v_ij with var(u) = icc residual_sd^2 and var(v) = (1 - icc) residual_sd^2, in either arm.

    u = sd(u) (r score + sqrt(1 - r^2) z_j), r the cluster autocorrelation and score the standardised practice effect
    at baseline; v = sd(v) (c engagement + sqrt(1 - c^2) z_ij), c the engagement correlation. The shapes are those of z:
    what r or c share in leaves a skewness of (1 - r^2)^1.5 and an excess kurtosis of (1 - r^2)^2 times the shape's.

    Where the arms' SDs differ, what is shared with baseline or engagement is the same number of points in either arm,
    and only z is stretched: r and c are those of the control arm, and r_1 = r sd_0(u)/sd_1(u), c_1 = c sd_0(v)/sd_1(v)
    in the other. Else engaged people would gain from the stretching alone, and allocation would act on people whom the
    intervention does not reach: E[Y(1) - Y(0) given baseline, engagement] is the effect.
    """

    residual_sd: float = Field(0.701, gt=0, description="SD given baseline, between and within practices, points")
    icc: float = Field(0.18, ge=0, lt=1, description="share of the residual variance between practices, in [0, 1)")
    residual_sd_intervention: float = Field(
        0.0, ge=0, le=1e6, description="residual SD in the intervention arm, points; 0: as in control"
    )
    icc_intervention: float = Field(-1.0, ge=-1, lt=1, description="icc in the intervention arm; -1: as in control")
    engagement_correlation: float = Field(
        0.0, ge=-1, le=1, description="correlation of engagement with the individual residual in control"
    )
    cluster_autocorrelation: float = Field(
        0.0,
        ge=-1,
        le=1,
        description="correlation of practice effects in control with those at baseline, beyond the slope",
    )

    @model_validator(mode="after")
    def _feasible(self) -> Residuals:
        if -1 < self.icc_intervention < 0:
            raise ValueError("icc_intervention must be in [0, 1), or -1 for the icc of the control arm")
        if self.cluster_autocorrelation and self.icc <= 0:
            raise ValueError("cluster_autocorrelation needs practice effects to correlate: icc above 0")
        return self

    def check_shared(self, noise: float) -> None:
        """Reject SDs of the intervention arm below the part that both arms share with baseline or engagement."""
        own = "residual_sd_intervention and icc_intervention leave the intervention arm an SD"
        names = ("cluster_autocorrelation", "between practices"), ("engagement_correlation", "within practices")
        arms = zip(names, self.spread(False, noise), self.spread(True, noise), strict=True)
        for (key, where), control, intervention in arms:
            shared = abs(getattr(self, key)) * control
            if shared > intervention * (1.0 + 1e-12):
                raise ValueError(
                    f"{own} {where} of {intervention:.4g}; {key} = {getattr(self, key):g} gives both arms a part of SD "
                    f"{shared:.4g}, so it must be at least that"
                )

    def reads(self) -> frozenset[str]:
        """Columns of earlier stages that residuals are correlated with."""
        pairs = ((self.engagement_correlation, "engagement"), (self.cluster_autocorrelation, self._practice_score))
        return frozenset(name for value, name in pairs if value)

    def problems(self, available: Mapping[str, Variable]) -> list[tuple[str, str]]:
        """Refuse correlation with practice effects that do not vary."""
        if not self.cluster_autocorrelation or self._practice_score in available:
            return []
        return [("cluster_autocorrelation", "needs practice effects at baseline: [mechanism.baseline], icc > 0")]

    @property
    def _practice_score(self) -> str:
        """Column of practice effects at baseline, in SDs."""
        return self.outcome.latent("baseline_practice_score")

    def spread(self, intervention: bool, noise: float = 0.0) -> tuple[float, float]:
        """SD between practices and SD within them in one arm, points; ``noise`` is variance within made elsewhere."""
        sd = self.residual_sd_intervention if intervention and self.residual_sd_intervention else self.residual_sd
        icc = self.icc_intervention if intervention and self.icc_intervention >= 0 else self.icc
        within = sd * np.sqrt(1.0 - icc)
        if noise:
            within = np.sqrt(max(within**2 - noise, 0.0))
        return float(sd * np.sqrt(icc)), float(within)

    def differs(self) -> bool:
        """Whether the arms differ in their residual variances."""
        return self.spread(True) != self.spread(False)

    def correlations(self, intervention: bool, noise: float = 0.0) -> tuple[float, float]:
        """Correlations of practice effects with those at baseline, and of individual residuals with engagement.

        In one arm; in points, what is shared is the same in both.
        """
        stated = self.cluster_autocorrelation, self.engagement_correlation
        if not (intervention and self.differs()):
            return stated
        ratios = zip(stated, self.spread(False, noise), self.spread(True, noise), strict=True)
        r, c = (min(max(a * one / other, -1.0), 1.0) if a else 0.0 for a, one, other in ratios)
        return r, c

    def standard(
        self,
        batch: TrialBatch,
        shapes: Shapes,
        practices: Floats,
        people: Floats,
        intervention: bool = False,
        noise: float = 0.0,
    ) -> tuple[Floats, Floats]:
        """Practice effects (practices,) and individual residuals (participants,), variance 1, from standard normals."""
        of_practices, own = shapes.of_practices(practices), shapes.of_residuals(people)
        r, c = self.correlations(intervention, noise)
        if r:
            before = batch.at(self._practice_score, "practice")
            of_practices = weighted_sum(r, before, float(np.sqrt(1.0 - r * r)), of_practices)
        if c:
            own = weighted_sum(c, batch.at("engagement"), float(np.sqrt(1.0 - c * c)), own)
        return of_practices, own
