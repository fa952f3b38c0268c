"""Rows of a method as a run stores them, made by hand, and comparisons of two such sets."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from simtrial.check.compare import Comparison, Line, compare, pairs_of
from simtrial.performance import Options
from simtrial.scenario.tables import Margins

Arrays = dict[str, np.ndarray]


def trials(n: int = 1000, seed: int = 1, *, effect: float = 0.0, df: float = 22.0) -> Arrays:
    """Results of a t interval with these df: estimates of SD 1, and the standard errors that go with them."""
    rng = np.random.default_rng(seed)
    estimate = effect + rng.normal(size=n)
    std_error = np.sqrt(rng.chisquare(df, size=n) / df)
    return {"estimate": estimate, "std_error": std_error, "df": np.full(n, df)}


def rows(arrays: Mapping[str, np.ndarray], method: str = "m", **more: Any) -> pl.DataFrame:
    """Rows with t intervals and p-values where the arrays have none; NaN in the estimate is a failed fit."""
    a = dict(arrays)
    failed = np.isnan(a["estimate"])
    with np.errstate(invalid="ignore", divide="ignore"):
        quantile = np.where(np.isinf(a["df"]), stats.norm.ppf(0.975), stats.t.ppf(0.975, a["df"]))
        half = quantile * a["std_error"]
        a.setdefault("ci_lower", a["estimate"] - half)
        a.setdefault("ci_upper", a["estimate"] + half)
        tail = np.abs(a["estimate"] / a["std_error"])
        p = np.where(np.isinf(a["df"]), 2 * stats.norm.sf(tail), 2 * stats.t.sf(tail, a["df"]))
        a.setdefault("p_value", p)
    frame = pl.DataFrame({name: np.where(failed, np.nan, values) for name, values in a.items()}).fill_nan(None)
    n = frame.height
    return frame.select(
        pl.lit("base").alias("cell"), pl.Series("replicate", np.arange(1, n + 1)), pl.lit(method).alias("method"),
        pl.lit("itt").alias("estimand"), pl.all(), pl.Series("status", np.where(failed, "failed", "ok")),
        *(pl.Series(name, values) for name, values in more.items()),
    )  # fmt: skip


def compared(
    before: pl.DataFrame, now: pl.DataFrame, *, truth: float = 0.0, margins: Mapping[str, float] | None = None
) -> Comparison:
    """Comparison of one method's rows."""
    truths = {("base", "itt"): {"true_value": truth, "true_value_mcse": 0.0}}
    pairs = pairs_of(before, now, truths, Options())
    return compare(pairs, {**Margins().model_dump(), **(margins or {})})[0][0]


def line(found: Comparison, measure: str) -> Line:
    """One measure of a comparison."""
    return next(x for x in found.lines if x.measure == measure)
