"""An estimator of one's own as a plain function of one trial's data frame."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import polars as pl
from pydantic import Field, create_model

from simtrial.batch import ObservedBatch
from simtrial.errors import in_words
from simtrial.estimators import Estimates, Method, register, wald
from simtrial.estimators.contained import (
    FitTimeoutError,
    limited,
    quiet,
    seconds_per_fit,
    seeded,
    skip_seeds,
    trial_wanted,
    unseen,
)
from simtrial.expressions import truth
from simtrial.flags import BIT
from simtrial.moments.moments import Moments
from simtrial.moments.shared import SharedMoments
from simtrial.plugins.trial_frame import trial_frame

COMMON = ("adjust", "response", "outcome", "level", "subset")
"""Common options handed to a function that has a parameter of that name."""

NUMBERS = ("estimate", "std_error", "df", "ci_lower", "ci_upper", "p_value")

Result = tuple[dict[str, float], tuple[str, ...], str]
"""Numbers, flags and message of one trial; without numbers it has failed."""


class PlainMethod(Method):
    """A user's function called trial by trial; an error fails only the rows of that trial."""

    sees_all: ClassVar[bool] = True
    times_itself: ClassVar[bool] = True
    function: ClassVar[Callable[..., Any]]
    needs: ClassVar[tuple[str, ...]] = ()
    parameters: ClassVar[tuple[str, ...]] = ()

    def reads(self) -> frozenset[str]:
        """Names of the observed columns the method needs."""
        return super().reads() | frozenset(self.needs)

    def fit(
        self, batch: ObservedBatch, moments: Moments, rng: np.random.Generator | None, every_term: bool = False
    ) -> Estimates:
        """Call the function for every trial in turn, or for the one that is wanted.

        What a function is not given cannot be unusual about its fit: covariates count if it takes ``adjust``.
        """
        if "adjust" not in self.parameters:
            moments = SharedMoments(batch).moments(replace(self.spec(), adjust=(), interaction=None))
        results = [self._in_turn(batch, t, rng) for t in range(batch.index.trials)]
        numbers = np.array([[found.get(name, np.nan) for name in NUMBERS] for found, _, _ in results]).T
        flags = np.array([sum(BIT[flag] for flag in names) for _, names, _ in results], dtype=np.int64) | moments.flags
        failed = np.array([not found for found, _, _ in results])
        estimate, std_error, df, lower, upper, p = (row[None] for row in numbers)
        df = np.where(np.isnan(df) & ~np.isnan(std_error), np.inf, df)
        _, low, high, p_made = wald(estimate, std_error**2, df, self.level)
        no_interval = np.isnan(lower) & np.isnan(upper)
        lower, upper = np.where(no_interval, low, lower), np.where(no_interval, high, upper)
        message = np.array([text for _, _, text in results])
        return Estimates(
            terms=(self.target,), estimate=estimate, std_error=std_error, df=df, ci_lower=lower, ci_upper=upper,
            p_value=np.where(np.isnan(p), p_made, p), failed=failed, flags=flags,
            n_used=moments.counts, clusters_used=moments.clusters, notes={"message": message},
        )  # fmt: skip

    def _people(self, trial: ObservedBatch) -> pl.DataFrame:
        """One trial's frame: people who meet the ``subset``, unless the function takes it and sees to it itself."""
        frame = frame_of(trial)
        if self.subset is None or "subset" in self.parameters:
            return frame
        return frame.filter(pl.Series(truth(self.subset, trial).holds, dtype=pl.Boolean))

    def _in_turn(self, batch: ObservedBatch, trial: int, rng: np.random.Generator | None) -> Result:
        """Result of a trial; of one that is not wanted, after what the wanted one needs of it: draws made before."""
        wanted = trial_wanted.get()
        if wanted in (None, trial):
            return self._one(batch.only(trial), rng)
        if self.draws and trial < wanted:
            with unseen():
                self._one(batch.only(trial), rng)
        else:
            skip_seeds()
        return {}, (), ""

    def _one(self, trial: ObservedBatch, rng: np.random.Generator | None) -> Result:
        """Return numbers, flags and message of one trial."""
        extra: dict[str, Any] = {name: getattr(self, name) for name in self.parameters}
        if self.draws:
            extra["rng"] = rng
        try:
            with quiet(), limited(seconds_per_fit.get()) as limit, seeded() as drawn:
                found = type(self).function(self._people(trial), **extra)
        except MemoryError:
            raise
        except FitTimeoutError as error:
            if error.limit is not limit:  # the time of all trials together is up
                raise
            return {}, ("timeout",), in_words(error)
        except (Exception, SystemExit) as error:
            return {}, ("error",), in_words(error)
        numbers, flag, message = checked(found)
        return numbers, (flag,) * bool(flag) + ("global_random",) * drawn[0], message


