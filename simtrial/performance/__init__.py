"""Performance measures: one function each, every one with its Monte Carlo standard error and its count."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import wraps
from inspect import isfunction
from math import sqrt
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simtrial.arrays import Floats
from simtrial.kernels.interval_sets import EMPTY, KINDS, TWO_RAYS
from simtrial.performance import measures, paired, robust
from simtrial.performance.sample import NOTHING, Form, Sample, Value, mean, present

__all__ = ["MEASURES", "PAIRED", "SHARES", "Form", "Options", "Sample", "Value", "counted", "performance", "sample_of"]


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


def performance(rows: pl.DataFrame, truths: pl.DataFrame, options: Options | None = None) -> pl.DataFrame:
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
    for cell, estimand in rows.select("cell", "estimand").unique(maintain_order=True).iter_rows():
        here = (pl.col("cell") == cell) & (pl.col("estimand") == estimand)
        truth = known.get((cell, estimand), {})
        methods = [str(m) for m in rows.select(pl.col("method").filter(here).unique(maintain_order=True))["method"]]
        group = _complete(rows.filter(here)) if chosen.common else rows  # a copy of a million replicates fills memory

        def sampled(
            method: str, group: pl.DataFrame = group, here: pl.Expr = here, truth: dict[str, Any] = truth
        ) -> _Rows:
            part = group.filter(here & (pl.col("method") == method))
            return sample_of(part, truth, chosen, method), part

        reference = sampled(chosen.reference) if chosen.reference is not None and chosen.reference in methods else None
        for method in methods:  # one at a time, for the same reason
            sample, part = sampled(method)
            found = [("failures", count(int(sample.failed.sum()), len(sample.failed))), *_flag_counts(part["flags"])]
            found += _set_counts(part)
            found += [] if sample.own is None else [("own_true_value", mean(present(sample.own)[0]))]
            found += _plain(sample, chosen)
            if reference is not None and method != chosen.reference:
                found += _paired((sample, part), reference, chosen)
            lines += [(cell, method, estimand, name, v.value, v.mcse, v.n, *v.interval) for name, v in found]
    frame = pl.DataFrame(lines, schema=SCHEMA, orient="row")
    return frame.with_columns(pl.col(pl.Float64).fill_nan(None))


def _plain(sample: Sample, options: Options) -> Iterator[tuple[str, Value]]:
    for name in options.measures or MEASURES:
        if name in MEASURES:
            yield name, MEASURES[name](sample, options.form)


_Rows = tuple[Sample, pl.DataFrame]
"""Results of a method, and the rows that they come from."""


def _paired(sample: _Rows, reference: _Rows, options: Options) -> Iterator[tuple[str, Value]]:
    """Measures against the reference, replicate by replicate."""
    (one, rows), (other, others) = sample, reference
    a, b = rows["replicate"].to_numpy(), others["replicate"].to_numpy()
    if not np.array_equal(a, b):
        _, at, there = np.intersect1d(a, b, return_indices=True)
        one, other = one.only(at), other.only(there)
    for name in [name for name in options.measures if name in PAIRED] or PAIRED:  # none named: all, for one was asked
        yield name, PAIRED[name](one, other, options.form)


def _complete(group: pl.DataFrame) -> pl.DataFrame:
    """Replicates in which every method has an estimate and a standard error, or the p-value of a joint test.

    A method that never has a standard error needs none.
    """
    methods = group["method"].n_unique()
    errors = pl.col("std_error").is_not_null()
    enough = (errors | ~errors.any().over("method")).alias("enough")
    has = pl.col("estimate").is_not_null() & pl.col("enough")
    has |= pl.col("estimate").is_null() & pl.col("p_value").is_not_null()
    return group.with_columns(enough).filter(has.sum().over("replicate") == methods).drop("enough")


def sample_of(group: pl.DataFrame, truth: Mapping[str, Any], options: Options, method: str) -> Sample:
    """Arrays of one method's rows, and the true value: that of the cell, or each trial's own."""

    def column(name: str) -> Floats:
        return group[name].cast(pl.Float64).fill_null(np.nan).to_numpy()

    failed = (group["status"] == "failed").to_numpy()
    names = ("estimate", "std_error", "ci_lower", "ci_upper", "p_value")
    e, s, low, high, p = (np.where(failed, np.nan, column(n)) for n in names)  # whatever a failed fit could still say
    sets = (
        {} if "ci_type" not in group.columns else {"apart": _is(group, TWO_RAYS), "empty": _is(group, EMPTY) & ~failed}
    )
    value = truth.get("true_value")
    sample = Sample(
        estimate=e, std_error=s, ci_lower=low, ci_upper=high, p_value=p, failed=failed,
        truth=NOTHING if value is None else value, truth_mcse=truth.get("true_value_mcse") or 0.0,
        alpha=options.alphas.get(method, 0.05), **sets,
    )  # fmt: skip
    if not truth.get("own"):
        return sample
    there = "own_true_value" in group.columns
    own = column("own_true_value") if there else np.full(group.height, np.nan)
    return replace(sample, truth=NOTHING, truth_mcse=0.0, own=own)


def _is(group: pl.DataFrame, kind: str) -> NDArray[np.bool_]:
    return (group["ci_type"] == kind).fill_null(False).to_numpy()


def _set_counts(group: pl.DataFrame) -> list[tuple[str, Value]]:
    """One measure for each type of confidence set seen but the plain interval."""
    if "ci_type" not in group.columns:
        return []
    seen = group.filter((pl.col("status") != "failed") & pl.col("ci_type").is_in(KINDS[1:]))["ci_type"].cast(pl.String)
    times = dict(zip(*(column.to_list() for column in seen.value_counts().get_columns()), strict=True))
    return [(f"ci_type:{kind}", count(times[kind], group.height)) for kind in KINDS if kind in times]


def count(times: int, n: int) -> Value:
    """How many of n replicates something happened in; MCSE sqrt(n p (1 - p))."""
    return Value(float(times), sqrt(times * (1 - times / n)) if n else NOTHING, n, counted=True)


def _flag_counts(flags: pl.Series) -> Iterable[tuple[str, Value]]:
    """One measure per flag seen; replicates share few combinations, which are taken apart once each."""
    n = len(flags)
    times: dict[str, int] = {}
    for text, seen in zip(*(column.to_list() for column in flags.value_counts().get_columns()), strict=True):
        for name in set((text or "").split(";")) - {""}:
            times[name] = times.get(name, 0) + seen
    return [(f"flag:{name}", count(times[name], n)) for name in sorted(times)]
