"""Multiple imputation of outcomes, wrapped around any other method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ModelWrapValidatorHandler, SerializeAsAny, create_model, field_validator, model_validator

from simtrial.arrays import Bools
from simtrial.batch import ObservedBatch
from simtrial.errors import OptionError, SimtrialError
from simtrial.estimators import Estimates, Method, failed_estimates, inherit, kinds, register, report, wald
from simtrial.estimators.fitting import fit
from simtrial.estimators.imputation.by_arm import fit_by_arm
from simtrial.estimators.imputation.delta import Delta
from simtrial.estimators.imputation.engine import FittedEngine, ImputationEngine, imputation_engine
from simtrial.estimators.imputation.failures import BlankArms, labels, messages
from simtrial.estimators.imputation.incomplete import ImputationModel, Incomplete
from simtrial.estimators.imputation.left_out import LeftOut
from simtrial.estimators.per_protocol import wrapped
from simtrial.estimators.wrapping import no_joint_test
from simtrial.flags import BIT
from simtrial.kernels.rubin import Rule, pool
from simtrial.moments.moments import Moments
from simtrial.moments.rows import PRODUCT, AnalysisSet, Spec
from simtrial.moments.shared import SharedMoments

SAME = 1e-6  # standard errors by which an interval may differ from that of t


@register("mi")
class MultipleImputation(Method):
    """Impute missing outcomes ``m`` times, analyse each completed trial, pool by Rubin's rules.

    The imputation model holds everything the analysis uses: arm, covariates, the baseline where it is part of the
    outcome, receipt, products of arm with covariates, and ``auxiliary`` columns, among the people who meet the
    conditions of the analysis. How it draws, the engine that ``imputation`` names says; options of the engine stand
    beside these. Participants who lack another covariate than the baseline are not imputed and not analysed. ``df``
    barnard-rubin takes its complete-data df from the analysis of the completed data.
    Rubin's rules pool estimates whose inference is t on estimate and standard error; others are refused.
    """

    draws: ClassVar[bool] = True
    t_interval: ClassVar[bool] = False  # not to be imputed twice
    interacts: ClassVar[bool] = True
    joint_tests: ClassVar[bool] = False

    kind: Literal["mi"] = "mi"
    analysis: SerializeAsAny[Method] = Field(description="the method applied to each completed trial")
    imputation: str = Field("random-intercept", description="imputation engine")
    m: int = Field(20, ge=1, le=10_000, description="imputations")
    auxiliary: list[str] = Field(default_factory=list, description="further columns of the imputation model")
    by_arm: bool = Field(False, description="impute each arm from its own people")
    delta: Delta = Field(default_factory=Delta, description="points added to imputed outcomes: one number, or by arm")
    df: Rule = Field("barnard-rubin", description="degrees of freedom after pooling")

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

    @classmethod
    def variant(cls, options: Mapping[str, object]) -> type[MultipleImputation]:
        """`mi` with the options of the engine that these name."""
        name = options.get("imputation", cls.model_fields["imputation"].default)
        if not isinstance(name, str):
            return cls
        try:
            return _with_options(name, imputation_engine(name))
        except SimtrialError as error:
            raise OptionError(str(error), "imputation") from None

    @model_validator(mode="wrap")
    @classmethod
    def _choose_the_variant(
        cls, options: Any, handler: ModelWrapValidatorHandler[MultipleImputation]
    ) -> MultipleImputation:
        if cls is MultipleImputation and isinstance(options, dict):
            chosen = cls.variant(options)
            if chosen is not cls:
                return chosen.model_validate(options)
        return handler(options)

    @model_validator(mode="after")
    def _the_engine_takes_its_options(self) -> MultipleImputation:
        engine = self.engine()
        if self.by_arm and not engine.arm_alone:
            raise ValueError(f"by_arm = true: imputation engine '{self.imputation}' cannot impute one arm alone")
        return self

    def engine(self) -> ImputationEngine:
        """The engine that imputes, with its options."""
        model = imputation_engine(self.imputation)
        own = {option.alias or name: getattr(self, name) for name, option in model.model_fields.items()}
        return model.model_validate(own)

    def imputation_model(self) -> ImputationModel:
        """Columns and rows of the imputation model, everything that the analysis uses included."""
        inner = self.analysis.spec()
        baseline = f"{self.analysis.response}_baseline"
        needed = baseline in self.analysis.reads() or self.engine().needs_baseline
        names = (*inner.adjust, *((baseline,) if needed else ()), *self.auxiliary)
        spec = Spec(inner.outcome, None, tuple(dict.fromkeys(names)), inner.where)
        by_arm = inner.adjust if getattr(_innermost(self.analysis), "by_arm", False) else ()
        if inner.interaction is not None:
            by_arm = (inner.interaction,)
        if self.by_arm:  # each arm has its own coefficients
            by_arm = ()
        return ImputationModel(
            spec=spec, baseline=baseline if needed else None, received=inner.received, keep=_keep(self.analysis),
            by_arm=by_arm,
        )  # fmt: skip

    def tested_covariate(self) -> str | None:
        """Covariate whose interaction with arm the analysis tests."""
        return self.analysis.tested_covariate()

    def spec(self) -> Spec:
        """Rows and columns of the imputation model, but for receipt and products with arm."""
        return self.imputation_model().spec

    def expressions(self) -> tuple[str, ...]:
        """Expressions among the options."""
        return self.analysis.expressions()

    def reads(self) -> frozenset[str]:
        """Names of the observed columns the method needs."""
        own = {f"{self.analysis.response}_baseline"} if self.engine().needs_baseline else set()
        return self.analysis.reads() | frozenset(self.auxiliary) | own

    def fit(
        self, batch: ObservedBatch, moments: Moments, rng: np.random.Generator | None, every_term: bool = False
    ) -> Estimates:
        """Impute, analyse and pool every trial."""
        if rng is None:
            raise ValueError("multiple imputation draws and needs a generator")
        incomplete = self.incomplete(batch, moments)
        if (tested := self.tested_covariate()) is not None and len(batch.column(tested).categories) > 2:
            return _no_joint_test(batch.index.trials, tested, len(batch.column(tested).categories))
        fitted, blank = self._fitted(incomplete), BlankArms.of(incomplete)
        results: list[tuple[Moments, Estimates]] = []
        for _ in range(self.m):
            before = results[-1][0] if results else None
            completed = self.delta.added(incomplete, fitted.complete(rng))
            results.append(self._analyse(completed, every_term, before))
        found = self._pooled(results, fitted.failed | blank.failed, fitted.flags | incomplete.flags)
        if more := getattr(fitted, "extras", {}):
            found = replace(found, extras={**found.extras, **more})
        found = _innermost(self.analysis).tested(found)
        if "n_unknown" in found.extras:
            unknown = found.extras["n_unknown"] + incomplete.unknown
            found = replace(found, extras={**found.extras, "n_unknown": unknown})
        found = _with_left_out(found, incomplete, results[0][0].analysed)
        if not found.failed.any():
            return found
        named = labels(incomplete, self.auxiliary)
        message = messages(fitted, blank, named, found.failed, results[0][1].flags)
        return replace(found, notes={**found.notes, "message": message})

    def incomplete(self, batch: ObservedBatch, moments: Moments) -> Incomplete:
        """What is to be imputed of a batch, and from what; ``moments`` are those of `spec`."""
        return Incomplete.of(self.imputation_model(), batch, moments, self.engine().fills_covariates)

    def _fitted(self, incomplete: Incomplete) -> FittedEngine:
        engine = self.engine()
        return fit_by_arm(engine, incomplete) if self.by_arm else engine.fit(incomplete)

    def _analyse(self, completed: ObservedBatch, every_term: bool, before: Moments | None) -> tuple[Moments, Estimates]:
        """Analyse completed trials, most often the same people as ``before``."""
        shared = SharedMoments(completed, before)
        return shared.moments(self.analysis.spec()), fit(self.analysis, shared, None, every_term)

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


def _with_left_out(found: Estimates, incomplete: Incomplete, analysed: AnalysisSet) -> Estimates:
    """Count the people and practices that meet the conditions and were not analysed, where a fit stands."""
    left = LeftOut.of(incomplete, analysed)
    extras = {name: np.where(found.failed, np.nan, values) for name, values in left.extras.items()}
    flags = found.flags | np.where(found.failed, 0, left.flags)
    notes = dict(found.notes)
    if (words := np.where(found.failed, "", left.words)).any():
        notes["left_out"] = words
    return replace(found, flags=flags, extras={**found.extras, **extras}, notes=notes)


@cache
def _with_options(name: str, engine: type[ImputationEngine]) -> type[MultipleImputation]:
    """`mi` with the options of an engine beside its own."""
    taken = sorted(set(engine.model_fields) & set(MultipleImputation.model_fields))
    if taken:
        raise SimtrialError(f"imputation engine '{name}': '{taken[0]}' is an option of mi; give its own another name")
    options: dict[str, Any] = {key: (option.annotation, option) for key, option in engine.model_fields.items()}
    return create_model(f"{MultipleImputation.__name__}:{name}", __base__=MultipleImputation, **options)


def wrappable() -> str:
    """Kinds of analysis that `mi` can wrap, as a list in words."""
    plain = [
        f"{kind} (ci = 'wald')" if "ci" in model.model_fields else kind
        for kind, model in kinds().items()
        if model.t_interval and model.effect and "analysis" not in model.model_fields
    ]
    return f"one of {', '.join(plain)}, or per-protocol or as-treated around one of them"


def _no_joint_test(trials: int, covariate: str, categories: int) -> Estimates:
    """Rubin's rules pool one estimate with its standard error; a joint test has neither."""
    found = failed_estimates(trials, f"{PRODUCT}{covariate}", "imputation_failed")
    return replace(found, notes={"message": np.full(trials, no_joint_test(covariate, categories))})


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
