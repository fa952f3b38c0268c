"""Input, output and options of every method of analysis.

A method is a frozen options model with three members: ``spec()`` says which rows and columns it analyses, ``reads()``
which columns it needs, and ``fit`` turns observed trials into `Estimates`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from simtrial.arrays import Floats
from simtrial.batch import ObservedBatch, averaged
from simtrial.expressions import columns, parse
from simtrial.flags import BIT
from simtrial.kernels.joint_test import JointTest
from simtrial.moments.moments import Moments
from simtrial.moments.rows import PRODUCT, Spec
from simtrial.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Estimates:
    """Results of a method for every trial; arrays (terms, trials) or (trials,), the target term first.

    ``failed`` trials carry NaN wherever nothing can be said; ``flags`` are bits of `simtrial.flags`; ``extras`` are
    named arrays (trials,) such as icc or first_stage_f; ``notes`` named texts per trial; ``joint`` is the test of
    several terms that the target may be.
    """

    terms: tuple[str, ...]
    estimate: Floats
    std_error: Floats
    df: Floats
    ci_lower: Floats
    ci_upper: Floats
    p_value: Floats
    failed: NDArray[np.bool_]
    flags: NDArray[np.int64]
    n_used: Floats
    clusters_used: Floats
    extras: Mapping[str, Floats] = field(default_factory=dict)
    notes: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    joint: JointTest | None = None


class Method(BaseModel):
    """Options that every method has.

    Frozen and checked when the scenario is read. ``adjust`` left out means the baseline of the response and the factors
    of the allocation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    draws: ClassVar[bool] = False
    sees_all: ClassVar[bool] = False
    times_itself: ClassVar[bool] = False  # whether it keeps the time limit of a fit trial by trial
    target: ClassVar[str] = "arm"
    effect: ClassVar[bool] = True  # whether the estimate is an effect, judged against an estimand by default
    interacts: ClassVar[bool] = False
    t_interval: ClassVar[bool] = True  # whether interval and p-value are those of t on estimate, standard error and df

    kind: str
    name: Annotated[str, Field(min_length=1, max_length=120, description="free text, unique within the file")]
    response: str = Field("", description="outcome analysed; default: the primary outcome")
    outcome: Literal["followup", "change"] = Field("followup", description="analyse follow-up or change from baseline")
    adjust: list[str] | None = Field(None, description="covariates; default: baseline and allocation factors")
    interaction: str | None = Field(None, description="covariate whose interaction with arm is tested (lmm and ols)")
    subset: str | None = Field(None, description="expression that an analysed participant must meet")
    level: float = Field(0.95, gt=0.5, lt=1, description="level of the interval")
    estimand: str | list[str] | None = Field(None, description="estimands the method is compared with")

    @classmethod
    def variant(cls, options: Mapping[str, object]) -> type[Method]:
        """Model that checks these options: one with more of them, where an option chooses what has its own."""
        return cls

    @model_validator(mode="after")
    def _interaction_is_tested(self) -> Method:
        inner = getattr(self, "analysis", None)
        wanted = self.interaction is not None or (isinstance(inner, Method) and inner.interaction is not None)
        if wanted and not self.interacts:
            raise ValueError(
                f"kind '{self.kind}' tests no interaction; lmm and ols do, alone or inside per-protocol or mi"
            )
        if self.interaction in ("arm", "practice"):
            raise ValueError(f"interaction = '{self.interaction}': name a covariate, numeric or with categories")
        return self

    def tested_covariate(self) -> str | None:
        """Covariate whose interaction with arm is tested, None without one."""
        return self.spec().interaction

    def target_term(self, moments: Moments) -> str:
        """Name of the term that is reported first: arm, one product, or the joint test of several."""
        if self.interaction is None:
            return self.target
        return moments.products[0] if len(moments.products) == 1 else f"{PRODUCT}{self.interaction}"

    def starting(self, moments: Moments) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Which trials cannot be fitted, and flags so far: those without any product to test have failed as well."""
        if self.interaction is None:
            return moments.failed, moments.flags
        lost = ~moments.failed & ~moments.kept[[moments.terms.index(t) for t in moments.products]].any(axis=0)
        return moments.failed | lost, moments.flags | np.where(lost, BIT["arm_aliased"], 0)

    def tested(self, found: Estimates) -> Estimates:
        """Report one product like a joint test: its t statistic, 1 and its df."""
        if self.interaction is None or "statistic" in found.extras:
            return found
        with np.errstate(invalid="ignore", divide="ignore"):
            statistic = found.estimate[0] / found.std_error[0]
        numbers = {"statistic": statistic, "df_num": np.where(found.failed, np.nan, 1.0), "df_den": found.df[0]}
        return replace(found, extras={**found.extras, **numbers})

    def spec(self) -> Spec:
        """Rows and columns analysed."""
        where = (self.subset,) if self.subset else ()
        minus = f"{self.response}_baseline" if self.outcome == "change" else None
        adjust = tuple(self.adjust or ())
        if self.interaction is not None and self.interaction not in adjust:
            adjust = (*adjust, self.interaction)
        return Spec(
            outcome=f"{self.response}_followup",
            minus=minus,
            adjust=adjust,
            where=where,
            received=None,
            interaction=self.interaction,
        )

    def reads(self) -> frozenset[str]:
        """Names of the observed columns the method needs."""
        spec = self.spec()
        needed = {"arm", spec.outcome, *(averaged(name) or name for name in spec.adjust)}
        if spec.minus is not None:
            needed.add(spec.minus)
        for text in self.expressions():
            needed |= columns(parse(text))
        return frozenset(needed)

    def is_random(self) -> bool:
        """Whether it draws, and is handed a stream of its own."""
        return self.draws

    def has_t_interval(self) -> bool:
        """Whether its inference is t on estimate, standard error and df, as Rubin's rules need."""
        return self.t_interval and self.effect

    def expressions(self) -> tuple[str, ...]:
        """Expressions among the options, to be checked when the file is read."""
        return (self.subset,) if self.subset else ()

    def fit(
        self, batch: ObservedBatch, moments: Moments, rng: np.random.Generator | None, every_term: bool = False
    ) -> Estimates:
        """Analyse every trial of a batch.

        Parameters
        ----------
        batch
            Observed trials.
        moments
            ``moments(batch, self.spec())``, made once and shared by the methods that ask for the same.
        rng
            The method's own stream, for methods that draw.
        every_term
            Report every coefficient, not just the target.
        """
        raise NotImplementedError(self.kind)  # pragma: no cover - every registered method has its own


M = TypeVar("M", bound=type[Method])

METHODS: Registry[type[Method]] = Registry("kind of method", "simtrial.estimators")


def register(kind: str, source: object = None) -> Callable[[M], M]:
    """Enter a method under the name that scenario files use; a name that is taken is an error.

    ``source`` is the function that the method was made from, if it was.
    """

    def enter(method: M) -> M:
        METHODS.enter(kind, method, source)
        return method

    return enter


def kinds() -> dict[str, type[Method]]:
    """Every kind of method, by the name scenario files use."""
    return METHODS.all()


def method_class(kind: str) -> type[Method]:
    """Return the method of a kind, or suggest the closest name."""
    return METHODS.get(kind)
