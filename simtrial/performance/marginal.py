"""Performance over several cells: means of a sweep by some of its factors."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from simtrial.performance import counted

Z = 1.959963984540054
"""Quantile of the normal distribution for an interval of 95%."""


def over_other_factors(
    frame: pl.DataFrame, by: Sequence[str], factors: Sequence[str], independent: bool
) -> pl.DataFrame:
    """Means of measures over the cells that agree in some factors.

    The mean of k cells has the Monte Carlo standard error √(Σ mcse²)/k, if the cells have independent random streams;
    none is given where their streams are common. Numbers of replicates (failures, flags) are summed.

    Parameters
    ----------
    frame
        Performance with columns of factors.
    by, factors
        Factors to tell apart, and all there are.
    independent
        Whether cells have streams of their own.

    Returns
    -------
    frame
        The columns of ``by`` in their order, cells (how many), method, estimand, measure, value, mcse, n (replicates of
        all cells), mc_lower, mc_upper.
    """
    keys = [*by, "method", "estimand", "measure"]
    names = frame["measure"].unique().to_list()
    sums = pl.col("measure").is_in([name for name in names if counted(name)])
    cells = pl.col("cell").n_unique()
    divisor = pl.when(sums.first()).then(1).otherwise(cells)
    complete = pl.col("value").is_not_null().all() & pl.col("mcse").is_not_null().all()
    error = pl.when(complete & (pl.lit(independent) | (cells == 1))).then((pl.col("mcse") ** 2).sum().sqrt() / divisor)
    value = pl.when(pl.col("value").is_not_null().all()).then(pl.col("value").sum() / divisor)
    several = frame.group_by(keys, maintain_order=True).agg(
        cells=cells, value=value, mcse=error, n=pl.col("n").sum(),
        mc_lower=pl.when(cells == 1).then(pl.col("mc_lower").first()),
        mc_upper=pl.when(cells == 1).then(pl.col("mc_upper").first()),
    )  # fmt: skip
    normal = {"mc_lower": pl.col("value") - Z * pl.col("mcse"), "mc_upper": pl.col("value") + Z * pl.col("mcse")}
    ends = several.with_columns(**{name: pl.coalesce(name, end) for name, end in normal.items()})
    return ends.select(*by, "cells", *keys[len(by) :], "value", "mcse", "n", "mc_lower", "mc_upper")
