"""Published facts beside simulated ones as text tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from simtrial.fidelity import Fact, summary
from simtrial.report.text import number, show


def fidelity_table(frame: pl.DataFrame, chosen: Sequence[Fact], replicates: int, everything: bool) -> None:
    """Print the summary, then the facts outside the central 95%, or every one."""
    rows = [
        [r["section"], "yes" if r["calibrated"] else "no", str(r["facts"]),
         number(r["inside50"], 0), number(r["inside95"], 0)]
        for r in summary(frame).iter_rows(named=True)
    ]  # fmt: skip
    title = f"Published facts in the central 50% and 95% of {replicates:,} simulated trials"
    show(title, ["section", "calibrated", "facts", "in 50%, %", "in 95%, %"], rows, 2)
    decimals = {fact.id: fact.decimals for fact in chosen}
    kept = frame if everything else frame.filter(~pl.col("inside95").fill_null(False))
    title = "Every fact" if everything else f"Facts outside the central 95%: {kept.height}"
    headings = ["section", "fact", "calibrated", "published", "mean", "central 50%", "central 95%", "inside"]
    width = len(headings) if everything else -1  # of facts outside each row would say the same
    lines = [_row(row, decimals[row["id"]])[:width] for row in kept.iter_rows(named=True)]
    show(title, headings[:width], lines, 3)


def _row(row: Mapping[str, object], decimals: int) -> list[str]:
    def shown(name: str, more: int = 0) -> str:
        value = row[name]
        return number(value if isinstance(value, float) else None, decimals + more)

    inside = "-" if row["inside95"] is None else "50%" if row["inside50"] else "95%" if row["inside95"] else "outside"
    ranges = [f"{shown(f'lower{p}')} to {shown(f'upper{p}')}" if row["mean"] is not None else "-" for p in (50, 95)]
    named = [str(row["section"]), str(row["id"]), "yes" if row["calibrated"] else "no"]
    return [*named, shown("published"), shown("mean", 1), *ranges, inside]
