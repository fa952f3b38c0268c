"""Compare simulated performance with a scenario's expectations, in Monte Carlo standard errors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import hypot, inf, isfinite, isnan, nan, sqrt
from typing import Any

import polars as pl

from simtrial.check.family import RATE, alarm_rates, allowed
from simtrial.performance import SEEN, SHARES, counted

COLUMNS = (
    "expectation", "cell", "method", "estimand", "measure", "value", "mcse", "n", "expected", "distance", "allowed",
    "false_alarm", "verdict",
)  # fmt: skip


@dataclass(frozen=True)
class _Judged:
    """An expectation in one cell: what was found, how far off, and the degrees of freedom of the standard error."""

    found: tuple[Any, ...]
    expected: str
    distance: float
    z: float | None
    df: float

    def line(self, rate: float) -> tuple[Any, ...]:
        """Row of `COLUMNS`, given the probability of a false alarm."""
        limit = allowed(self.z, rate, self.df)
        verdict = "ok" if abs(self.distance) <= limit else "FAIL"  # no distance, no verdict but FAIL
        shown = None if isnan(self.distance) else self.distance
        return (*self.found, self.expected, shown, limit, rate, verdict)


def check(
    frame: pl.DataFrame, cells: pl.DataFrame, expectations: Sequence[Mapping[str, Any]], rate: float = RATE
) -> pl.DataFrame:
    """Judge every expectation in every cell it is about.

    A theory value fails when it is too many combined standard errors away (its own ``mcse`` included); a bound when the
    measure lies too many beyond it. How many are allowed follows from ``rate``, the probability of a false alarm over
    all of them together, unless an expectation states its ``z``; errors estimated from n replicates are judged by
    t on n - 1 degrees of freedom. The error of a share is taken under the expectation, so that 0 or 100% observed
    is not mistaken for certainty: its distance is the normal deviate with the exact binomial tail probability.
    Failures and flags are judged as shares of replicates. A measure that cannot be computed fails.

    Returns
    -------
    frame
        One row per expectation and cell: `COLUMNS`; ``expectation`` its place in the list, from 1, ``distance`` in
        standard errors, ``verdict`` ok or FAIL, and the probability of a ``false_alarm`` of the row; their sum bounds
        that of the check.
    """
    factors = {c: json.loads(f) for c, f in cells.select("cell", "factors").unique(maintain_order=True).iter_rows()}
    judged: list[tuple[int, _Judged]] = []
    for at, wanted in enumerate(expectations, 1):
        for cell, values in factors.items():
            if all(values.get(k) == v for k, v in wanted.get("cell", {}).items()):
                judged += [(at, row) for row in _judged(frame, cell, wanted)]
    rates = alarm_rates([row.z for _, row in judged], [row.df for _, row in judged], rate)
    lines = [(at, *row.line(each)) for (at, row), each in zip(judged, rates, strict=True)]
    return pl.DataFrame(lines, schema=list(COLUMNS), orient="row", infer_schema_length=None)


def _judged(frame: pl.DataFrame, cell: str, wanted: Mapping[str, Any]) -> list[_Judged]:
    rows = frame.filter((pl.col("cell") == cell) & (pl.col("method") == wanted["method"]))
    if wanted.get("estimand"):
        rows = rows.filter(pl.col("estimand") == wanted["estimand"])
    found = rows.filter(pl.col("measure") == wanted["measure"])
    if not found.height and wanted["measure"].startswith(SEEN) and rows.height:
        found = rows.filter(pl.col("measure") == "failures").with_columns(value=pl.lit(0.0), mcse=pl.lit(0.0))
    nothing = (cell, wanted["method"], wanted.get("estimand") or "", wanted["measure"], None, None, 0)
    return [_compared(cell, wanted, row) for row in found.iter_rows(named=True)] or [
        _Judged(nothing, _expected(wanted), nan, wanted.get("z"), inf)
    ]


def _compared(cell: str, wanted: Mapping[str, Any], row: Mapping[str, Any]) -> _Judged:
    value, mcse, n = row["value"], row["mcse"], row["n"]
    count = counted(wanted["measure"])
    if count and value is not None and n:
        value, mcse = value / n, (mcse or 0.0) / n
    share = count or wanted["measure"] in SHARES
    found = (cell, wanted["method"], row["estimand"], wanted["measure"], value, mcse, n)
    df = inf if share else max(n - 1, 1)
    return _Judged(found, _expected(wanted), _distance(wanted, value, mcse, n, share), wanted.get("z"), df)


def _distance(wanted: Mapping[str, Any], value: float | None, mcse: float | None, n: int, share: bool) -> float:
    """Distance from the expectation in standard errors; 0 inside bounds or margin; NaN without a value."""
    if value is None or n == 0:
        return nan
    margin, own = float(wanted.get("margin", 0.0)), float(wanted.get("mcse", 0.0))
    for key, sign in (("value", 0), ("lower", -1), ("upper", 1)):
        if wanted.get(key) is None:
            continue
        target = float(wanted[key])
        beyond = value - target
        if abs(beyond) <= margin or beyond * sign < 0:
            continue
        edge = target + (margin if beyond > 0 else -margin)
        if share and not own and 0 <= edge <= 1:
            exact = _exact(value, edge, n)
            if isfinite(exact) or edge in (0, 1):
                return exact  # otherwise it is so far out that no double holds the tail
        error = sqrt(target * (1 - target) / n) if share and 0 < target < 1 else (mcse or 0.0)
        error = hypot(error, own)
        return (value - edge) / error if error > 0 else inf * (1 if beyond > 0 else -1)
    return 0.0


def _exact(share: float, expected: float, n: int) -> float:
    """Normal deviate of the exact binomial probability of a share at least as far from the expected one."""
    from scipy.special import bdtr, bdtrc, ndtri

    seen = round(share * n)
    if share < expected:
        return min(float(ndtri(bdtr(seen, n, expected))), 0.0)
    return max(-float(ndtri(bdtrc(seen - 1, n, expected))), 0.0)


def _expected(wanted: Mapping[str, Any]) -> str:
    if wanted.get("value") is not None:
        return f"{wanted['value']:g}" + (f" ({wanted['mcse']:g})" if wanted.get("mcse") else "")
    low, high = wanted.get("lower"), wanted.get("upper")
    if low is None:
        return f"<= {high:g}"
    return f">= {low:g}" if high is None else f"{low:g} to {high:g}"
