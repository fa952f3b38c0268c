"""Results replicate by replicate, as figures show them: beside the truth, ranked, and thinned where there are many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import sqrt
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simtrial.arrays import Floats
from simtrial.performance import Options, Sample, sample_of, truth_of
from simtrial.performance.values import Z

POINTS = {
    "estimand": pl.String, "cell": pl.String, "method": pl.String, "replicate": pl.Int64, "estimate": pl.Float64,
    "std_error": pl.Float64, "ci_lower": pl.Float64, "ci_upper": pl.Float64, "true_value": pl.Float64,
    "own": pl.Boolean, "covered": pl.Boolean, "apart": pl.Boolean, "empty": pl.Boolean, "failed": pl.Boolean,
    "nominal": pl.Float64,
}  # fmt: skip


def points(rows: pl.DataFrame, cells: pl.DataFrame, options: Options) -> pl.DataFrame:
    """One line per replicate, method and estimand with `POINTS`, in the order of the rows.

    Where each trial has its own true value, estimates and ends of intervals are differences from it, and
    ``true_value`` is 0.
    """
    known = {(r["cell"], r["estimand"]): r for r in cells.iter_rows(named=True)}
    parts = [pl.DataFrame(schema=POINTS)]
    for (cell, estimand, method), group in rows.group_by("cell", "estimand", "method", maintain_order=True):
        sample = sample_of(group, truth_of(known.get((cell, estimand), {}), options.alpha(str(method))))
        parts.append(_lines(sample, group, {"estimand": estimand, "cell": cell, "method": method}))
    return pl.concat(parts)


def _lines(sample: Sample, group: pl.DataFrame, names: Mapping[str, Any]) -> pl.DataFrame:
    n, shift = group.height, 0.0 if sample.own is None else sample.own
    no, covered = np.zeros(n, dtype=bool), sample.covered
    frame = pl.DataFrame({
        **{name: pl.Series([value], dtype=pl.String).new_from_index(0, n) for name, value in names.items()},
        "replicate": group["replicate"].cast(pl.Int64),
        "estimate": sample.estimate - shift, "std_error": sample.std_error, "ci_lower": sample.ci_lower - shift,
        "ci_upper": sample.ci_upper - shift, "true_value": np.full(n, sample.truth if sample.own is None else 0.0),
        "own": np.full(n, sample.own is not None),
        "covered": pl.Series(covered, nan_to_null=True).cast(pl.Boolean),
        "apart": no if sample.apart is None else sample.apart, "empty": no if sample.empty is None else sample.empty,
        "failed": sample.failed, "nominal": np.full(n, 1 - sample.alpha),
    })  # fmt: skip
    return frame.with_columns(pl.col(pl.Float64).fill_nan(None)).select(list(POINTS)).cast(POINTS)  # type: ignore[arg-type]


def ranked(frame: pl.DataFrame) -> pl.DataFrame:
    """Points that have a confidence set, by how far the truth is from the estimate in standard errors.

    Adds ``centile``: the share of the sets, in percent, whose estimate is at most that far. Sets without a standard
    error are ranked by half their width; bounds that are infinite come first.
    """
    parts = [frame.clear().with_columns(centile=pl.lit(None, dtype=pl.Float64))]
    for part in _panels(frame.filter(pl.col("covered").is_not_null())):
        far = (part["estimate"] - part["true_value"]).abs()
        half = (part["ci_upper"] - part["ci_lower"]) / 2
        scale = part["std_error"].fill_null(half)
        distance = (far / scale).fill_nan(0.0).fill_null(0.0)
        order = distance.arg_sort()
        part = part[order].with_columns(centile=100.0 * pl.int_range(1, pl.len() + 1) / pl.len())
        parts.append(part)
    return pl.concat(parts)


def _panels(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    yield from (part for _, part in frame.group_by("estimand", "cell", "method", maintain_order=True))


def evenly(n: int, most: int) -> NDArray[np.intp]:
    """At most ``most`` of n places, evenly spread, the first and the last among them."""
    return np.arange(n) if n <= most else np.unique(np.linspace(0, n - 1, most).round().astype(np.intp))


def thinned_sets(frame: pl.DataFrame, covering: int, missing: int | None = None) -> pl.DataFrame:
    """Ranked sets of every panel, at most ``covering`` of those that cover, and all that miss (or ``missing``)."""
    parts = [frame.clear()]
    for part in _panels(frame):
        cover = np.flatnonzero(part["covered"].to_numpy())
        miss = np.flatnonzero(~part["covered"].to_numpy())
        kept = [cover[evenly(len(cover), covering)], miss if missing is None else miss[evenly(len(miss), missing)]]
        parts.append(part[np.sort(np.concatenate(kept))])
    return pl.concat(parts)


def thinned_points(frame: pl.DataFrame, most: int, columns: tuple[str, ...]) -> pl.DataFrame:
    """At most ``most`` points of every panel, evenly spread; a tenth of them the furthest from the median."""
    parts = [frame.clear()]
    for part in _panels(frame):
        kept = evenly(part.height, most - most // 10)
        if part.height > most:
            kept = np.union1d(kept, furthest(part, columns, most // 10))
        parts.append(part[kept])
    return pl.concat(parts)


def furthest(part: pl.DataFrame, columns: tuple[str, ...], number: int) -> NDArray[np.intp]:
    """Places of the points furthest from the median, in interquartile ranges of the column where that is most."""
    away = np.zeros(part.height)
    for name in columns:
        values = part[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        there = np.isfinite(values)
        if there.any():
            low, middle, high = np.quantile(values[there], [0.25, 0.5, 0.75])
            spread = high - low or np.abs(values[there] - middle).max() or 1.0
            away = np.fmax(away, np.where(there, np.abs(values - middle) / spread, 0.0))
    return np.argsort(-away, kind="stable")[:number]


def described(frame: pl.DataFrame) -> pl.DataFrame:
    """Every panel of points in numbers: replicates, failures, mean, SD and range of estimates, SEs, the furthest."""
    lines = []
    for part in _panels(frame):
        e, s = part["estimate"], part["std_error"]
        at = furthest(part, ("estimate",), 3).tolist() if e.drop_nulls().len() else list[int]()
        lines.append({
            **{name: part[name][0] for name in ("estimand", "cell", "method", "true_value", "own")},
            "replicates": part.height, "failed": int(part["failed"].sum()), "mean": e.mean(), "sd": e.std(),
            "lowest": e.min(), "highest": e.max(), "model_se": _root_mean_square(s),
            "furthest": ", ".join(str(part["replicate"][i]) for i in at),
        })  # fmt: skip
    return pl.DataFrame(lines, infer_schema_length=None)


def _root_mean_square(values: pl.Series) -> float | None:
    mean = (values**2).mean()
    return None if mean is None else sqrt(float(mean))  # type: ignore[arg-type]


def coverage_band(nominal: float, n: int) -> tuple[float, float]:
    """Where the coverage of n sets lies in 95% of runs, if it is the nominal one: c +- 1.96 sqrt(c (1 - c) / n)."""
    half = Z * sqrt(nominal * (1 - nominal) / n) if n else 0.0
    return max(nominal - half, 0.0), min(nominal + half, 1.0)


def paired_points(frame: pl.DataFrame, reference: str, method: str) -> Floats:
    """Estimates of a method and of the reference on the same replicates: (replicate, reference, method) by rows."""
    columns = ["replicate", "estimate"]
    one, other = (frame.filter(pl.col("method") == name).select(columns).drop_nulls() for name in (reference, method))
    both = one.join(other, on="replicate", how="inner", suffix="_method", maintain_order="left")
    return both.cast(pl.Float64).to_numpy()


def agreement(differences: Floats) -> tuple[float, float, float]:
    """Mean of differences, and Bland and Altman's limits of agreement, 1.96 SD to either side (NaN for less than 2)."""
    if len(differences) < 2:
        return (float(differences.mean()) if len(differences) else float("nan"), float("nan"), float("nan"))
    mean, half = float(differences.mean()), Z * float(differences.std(ddof=1))
    return mean, mean - half, mean + half


def stacked(values: Floats, bins: int = 60, most: float = 0.8) -> Floats:
    """Heights that stack values of like size upon each other, as in a dot plot (values,): 0 up to ``most``."""
    if not len(values):
        return np.zeros(0)
    low, high = float(values.min()), float(values.max())
    width = (high - low) / bins or 1.0
    box = np.minimum(((values - low) / width).astype(np.intp), bins)
    order = np.argsort(box, kind="stable")
    first = np.searchsorted(box[order], box[order])
    height = np.empty(len(values))
    height[order] = np.arange(len(values)) - first
    return np.asarray(height * (most / max(float(height.max()), 12.0)))
