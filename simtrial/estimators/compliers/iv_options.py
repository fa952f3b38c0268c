"""Options of `iv`, and which of them go together."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from simtrial.estimators import Method
from simtrial.estimators.cluster_means import Weights
from simtrial.estimators.ols import Df, StandardError
from simtrial.generate.allocation.allocation import Allocation
from simtrial.kernels import adjusted_t

RESAMPLED = ("randomisation", "wild-bootstrap")
"""Values of ``ci`` that draw."""


class Options(Method):
    """What `iv` is told, checked when the scenario is read."""

    target: ClassVar[str] = "received"

    received: str = Field("", description="expression that defines receipt, e.g. sessions >= 6")
    dose: str = Field("", description="column of numbers in place of receipt, e.g. sessions: the effect per unit")
    level_of_analysis: Literal["participant", "cluster"] = Field("participant", description="people, or practice means")
    weights: Weights = Field("equal", description="weight of a practice, for level_of_analysis cluster")
    ratio: Literal["2sls", "lmm"] = Field("2sls", description="of least-squares effects, or of mixed-model effects")
    se: StandardError = Field("CR2", description="standard error")
    df: Df = Field("satterthwaite", description="degrees of freedom")
    never_taker_effect: float = Field(
        0.0, description="assumed effect of the offer on those who do not receive, points: a sensitivity analysis"
    )
    ci: Literal["wald", "anderson-rubin", "fieller", "tf", "randomisation", "wild-bootstrap"] = Field(
        "wald", description="interval"
    )
    replays: int = Field(999, ge=19, le=100_000, alias="draws", description="of each trial, where ci resamples")
    distribution: Literal["rademacher", "webb"] = Field(
        "rademacher", description="multipliers of residuals, for ci wild-bootstrap"
    )
    allocation: Allocation | None = Field(
        None, description="as for randomisation-test, for ci randomisation; default: that of the file"
    )

    @model_validator(mode="after")
    def _one_treatment(self) -> Options:
        if bool(self.received) == bool(self.dose):
            raise ValueError(
                "kind 'iv' needs received, e.g. received = \"sessions >= 6\", or a column as dose: one of them"
            )
        if self.dose and self.never_taker_effect:
            raise ValueError("never_taker_effect is for those who do not receive: it needs received, not dose")
        return self

    @model_validator(mode="after")
    def _weights_are_of_practices(self) -> Options:
        if self.weights != "equal" and self.level_of_analysis != "cluster":
            raise ValueError(f"weights '{self.weights}' are of practices: they need level_of_analysis = 'cluster'")
        return self

    @model_validator(mode="after")
    def _tf_has_one_level(self) -> Options:
        if self.ci == "tf" and self.level != adjusted_t.LEVEL:
            raise ValueError(
                f"ci 'tf' has published critical values for level {adjusted_t.LEVEL} only, not {self.level}; "
                "take 'anderson-rubin' or 'fieller', or omit level"
            )
        return self

    @model_validator(mode="after")
    def _what_goes_with_mixed_models(self) -> Options:
        if self.ratio == "2sls":
            return self
        if self.level_of_analysis == "cluster":
            raise ValueError("ratio 'lmm' is of people: it needs level_of_analysis = 'participant'")
        if self.ci in RESAMPLED:
            raise ValueError(
                f"ci '{self.ci}' tests least-squares effects: it does not go with ratio 'lmm'; take 'fieller', 'wald' "
                "or 'tf'"
            )
        if self.ci == "anderson-rubin":
            raise ValueError(
                "ci 'anderson-rubin' has no closed form with ratio 'lmm': the model's weights depend on the effect "
                "tested; take 'fieller', 'wald' or 'tf'"
            )
        if self.se != "CR2":
            raise ValueError(f"ratio 'lmm' takes its covariance from a jackknife over practices; omit se = '{self.se}'")
        if self.df == "residual":
            raise ValueError(
                "df 'residual' is not defined with ratio 'lmm'; "
                "take 'clusters-p', 'clusters-1', 'clusters-2' or 'normal'"
            )
        return self

    @model_validator(mode="after")
    def _what_resampling_takes(self) -> Options:
        if self.ci == "wild-bootstrap" and self.level_of_analysis == "cluster":
            raise ValueError(
                "ci 'wild-bootstrap' is of people: it needs level_of_analysis = 'participant'; 'randomisation' is of "
                "practice means"
            )
        if self.ci == "randomisation" and self.weights != "equal":
            raise ValueError(f"ci 'randomisation' compares practice means all alike; omit weights = '{self.weights}'")
        odd = {"draws": self.replays != 999 and self.ci not in RESAMPLED,
               "distribution": self.distribution != "rademacher" and self.ci != "wild-bootstrap"}  # fmt: skip
        if any(odd.values()):
            option = next(name for name, wrong in odd.items() if wrong)
            kinds = "ci = 'wild-bootstrap'" if option == "distribution" else "ci = 'randomisation' or 'wild-bootstrap'"
            raise ValueError(f"{option} is an option of {kinds}, not of ci = '{self.ci}'")
        return self

    def is_random(self) -> bool:
        """Whether the interval is one by resampling."""
        return self.ci in RESAMPLED

    def has_t_interval(self) -> bool:
        """Whether the interval is Wald's; the others are none by t on estimate and standard error."""
        return self.ci == "wald"
