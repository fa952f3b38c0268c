"""Performance measures: one function each, every one with its Monte Carlo standard error and its count.

Notation of Morris, White and Crowther (2019, doi:10.1002/sim.8086): estimates e_i, true value theta, standard errors
s_i, V_i = s_i^2, S the SD of the estimates, n replicates that can be used for the measure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Form = Literal["robust", "normal"]


@dataclass(frozen=True)
class Sample:
    """Results of one method against one estimand in one cell; arrays (replicates,), NaN where something is missing.

    ``truth`` with its own Monte Carlo error ``truth_mcse``; ``alpha`` the nominal type I error.
    """

    estimate: Floats
    std_error: Floats
    ci_lower: Floats
    ci_upper: Floats
    p_value: Floats
    failed: NDArray[np.bool_]
    truth: float
    truth_mcse: float = 0.0
    alpha: float = 0.05


@dataclass(frozen=True)
class Value:
    """A measure: value, Monte Carlo standard error (NaN where there is none), and replicates used."""

    value: float
    mcse: float
    n: int


NOTHING = float("nan")


def _mean(x: Floats) -> Value:
    n = len(x)
    if n == 0:
        return Value(NOTHING, NOTHING, 0)
    with np.errstate(invalid="ignore"):
        spread = float(x.std(ddof=1)) / sqrt(n) if n > 1 else NOTHING
    return Value(float(x.mean()), spread, n)


def _share(x: NDArray[np.bool_]) -> Value:
    n = len(x)
    if n == 0:
        return Value(NOTHING, NOTHING, 0)
    p = float(x.mean())
    return Value(p, sqrt(p * (1 - p) / n), n)


def _present(*arrays: Floats) -> tuple[Floats, ...]:
    seen = np.logical_and.reduce([~np.isnan(a) for a in arrays])
    return tuple(a[seen] for a in arrays)


def mean_estimate(sample: Sample, form: Form) -> Value:
    """Mean of the estimates; MCSE S/sqrt(n)."""
    return _mean(_present(sample.estimate)[0])


def bias(sample: Sample, form: Form) -> Value:
    """Mean of e - theta; MCSE S/sqrt(n), the error of the true value added in squares."""
    found = _mean(_present(sample.estimate)[0] - sample.truth)
    return Value(found.value, float(np.hypot(found.mcse, sample.truth_mcse)), found.n)


def relative_bias(sample: Sample, form: Form) -> Value:
    """Bias in percent of the absolute true value; undefined for a true value of 0."""
    found = bias(sample, form)
    if sample.truth == 0:
        return Value(NOTHING, NOTHING, found.n)
    scale = 100 / abs(sample.truth)
    return Value(found.value * scale, found.mcse * scale, found.n)


def median_bias(sample: Sample, form: Form) -> Value:
    """Median of e - theta; MCSE from the order statistics of a distribution-free 95% interval."""
    (e,) = _present(sample.estimate)
    n = len(e)
    if n == 0:
        return Value(NOTHING, NOTHING, 0)
    d = np.sort(e - sample.truth)
    half = 0.98 * sqrt(n)  # 1.96 sqrt(n)/2 ranks either side of the middle
    low, high = int(np.floor(n / 2 - half)), int(np.ceil(n / 2 + half))
    mcse = float(d[high] - d[low]) / (2 * 1.96) if low >= 0 and high < n else NOTHING
    return Value(float(np.median(d)), float(np.hypot(mcse, sample.truth_mcse)), n)


def empirical_se(sample: Sample, form: Form) -> Value:
    """SD of the estimates S; MCSE normal S/sqrt(2(n-1)), robust by the fourth moment."""
    (e,) = _present(sample.estimate)
    n = len(e)
    if n < 2:
        return Value(NOTHING, NOTHING, n)
    s = float(e.std(ddof=1))
    if form == "normal" or s == 0:
        return Value(s, s / sqrt(2 * (n - 1)), n)
    q = n / (n - 1) * (e - e.mean()) ** 2
    return Value(s, sqrt(n / (n - 1)) * sqrt(float(((q - q.mean()) ** 2).sum())) / (n * 2 * s), n)


def model_se(sample: Sample, form: Form) -> Value:
    """Root mean squared standard error sqrt(mean V); MCSE sqrt(var(V) / (4 n mean V))."""
    (s,) = _present(sample.std_error)
    n = len(s)
    if n < 2:
        return Value(NOTHING, NOTHING, n)
    v = s**2
    mean = float(v.mean())
    mcse = sqrt(float(v.var(ddof=1)) / (4 * n * mean)) if mean > 0 else NOTHING
    return Value(sqrt(mean), mcse, n)


def relative_error_model_se(sample: Sample, form: Form) -> Value:
    """100 (model SE / empirical SE - 1), over replicates with both; MCSE normal, or from V and (e - mean)^2."""
    e, s = _present(sample.estimate, sample.std_error)
    n = len(e)
    if n < 2 or e.std() == 0:
        return Value(NOTHING, NOTHING, n)
    v, b = s**2, (e - e.mean()) ** 2
    ratio = sqrt(float(v.mean()) / float(e.var(ddof=1)))
    if form == "normal":
        mean = float(v.mean())
        mcse = 100 * ratio * sqrt(float(v.var(ddof=1)) / (4 * n * mean**2) + 1 / (2 * (n - 1)))
    else:
        r = float(v.sum() / b.sum())
        mcse = 100 / (2 * ratio) * sqrt(float(((v - r * b) ** 2).sum())) / float(b.sum())
    return Value(100 * (ratio - 1), mcse, n)


def mse(sample: Sample, form: Form) -> Value:
    """Mean of (e - theta)^2; MCSE SD/sqrt(n), and 2 |bias| times the error of the true value."""
    (e,) = _present(sample.estimate)
    found = _mean((e - sample.truth) ** 2)
    shift = 2 * abs(bias(sample, form).value) * sample.truth_mcse
    return Value(found.value, float(np.hypot(found.mcse, shift)), found.n)


def coverage(sample: Sample, form: Form) -> Value:
    """Share of intervals that hold the true value, both ends included; MCSE sqrt(c(1-c)/n)."""
    low, high = _present(sample.ci_lower, sample.ci_upper)
    if np.isnan(sample.truth):
        return Value(NOTHING, NOTHING, len(low))
    return _share((low <= sample.truth) & (sample.truth <= high))


def rejection_rate(sample: Sample, form: Form) -> Value:
    """Share of p-values below alpha, or of intervals that leave out 0 where there is no p-value."""
    outside = (sample.ci_lower > 0) | (sample.ci_upper < 0)
    no_p = np.isnan(sample.p_value)
    rejected = np.where(no_p, outside, sample.p_value < sample.alpha)
    return _share(rejected[~(no_p & np.isnan(sample.ci_lower))])


def mean_width(sample: Sample, form: Form) -> Value:
    """Mean width of the intervals; infinite as soon as one is unbounded."""
    low, high = _present(sample.ci_lower, sample.ci_upper)
    found = _mean(high - low)
    return found if np.isfinite(found.value) else Value(found.value, NOTHING, found.n)


def median_width(sample: Sample, form: Form) -> Value:
    """Median width of the intervals; MCSE from order statistics."""
    low, high = _present(sample.ci_lower, sample.ci_upper)
    widths = Sample(high - low, low, low, high, low, sample.failed, 0.0)
    found = median_bias(widths, form)
    return found if np.isfinite(found.mcse) else Value(found.value, NOTHING, found.n)


def convergence_rate(sample: Sample, form: Form) -> Value:
    """Share of replicates in which the method gave a result."""
    return _share(~sample.failed)


MEASURES: dict[str, Callable[[Sample, Form], Value]] = {
    f.__name__: f
    for f in (
        mean_estimate,
        bias,
        relative_bias,
        median_bias,
        empirical_se,
        model_se,
        relative_error_model_se,
        mse,
        coverage,
        rejection_rate,
        mean_width,
        median_width,
        convergence_rate,
    )
}
"""Every measure by name."""


def count(which: NDArray[np.bool_]) -> Value:
    """How many replicates something happened in; MCSE sqrt(n p (1 - p))."""
    found = _share(which)
    return Value(float(which.sum()), found.mcse * found.n, found.n)


def sample_of(rows: pl.DataFrame, truth: float, truth_mcse: float, alpha: float) -> Sample:
    """Take the arrays of one group of rows."""

    def column(name: str) -> Floats:
        return rows[name].cast(pl.Float64).fill_null(np.nan).to_numpy()

    return Sample(
        column("estimate"),
        column("std_error"),
        column("ci_lower"),
        column("ci_upper"),
        column("p_value"),
        rows["status"].to_numpy() == "failed",
        truth,
        truth_mcse,
        alpha,
    )


def performance(
    rows: pl.DataFrame,
    truths: pl.DataFrame,
    *,
    measures: Sequence[str] = (),
    form: Form = "robust",
    alphas: dict[str, float] | None = None,
) -> pl.DataFrame:
    """Summarise rows into one line per cell, method, estimand and measure.

    Parameters
    ----------
    rows
        One per replicate, method and estimand, with columns cell, method, estimand, estimate, std_error, ci_lower,
        ci_upper, p_value, status and flags.
    truths
        cell, estimand, true_value, true_value_mcse.
    measures
        Names out of `MEASURES`; empty means all.
    form
        Form of the Monte Carlo standard errors.
    alphas
        Nominal type I error per method where it is not 0.05.

    Returns
    -------
    frame
        cell, method, estimand, measure, value, mcse, n; failures and flags are measures ``failures`` and ``flag:NAME``.
    """
    known = {(r["cell"], r["estimand"]): (r["true_value"], r["true_value_mcse"]) for r in truths.iter_rows(named=True)}
    lines: list[tuple[str, str, str, str, float, float, int]] = []
    for (cell, method, estimand), group in rows.group_by("cell", "method", "estimand", maintain_order=True):
        truth, truth_mcse = known.get((cell, estimand), (NOTHING, NOTHING))
        sample = sample_of(group, truth, truth_mcse, (alphas or {}).get(str(method), 0.05))
        found = [("failures", count(sample.failed)), *_flag_counts(group["flags"])]
        found += [(name, MEASURES[name](sample, form)) for name in measures or MEASURES]
        lines += [(str(cell), str(method), str(estimand), name, v.value, v.mcse, v.n) for name, v in found]
    schema = {"cell": pl.String, "method": pl.String, "estimand": pl.String, "measure": pl.String,
              "value": pl.Float64, "mcse": pl.Float64, "n": pl.Int64}  # fmt: skip
    frame = pl.DataFrame(lines, schema=schema, orient="row")
    return frame.with_columns(pl.col("value", "mcse").fill_nan(None))


def _flag_counts(flags: pl.Series) -> Iterable[tuple[str, Value]]:
    lists = flags.fill_null("").str.split(";")
    names = sorted({name for row in lists.unique() for name in row if name})
    return [(f"flag:{name}", count(lists.list.contains(name).to_numpy())) for name in names]
