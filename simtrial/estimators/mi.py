"""Multiple imputation of outcomes under a random-intercept model, wrapped around any other method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, SerializeAsAny, field_validator, model_validator

from simtrial.batch import ObservedBatch
from simtrial.estimators import Estimates, Method, inherit, kinds, register, report, wald
from simtrial.estimators.imputation.failures import BlankArms, messages
from simtrial.estimators.imputation.imputer import ImputationModel, Imputer
from simtrial.estimators.per_protocol import wrapped
from simtrial.flags import BIT
from simtrial.kernels.posterior import InverseGamma
from simtrial.kernels.rubin import pool
from simtrial.moments.build import moments
from simtrial.moments.moments import Moments
from simtrial.moments.rows import AnalysisSet, Spec

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SAME = 1e-6  # standard errors by which an interval may differ from that of t


@register("mi")
class MultipleImputation(Method):
    """Impute missing outcomes ``m`` times, analyse each completed trial, pool by Rubin's rules.

    The imputation model is a random-intercept regression of follow-up on everything the analysis uses: arm, covariates,
    the baseline where it is part of the outcome, receipt, products of arm with covariates, and ``auxiliary`` columns,
    among the people who meet the conditions of the analysis. Draws are independent and exact. A missing baseline is
    drawn first, from its regression on arm and the other covariates, and on the follow-up as well for those who have
    one; its posterior rests on those with every variable observed. Participants who lack another covariate are not
    imputed and not analysed. ``df`` barnard-rubin takes its complete-data df from the analysis of the completed data.
    Rubin's rules pool estimates whose inference is t on estimate and standard error; others are refused.
    """

    draws: ClassVar[bool] = True
    t_interval: ClassVar[bool] = False  # not to be imputed twice

    kind: Literal["mi"] = "mi"
    analysis: SerializeAsAny[Method] = Field(description="the method applied to each completed trial")
    imputation: Literal["random-intercept"] = Field("random-intercept", description="imputation model")
    m: int = Field(20, ge=2, le=10_000, description="imputations")
    prior: Literal["uniform-icc", "inverse-gamma"] = Field("uniform-icc", description="prior of the variances")
    tau2_shape: float = Field(0.5, gt=0, description="inverse-gamma shape of the between-practice variance")
    tau2_scale: float = Field(0.5, gt=0, description="inverse-gamma scale of the between-practice variance")
    sigma2_shape: float = Field(0.5, ge=0, description="inverse-gamma shape of the residual variance")
    sigma2_scale: float = Field(0.5, ge=0, description="inverse-gamma scale of the residual variance")
    auxiliary: list[str] = Field(default_factory=list, description="further columns of the imputation model")
    df: Literal["barnard-rubin", "rubin"] = Field("barnard-rubin", description="degrees of freedom after pooling")

    _inherit = model_validator(mode="before")(inherit)
    _build = field_validator("analysis", mode="before")(wrapped)

    @model_validator(mode="after")
    def _rubins_rules_hold(self) -> MultipleImputation:
        if self.analysis.has_t_interval():
            return self
        raise ValueError(
            f"mi cannot wrap {_words(self.analysis)}: Rubin's rules pool an effect whose interval and p-value are t on "
            f"its estimate and standard error; wrap {wrappable()}"
        )

    def imputation_model(self) -> ImputationModel:
        """Columns, rows and prior of the imputation model, everything that the analysis uses included."""
        inner = self.analysis.spec()
        baseline = f"{self.analysis.response}_baseline"
        needed = baseline in self.analysis.reads()
        names = (*inner.adjust, *((baseline,) if needed else ()), *self.auxiliary)
        spec = Spec(inner.outcome, None, tuple(dict.fromkeys(names)), inner.where)
        by_arm = inner.adjust if getattr(_innermost(self.analysis), "by_arm", False) else ()
        return ImputationModel(
            spec, baseline=baseline if needed else None, received=inner.received, keep=_keep(self.analysis),
            by_arm=by_arm, prior=self.inverse_gamma(),
        )  # fmt: skip

    def spec(self) -> Spec:
        """Rows and columns of the imputation model, but for receipt and products with arm."""
        return self.imputation_model().spec

    def expressions(self) -> tuple[str, ...]:
        """Expressions among the options."""
        return self.analysis.expressions()

    def reads(self) -> frozenset[str]:
        """Names of the observed columns the method needs."""
        return self.analysis.reads() | frozenset(self.auxiliary)

    def fit(
        self, batch: ObservedBatch, moments: Moments, rng: np.random.Generator | None, every_term: bool = False
    ) -> Estimates:
        """Impute, analyse and pool every trial."""
        if rng is None:
            raise ValueError("multiple imputation draws and needs a generator")
        imputer = Imputer.of(self, batch, moments)
        blank = BlankArms.of(imputer)
        results: list[tuple[Moments, Estimates]] = []
        for _ in range(self.m):
            before = results[-1][0].analysed if results else None
            results.append(self._analyse(imputer.complete(rng), every_term, before))
        found = self._pooled(results, imputer.failed | blank.failed, imputer.flags)
        if "n_unknown" in found.extras:
            found = replace(found, extras={**found.extras, "n_unknown": found.extras["n_unknown"] + imputer.unknown})
        if not found.failed.any():
            return found
        said = messages(imputer, blank, self.auxiliary, found.failed, results[0][1].flags)
        return replace(found, notes={"message": said})

    def _analyse(
        self, completed: ObservedBatch, every_term: bool, before: AnalysisSet | None
    ) -> tuple[Moments, Estimates]:
        """Analyse completed trials, most often the same people as ``before``."""
        made = moments(completed, self.analysis.spec(), before)
        return made, self.analysis.fit(completed, made, None, every_term)

    def _pooled(
        self, results: Sequence[tuple[Moments, Estimates]], unfit: Bools, flags: NDArray[np.int64]
    ) -> Estimates:
        made, first = results[0]
        fits = [estimates for _, estimates in results]
        df_complete = np.mean([e.df for e in fits], axis=0)
        pooled = pool(
            np.stack([e.estimate for e in fits]), np.stack([e.std_error for e in fits]) ** 2, df_complete, self.df
        )
        bad = unfit | np.any([e.failed for e in fits], axis=0)
        other = _not_t(first, self.analysis.level) & ~bad
        for bit in BIT.values():
            flags = flags | np.where(np.mean([(e.flags & bit) > 0 for e in fits], axis=0) >= 0.5, bit, 0)
        flags = flags | np.where(bad, BIT["imputation_failed"], 0) | np.where(other, BIT["invalid_result"], 0)
        extras = {"fmi": pooled.fmi[0], "riv": pooled.riv[0], "df_complete": df_complete[0]}
        found = report(
            made, first.terms, pooled.estimate, pooled.variance, pooled.df, self.level,
            failed=bad | other, flags=flags, extras=extras,
        )  # fmt: skip
        return replace(found, n_used=first.n_used, clusters_used=first.clusters_used)

    def inverse_gamma(self) -> InverseGamma | None:
        """Prior of the variances; None is uniform-icc."""
        if self.prior == "uniform-icc":
            return None
        return InverseGamma((self.tau2_shape, self.tau2_scale), (self.sigma2_shape, self.sigma2_scale))


def wrappable() -> str:
    """Kinds of analysis that `mi` can wrap, as a list in words."""
    plain = [
        f"{kind} (ci = 'wald')" if "ci" in model.model_fields else kind
        for kind, model in kinds().items()
        if model.t_interval and model.effect and "analysis" not in model.model_fields
    ]
    return f"one of {', '.join(plain)}, or per-protocol around one of them"


def _innermost(method: Method) -> Method:
    inner = getattr(method, "analysis", None)
    return _innermost(inner) if isinstance(inner, Method) else method


def _keep(method: Method) -> tuple[str, ...]:
    """Expressions of who kept to the protocol, of a method and those inside it."""
    inner = getattr(method, "analysis", None)
    own = getattr(method, "keep", None)
    return (*((own,) if isinstance(own, str) else ()), *(_keep(inner) if isinstance(inner, Method) else ()))


def _words(method: Method) -> str:
    """Name an analysis by its kind, the decisive option, and its wrapper."""
    inner = _innermost(method)
    option = f" with ci = '{ci}'" if inner.t_interval and (ci := getattr(inner, "ci", "")) else ""
    around = "" if inner is method else f" inside '{method.kind}'"
    return f"kind '{inner.kind}'{option}{around}"


def _not_t(found: Estimates, level: float) -> Bools:
    """Trials whose interval is not that of t on estimate and standard error: one of a plug-in (trials,)."""
    estimate, std_error, df = found.estimate[0], found.std_error[0], found.df[0]
    _, lower, upper, _ = wald(estimate, std_error**2, df, level)
    with np.errstate(invalid="ignore"):
        apart = np.maximum(np.abs(found.ci_lower[0] - lower), np.abs(found.ci_upper[0] - upper))
        return np.asarray(~found.failed & ~(apart <= SAME * std_error))
