"""Multiple imputation of outcomes, wrapped around any other method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import cache
from itertools import islice
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ModelWrapValidatorHandler, SerializeAsAny, create_model, field_validator, model_validator

from simtrial.arrays import Bools, Floats
from simtrial.batch import ObservedBatch
from simtrial.errors import OptionError, SimtrialError
from simtrial.estimators import Estimates, Method, inherit, register
from simtrial.estimators.compliers.iv import InstrumentalVariable
from simtrial.estimators.compliers.iv_pooled import pooled_ratio
from simtrial.estimators.imputation.analyses import analyses_of, moments_of
from simtrial.estimators.imputation.by_arm import Unlike, fit_by_arm
from simtrial.estimators.imputation.delta import Delta
from simtrial.estimators.imputation.engine import FittedEngine, ImputationEngine, imputation_engine
from simtrial.estimators.imputation.failures import BlankArms, labels, messages
from simtrial.estimators.imputation.incomplete import ImputationModel, Incomplete
from simtrial.estimators.imputation.inner import (
    innermost,
    kept_people,
    refuse_what_has_no_effects,
    refuse_what_has_no_t,
)
from simtrial.estimators.imputation.left_out import LeftOut
from simtrial.estimators.imputation.pooling import PooledDf, complete_df, pooled_estimates, rule, with_extras_of
from simtrial.estimators.imputation.reference import fit_as_control
from simtrial.estimators.imputation.resampling import jackknife_error
from simtrial.estimators.imputation.tipping import Analyses, Shifted, scale, shifted, tipping_points
from simtrial.estimators.imputation.two_stage import in_two_stages, refuse_what_needs_one_m
from simtrial.estimators.per_protocol import wrapped
from simtrial.expressions import columns, parse
from simtrial.flags import BIT
from simtrial.kernels.rubin import Rule
from simtrial.moments.build import moments
from simtrial.moments.moments import Moments
from simtrial.moments.rows import Spec


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

    kind: Literal["mi"] = "mi"
    analysis: SerializeAsAny[Method] = Field(description="the method applied to each completed trial")
    imputation: str = Field("random-intercept", description="imputation engine")
    m: int = Field(20, ge=1, le=10_000, description="imputations; two-stage: those of the first stage")
    m_rule: Literal["fixed", "two-stage"] = Field(
        "fixed", description="two-stage: after m imputations, as many more as the standard error needs"
    )
    se_cv: float = Field(
        0.05, gt=0, le=1, description="two-stage: coefficient of variation of the standard error over imputations"
    )
    m_max: int = Field(1000, ge=2, le=10_000, description="two-stage: most imputations")
    auxiliary: list[str] = Field(
        default_factory=list, description="further columns or conditions of the imputation model"
    )
    by_arm: bool = Field(False, description="impute each arm from its own people")
    delta: Delta = Field(default_factory=Delta, description="points added to imputed outcomes: one number, or by arm")
    reference: Literal["none", "control"] = Field(
        "none", description="impute people of the intervention arm as if in control (reference-based imputation)"
    )
    tipping: Shifted = Field(
        "none", description="arms whose imputed outcomes are shifted to where the conclusion tips (extra tipping_delta)"
    )
    pooled: Literal["estimate", "effects"] = Field(
        "estimate", description="what is pooled: the estimate, or the two effects that iv divides"
    )
    resampled: bool = Field(False, description="add the jackknife over practices of the whole (extra resampled_error)")
    df: PooledDf = Field("barnard-rubin", description="degrees of freedom after pooling")

    _inherit = model_validator(mode="before")(inherit)
    _build = field_validator("analysis", mode="before")(wrapped)

    @model_validator(mode="after")
    def _rubins_rules_hold(self) -> MultipleImputation:
        if self.pooled == "effects":
            refuse_what_has_no_effects(self.analysis, plain=self.tipping == "none" and self.df in get_args(Rule))
        else:
            refuse_what_has_no_t(self.analysis)
        return self

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
    def _two_stages_can_follow(self) -> MultipleImputation:
        if self.m_rule == "two-stage":
            refuse_what_needs_one_m(
                self.m, self.m_max, self.pooled != "estimate", self.tipping != "none", self.resampled
            )
        return self

    @model_validator(mode="after")
    def _the_engine_takes_its_options(self) -> MultipleImputation:
        engine = self.engine()
        if self.by_arm and not engine.arm_alone:
            raise ValueError(f"by_arm = true: imputation engine '{self.imputation}' cannot impute one arm alone")
        if engine.fills_covariates and (conditions := self._auxiliary()[0]):
            raise ValueError(
                f"auxiliary = '{conditions[0]}': engine '{self.imputation}' fills columns, and takes no conditions"
            )
        if self.reference != "none" and not engine.takes_arm:
            raise ValueError(
                f"reference = '{self.reference}': imputation engine '{self.imputation}' cannot impute people as if in "
                f"control"
            )
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
        dose = (inner.dose,) if inner.dose else ()
        conditions, further = self._auxiliary()
        names = (*inner.adjust, *dose, *((baseline,) if needed else ()), *further)
        spec = Spec(inner.outcome, None, tuple(dict.fromkeys(names)), inner.where)
        by_arm = inner.adjust if getattr(innermost(self.analysis), "by_arm", False) else ()
        if inner.interaction is not None:
            by_arm = (inner.interaction,)
        if self.by_arm:  # each arm has its own coefficients
            by_arm = ()
        return ImputationModel(
            spec=spec, baseline=baseline if needed else None, received=inner.received, keep=kept_people(self.analysis),
            by_arm=by_arm, conditions=conditions,
        )  # fmt: skip

    def tested_covariate(self) -> str | None:
        """Covariate whose interaction with arm the analysis tests."""
        return self.analysis.tested_covariate()

    def spec(self) -> Spec:
        """Rows and columns of the imputation model, but for receipt and products with arm."""
        return self.imputation_model().spec

    def expressions(self) -> tuple[str, ...]:
        """Expressions among the options."""
        return (*self.analysis.expressions(), *self._auxiliary()[0])

    def reads(self) -> frozenset[str]:
        """Names of the observed columns the method needs."""
        own = {f"{self.analysis.response}_baseline"} if self.engine().needs_baseline else set()
        conditions, further = self._auxiliary()
        compared = [columns(parse(text)) for text in conditions]
        return self.analysis.reads().union(further, own, *compared)

    def _auxiliary(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Conditions and columns among the auxiliary variables."""
        conditions = tuple(dict.fromkeys(name for name in self.auxiliary if set(name) & set("<>=")))
        return conditions, tuple(name for name in self.auxiliary if name not in conditions)

    def fit(
        self, batch: ObservedBatch, moments: Moments, rng: np.random.Generator | None, every_term: bool = False
    ) -> Estimates:
        """Impute, analyse and pool every trial."""
        if rng is None:
            raise ValueError("multiple imputation draws and needs a generator")
        incomplete = self.incomplete(batch, moments)
        fitted, blank = self._fitted(incomplete), BlankArms.of(incomplete)
        drawn, odd = self._drawn(incomplete, fitted, rng), incomplete.flags | self._extrapolated(incomplete)
        if isinstance(self.analysis, InstrumentalVariable) and self.pooled == "effects":
            found, first = pooled_ratio(
                self.analysis, moments_of(self.analysis, islice(drawn, self.m)), rule(self.df),
                fitted.failed | blank.failed, fitted.flags | odd,
            )  # fmt: skip
            found, first_flags = with_extras_of(fitted, found), first.flags
        else:
            completions = drawn if self.tipping == "none" else list(islice(drawn, self.m))
            analyses = analyses_of(self.analysis, completions, every_term)
            results = list(islice(analyses, self.m))

            def pooled(analyses: Sequence[tuple[Moments, Estimates]]) -> Estimates:
                found = pooled_estimates(
                    analyses, self.df, levels=(self.level, self.analysis.level), unfit=fitted.failed | blank.failed,
                    flags=fitted.flags | odd,
                )  # fmt: skip
                return with_extras_of(fitted, found)

            first, first_flags = results[0][0], results[0][1].flags
            if self.m_rule == "fixed":
                found = pooled(results)
            else:
                found = in_two_stages(pooled, results, analyses, self.se_cv, self.m_max)
        found = innermost(self.analysis).tested(found)
        if "n_unknown" in found.extras:
            unknown = found.extras["n_unknown"] + incomplete.unknown
            found = replace(found, extras={**found.extras, "n_unknown": unknown})
        if self.tipping != "none":
            tips = self._tipping_points(incomplete, list(completions))
            found = replace(found, extras={**found.extras, "tipping_delta": np.where(found.failed, np.nan, tips)})
        found = LeftOut.of(incomplete, first.analysed).added_to(found)
        if self.resampled:
            used, between = first.analysed.cluster, found.extras.get("between_variance")
            if between is not None:
                error = jackknife_error(batch, used, lambda left: self._estimate(left, rng), between, self.m)
                found = replace(
                    found, extras={**found.extras, "resampled_error": np.where(found.failed, np.nan, error)}
                )
        if not found.failed.any():
            return found
        named = labels(incomplete, self.auxiliary)
        message = messages(fitted, blank, named, found.failed, first_flags)
        return replace(found, notes={**found.notes, "message": message})

    def completed(
        self, batch: ObservedBatch, moments: Moments, rng: np.random.Generator
    ) -> tuple[list[ObservedBatch], Bools]:
        """Completed trials as `fit` analyses them with the same generator, and which could not be imputed (trials,)."""
        incomplete = self.incomplete(batch, moments)
        fitted, blank = self._fitted(incomplete), BlankArms.of(incomplete)
        names = [n for n in (incomplete.model.baseline, incomplete.spec.outcome) if n is not None]
        if self.m_rule == "fixed":
            m = self.m
        else:  # what a copy of the generator pools
            m = int(np.nanmax(self.fit(batch, moments, deepcopy(rng)).extras["m_used"], initial=self.m))
        drawn = islice(self._drawn(incomplete, fitted, rng), m)
        sets = [batch.with_columns({name: one.columns[name] for name in names}) for one in drawn]
        return sets, fitted.failed | blank.failed

    def incomplete(self, batch: ObservedBatch, moments: Moments) -> Incomplete:
        """What is to be imputed of a batch, and from what; ``moments`` are those of `spec`."""
        return Incomplete.of(self.imputation_model(), batch, moments, self.engine().fills_covariates)

    def _extrapolated(self, incomplete: Incomplete) -> NDArray[np.int64]:
        """Flag of trials whose people differ from others by what no observed outcome tells; by arm these fail."""
        if self.by_arm or not self.engine().extrapolates:
            return np.zeros(incomplete.moments.trials, dtype=np.int64)
        return np.where(Unlike.of(incomplete).failed, BIT["aliased"], 0)

    def _fitted(self, incomplete: Incomplete) -> FittedEngine:
        engine = self.engine()
        if self.reference == "control":
            return fit_as_control(engine, incomplete, self.by_arm)
        return fit_by_arm(engine, incomplete) if self.by_arm else engine.fit(incomplete)

    def _drawn(self, incomplete: Incomplete, fitted: FittedEngine, rng: np.random.Generator) -> Iterator[ObservedBatch]:
        """Completed trials, one imputation after the other without end."""
        while True:
            yield self.delta.added(incomplete, fitted.complete(rng))

    def _estimate(self, batch: ObservedBatch, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Pooled estimate, and variance between imputations (trials,)."""
        plain = self.model_copy(update={"resampled": False, "tipping": "none"})
        found = plain.fit(batch, moments(batch, self.spec()), rng)
        return found.estimate[0], found.extras["between_variance"]

    def _tipping_points(self, incomplete: Incomplete, completions: Sequence[ObservedBatch]) -> Floats:
        """Shift on top of ``delta`` that changes whether p < 1 - level (trials,)."""

        def analyse(shift: Floats) -> Analyses:
            moved = (shifted(incomplete, one, self.tipping, shift) for one in completions)
            results = list(analyses_of(self.analysis, moved))
            return Analyses(
                estimates=np.stack([e.estimate[0] for _, e in results]),
                variances=np.stack([e.std_error[0] for _, e in results]) ** 2, df=complete_df(results, self.df)[0],
            )  # fmt: skip

        return tipping_points(analyse, scale(incomplete), self.level, rule(self.df))


@cache
def _with_options(name: str, engine: type[ImputationEngine]) -> type[MultipleImputation]:
    """`mi` with the options of an engine beside its own."""
    taken = sorted(set(engine.model_fields) & set(MultipleImputation.model_fields))
    if taken:
        raise SimtrialError(f"imputation engine '{name}': '{taken[0]}' is an option of mi; give its own another name")
    options: dict[str, Any] = {key: (option.annotation, option) for key, option in engine.model_fields.items()}
    return create_model(f"{MultipleImputation.__name__}:{name}", __base__=MultipleImputation, **options)
