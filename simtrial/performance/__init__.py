"""Performance measures: one function each, every one with its Monte Carlo standard error and its count."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from inspect import isfunction
from math import sqrt
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl

from simtrial.kernels.interval_sets import KINDS
from simtrial.performance import measures, paired, robust
from simtrial.performance.groups import Group, Judged, sample_of, truth_of
from simtrial.performance.rows import Rows, groups_of
from simtrial.performance.sample import Sample
from simtrial.performance.summing import mean, present
from simtrial.performance.values import NOTHING, Form, Value

__all__ = [
    "MEASURES", "PAIRED", "SHARES", "Form", "Options", "Sample", "Value", "counted", "performance", "sample_of",
    "truth_of",
]  # fmt: skip


def _public(module: ModuleType) -> list[Callable[..., Value]]:
    found = [f for n, f in vars(module).items() if isfunction(f) and f.__module__ == module.__name__ and n[0] != "_"]
    return [f for f in found if f.__annotations__.get("return") in ("Value", "Share", "Width")]


def _sound(measure: Callable[..., Value]) -> Callable[..., Value]:
    """Guard a measure: overflow is a missing value, without numpy warnings."""
    unbounded = measure.__annotations__["return"] == "Width"

    @wraps(measure)
    def guarded(*arguments: Any) -> Value:
        with np.errstate(all="ignore"):
            return measure(*arguments).sound(unbounded)

    return guarded


_PLAIN = [*_public(measures), *_public(robust)]

MEASURES: dict[str, Callable[[Sample, Form], Value]] = {f.__name__: _sound(f) for f in _PLAIN}
"""Measures of one method by name."""

PAIRED: dict[str, Callable[[Sample, Sample, Form], Value]] = {f.__name__: _sound(f) for f in _public(paired)}
"""Measures of a method against the reference method, by name."""

SEEN = ("flag:", "ci_type:")
"""How the names of measures begin that count flags, and confidence sets other than intervals, where there are any."""

SHARES = frozenset(f.__name__ for f in _PLAIN if f.__annotations__["return"] == "Share")
"""Measures that are shares of replicates, by their return types."""


def counted(measure: str) -> bool:
    """Whether a measure is a number of replicates: failures, a flag, or a type of confidence set."""
    return measure == "failures" or measure.startswith(SEEN)


SCHEMA = {
    "cell": pl.String,
    "method": pl.String,
    "estimand": pl.String,
    "measure": pl.String,
    "value": pl.Float64,
    "mcse": pl.Float64,
    "n": pl.Int64,
    "mc_lower": pl.Float64,
    "mc_upper": pl.Float64,
}


@dataclass(frozen=True)
class Options:
    """What to report.

    ``measures`` by name (empty: all); ``form`` of the Monte Carlo standard errors; ``reference`` method for paired
    measures (none: no paired measures); ``alphas`` nominal type I error by method where it is not 0.05; ``common``:
    only replicates in which every method of the estimand has an estimate.
    """

    measures: Sequence[str] = ()
    form: Form = "robust"
    reference: str | None = None
    alphas: Mapping[str, float] = field(default_factory=dict)
    common: bool = False

    def alpha(self, method: str) -> float:
        """Nominal type I error of a method."""
        return self.alphas.get(method, 0.05)


def performance(rows: Rows, truths: pl.DataFrame, options: Options | None = None) -> pl.DataFrame:
    """Summarise rows into one line per cell, method, estimand and measure.

    Parameters
    ----------
    rows
        One per replicate, method and estimand, with columns cell, replicate, method, estimand, estimate, std_error,
        ci_lower, ci_upper, p_value, status and flags; own_true_value where trials have true values of their own;
        ci_type where confidence sets need not be intervals (see `simtrial.kernels.interval_sets`).
    truths
        cell, estimand, true_value, true_value_mcse; ``own`` where methods are judged against each trial's own.

    Returns
    -------
    frame
        cell, method, estimand, measure, value, mcse, n, and the 95% Monte Carlo interval mc_lower, mc_upper; failures
        and flags are measures ``failures`` and ``flag:NAME``, sets other than intervals ``ci_type:NAME``, and
        ``own_true_value`` is the mean of the trials' own.
    """
    chosen = options or Options()
    known = {(r["cell"], r["estimand"]): r for r in truths.iter_rows(named=True)}
    lines: list[tuple[object, ...]] = []
    for group in groups_of(rows, chosen.common):
        cell, estimand = group.cell, group.estimand
        truth = known.get((cell, estimand), {})

        def judged(method: str, group: Group = group, truth: Mapping[str, Any] = truth) -> Judged:
            return group.judged(method, truth_of(truth, chosen.alpha(method)))

        compared = chosen.reference
        reference = judged(compared) if compared is not None and compared in group.methods else None
        for method in group.methods:  # one at a time: together they would fill the memory
            one = judged(method)
            found = _counts(one)
            found += _plain(one.sample, chosen)
            if reference is not None and method != compared:
                found += _paired(group.beside(one, reference), chosen)
            lines += [(cell, method, estimand, name, v.value, v.mcse, v.n, *v.interval) for name, v in found]
    frame = pl.DataFrame(lines, schema=SCHEMA, orient="row")
    return frame.with_columns(pl.col(pl.Float64).fill_nan(None))


def _plain(sample: Sample, options: Options) -> Iterator[tuple[str, Value]]:
    for name in options.measures or MEASURES:
        if name in MEASURES:
            yield name, MEASURES[name](sample, options.form)


def _paired(samples: tuple[Sample, Sample], options: Options) -> Iterator[tuple[str, Value]]:
    """Measures against the reference, replicate by replicate."""
    for name in [name for name in options.measures if name in PAIRED] or PAIRED:  # none named: all, for one was asked
        yield name, PAIRED[name](*samples, options.form)


def count(times: int, n: int) -> Value:
    """How many of n replicates something happened in; MCSE sqrt(n p (1 - p))."""
    return Value(float(times), sqrt(times * (1 - times / n)) if n else NOTHING, n, counted=True)


def _counts(judged: Judged) -> list[tuple[str, Value]]:
    """Failures, flags and types of confidence sets other than the plain interval; the mean of own true values."""
    sample, n = judged.sample, len(judged.sample.failed)
    times: dict[str, int] = {}
    for text, seen in judged.flags.items():  # replicates share few combinations
        for name in set(text.split(";")) - {""}:
            times[name] = times.get(name, 0) + seen
    found = [("failures", count(int(sample.failed.sum()), n))]
    found += [(f"flag:{name}", count(times[name], n)) for name in sorted(times)]
    found += [(f"ci_type:{kind}", count(judged.sets[kind], n)) for kind in KINDS[1:] if kind in judged.sets]
    return found if sample.own is None else [*found, ("own_true_value", mean(present(sample.own)[0]))]