def checked(found: Any) -> tuple[dict[str, float], str, str]:
    """Check a function's result: numbers, flag (empty if valid), and error message."""
    if not isinstance(found, Mapping):
        return {}, "invalid_result", f"returned {type(found).__name__}; a dict with 'estimate' is expected"
    unknown = sorted(set(map(str, found)) - set(NUMBERS))
    if unknown:
        return {}, "invalid_result", f"unknown keys {', '.join(unknown)} (allowed: {', '.join(NUMBERS)})"
    try:
        numbers = {str(k): np.nan if v is None else float(v) for k, v in found.items()}
    except (TypeError, ValueError) as error:
        return {}, "invalid_result", f"not a number: {error}"
    estimate, std_error = numbers.get("estimate", np.nan), numbers.get("std_error", np.nan)
    if not np.isfinite(estimate):
        return {}, "invalid_result", f"estimate is {estimate}"
    if std_error < 0 or np.isinf(std_error):
        return {}, "invalid_result", f"std_error is {std_error}"
    if numbers.get("df", 1.0) <= 0:
        return {}, "invalid_result", f"df is {numbers['df']}"
    if not (0 <= numbers.get("p_value", 0.5) <= 1 or np.isnan(numbers["p_value"])):
        return {}, "invalid_result", f"p_value is {numbers['p_value']}"
    if numbers.get("ci_lower", -np.inf) > numbers.get("ci_upper", np.inf):
        return {}, "invalid_result", "ci_lower is above ci_upper"
    return numbers, "", ""


def frame_of(trial: ObservedBatch) -> pl.DataFrame:
    """One trial as its analyst would have it: factors as text."""
    return trial_frame(trial).with_columns(pl.col(pl.Enum).cast(pl.String))


def plain_method(
    kind: str, reads: Sequence[str] = ()
) -> Callable[[Callable[..., Mapping[str, Any]]], Callable[..., Mapping[str, Any]]]:
    """Register a function of one trial's frame as a kind of method.

    The function takes a polars frame (practice, arm and every observed column) and returns a dict with ``estimate`` and
    any of ``std_error, df, ci_lower, ci_upper, p_value``. Its further parameters with defaults become options of the
    method; parameters named adjust, response, outcome, level or subset receive the common option; ``rng`` receives the
    method's own generator.

    Parameters
    ----------
    kind
        Name in scenario files.
    reads
        Columns it needs besides the outcome, so that a scenario without them is refused when it is read.
    """

    def enter(function: Callable[..., Mapping[str, Any]]) -> Callable[..., Mapping[str, Any]]:
        """Make a method of the function, with its own parameters as options."""
        parameters = list(inspect.signature(function).parameters.values())[1:]
        own = [p for p in parameters if p.name not in (*COMMON, "rng")]
        missing = [p.name for p in own if p.default is inspect.Parameter.empty]
        if missing:
            raise TypeError(f"{kind}: parameters need defaults: {', '.join(missing)}")
        options: dict[str, Any] = {
            p.name: (type(p.default), Field(p.default, description="option of its own")) for p in own
        }
        model = create_model(f"Plain_{kind}", __base__=PlainMethod, kind=(str, kind), **options)
        model.function = staticmethod(function)
        model.needs = tuple(reads)
        model.parameters = tuple(p.name for p in parameters if p.name != "rng")
        model.draws = any(p.name == "rng" for p in parameters)
        model.__doc__ = inspect.getdoc(function) or f"A function of your own, {function.__name__}."
        register(kind, source=function)(model)
        return function

    return enter
