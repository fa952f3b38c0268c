"""Tables of a scenario file beside mechanism, estimands and methods: their keys, bounds and meanings."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"


class Table(BaseModel):
    """What all tables have in common: unknown keys, other types and infinity are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Aims(Table):
    """What the simulation is to find out, in words."""

    question: str = Field("", description="the question the simulation answers")
    source: str = Field("", description="where the settings come from")


class Performance(Table):
    """What is reported of every method."""

    measures: list[str] = Field(default_factory=list, description="measures to report; default: all")
    mcse: Literal["robust", "jackknife", "normal"] = Field("robust", description="form of Monte Carlo standard errors")
    reference: str = Field("", description="method the others are compared with, trial by trial; empty: none")


MOST_REPLICATES = 100_000_000
"""Replicates that a cell may have."""


class Run(Table):
    """How much is run, and from which seed."""

    replicates: int = Field(1000, ge=1, le=MOST_REPLICATES, description="replicates per cell")
    seed: int = Field(1, ge=0, lt=2**63, description="seed of the run")
    block: int = Field(250, ge=1, le=100_000, description="replicates drawn together; part of the scenario's identity")
    method_seconds: float | None = Field(None, gt=0, description="time limit of one fit by a method of your own")
    streams: Literal["independent", "common"] = Field("independent", description="random streams across cells")


class Published(Table):
    """A published result to show beside the simulated ones of a method."""

    method: str = Field(description="name of the method")
    estimate: float = Field(description="published estimate")
    ci_lower: float = Field(description="published lower limit")
    ci_upper: float = Field(description="published upper limit")
    source: str = Field("", description="where it is printed")

    @model_validator(mode="after")
    def _interval(self) -> Published:
        if self.ci_lower >= self.ci_upper:
            raise ValueError("ci_lower must be below ci_upper")
        return self


class Expectation(Table):
    """What `simtrial check` asserts of a measure: a theory value, or bounds, judged in Monte Carlo errors."""

    measure: str = Field(description="name of a measure, failures, or flag:NAME (as a share of replicates)")
    method: str = Field(description="name of the method")
    estimand: str = Field("", description="estimand, where a method has several")
    cell: dict[str, Any] = Field(default_factory=dict, description="factors of the cells; default: all cells")
    value: float | None = Field(None, description="theory or published value")
    mcse: float = Field(0.0, ge=0, description="Monte Carlo error of that value")
    lower: float | None = Field(None, description="lower bound")
    upper: float | None = Field(None, description="upper bound")
    margin: float = Field(0.0, ge=0, description="difference that does not matter")
    z: float | None = Field(None, gt=0, description="standard errors allowed; default: by the check's false-alarm rate")
    source: str = Field("", description="where the expectation comes from")

    @model_validator(mode="after")
    def _something(self) -> Expectation:
        bounds = self.lower is not None or self.upper is not None
        if (self.value is None) != bounds:
            raise ValueError("an expectation has either a value, or a lower and/or an upper bound")
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise ValueError("lower is above upper")
        return self


class Check(Table):
    """What `simtrial check` demands of every method, beside [[expect]]."""

    failures: float = Field(
        0.01, ge=0, le=1, description="share of failed fits that a method may have, where no [[expect]] states another"
    )


class Margins(Table):
    """Differences from a baseline that do not matter to `simtrial check --baseline`."""

    bias: float = Field(0.05, ge=0, description="shift of the estimates, in empirical standard errors")
    empirical_se: float = Field(0.02, ge=0, description="relative change of the empirical standard error")
    std_error: float = Field(0.02, ge=0, description="relative change of standard errors, trial by trial")
    model_se: float = Field(0.02, ge=0, description="relative change of the model standard error")
    half_width: float = Field(0.02, ge=0, description="relative change of half-widths of confidence sets")
    df: float = Field(0.02, ge=0, description="relative change of the t quantile that degrees of freedom give")
    p_value: float = Field(0.02, ge=0, description="change of the mean p-value")
    coverage: float = Field(0.005, ge=0, description="change of coverage, as a share of replicates")
    rejection_rate: float = Field(0.005, ge=0, description="change of the power or the type I error, as a share")
    failures: float = Field(0.005, ge=0, description="change of the share of failed fits, or of missing values")


class Vary(Table):
    """Factors of a sweep: ``cross`` full factorial, ``zip`` moved together, ``exclude`` combinations left out."""

    cross: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)
    zip: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)
    exclude: list[dict[str, Any]] = Field(default_factory=list)


class Head(Table):
    """The keys above the first table."""

    schema_: Literal[1] = Field(1, alias="schema", description="version of the file format")
    name: str = Field(pattern=NAME, description="short name: lower-case letters, digits, - and _")
    title: str = Field("", description="one line for people")
    primary: str = Field("", description="outcome of methods and estimands that name none; default: the only one")
