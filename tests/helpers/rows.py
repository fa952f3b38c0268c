"""Result rows made by hand, as performance reads them."""

from collections.abc import Mapping
from typing import Any

import polars as pl

NUMBERS = ("estimate", "std_error", "ci_lower", "ci_upper", "p_value")


def made(method: str, values: Mapping[str, Any], cell: str = "base", estimand: str = "itt") -> pl.DataFrame:
    """Rows of one method; columns left out are null, status is failed where there is no estimate."""
    height = len(next(iter(values.values())))
    data = {name: values.get(name, [None] * height) for name in NUMBERS}
    frame = pl.DataFrame(data, schema=dict.fromkeys(NUMBERS, pl.Float64)).with_columns(
        pl.lit(cell).alias("cell"),
        pl.int_range(1, height + 1).alias("replicate"),
        pl.lit(method).alias("method"),
        pl.lit(estimand).alias("estimand"),
        pl.when(pl.col("estimate").is_null()).then(pl.lit("failed")).otherwise(pl.lit("ok")).alias("status"),
        pl.Series("flags", values.get("flags", [""] * height)),
    )
    return frame.with_columns(pl.Series("status", values["status"])) if "status" in values else frame


def truths(value: float | None, mcse: float = 0.0, cell: str = "base", estimand: str = "itt") -> pl.DataFrame:
    """True value of one estimand in one cell."""
    return pl.DataFrame(
        {"cell": [cell], "estimand": [estimand], "true_value": [value], "true_value_mcse": [mcse]},
        schema_overrides={"true_value": pl.Float64, "true_value_mcse": pl.Float64},
    )


def measured(frame: pl.DataFrame) -> dict[tuple[str, str], tuple[float | None, float | None, int]]:
    """Value, error and count by method and measure."""
    chosen = frame.select("method", "measure", "value", "mcse", "n").iter_rows()
    return {(method, measure): (value, mcse, n) for method, measure, value, mcse, n in chosen}
