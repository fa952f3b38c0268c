"""Table of the replicates that wanted Monte Carlo errors ask for, and what a run of so many costs."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import polars as pl

from simtrial.report.layout import Table, put
from simtrial.report.resolved import in_time
from simtrial.report.text import say
from simtrial.run.cost import Cost
from simtrial.run.replicates import Wanted


def replicates_frame(lines: Sequence[Wanted]) -> pl.DataFrame:
    """One line per measure and method; null replicates: no number suffices."""
    rows = [
        (line.measure, line.mcse, line.method, line.cell, line.basis,
         int(line.replicates) if isfinite(line.replicates) else None)
        for line in lines
    ]  # fmt: skip
    schema = {"measure": pl.String, "mcse": pl.Float64, "method": pl.String, "cell": pl.String, "basis": pl.String,
              "replicates": pl.Int64}  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row")


def print_replicates(lines: Sequence[Wanted], cells: int, cost: Cost | None, workers: int) -> None:
    """Print what each method needs, and the time of a run that meets all."""
    several = cells > 1
    alike: dict[tuple[str, str, str, float], list[Wanted]] = {}
    for line in lines:
        alike.setdefault((line.measure, line.cell, line.basis, line.replicates), []).append(line)
    methods = len({line.method for line in lines})
    rows = []
    for group in alike.values():
        line = group[0]
        names = ["every method"] if len(group) == methods > 1 else [one.method for one in group]
        number = f"{line.replicates:,.0f}" if isfinite(line.replicates) else "none suffice"
        place = [line.cell] if several else []
        rows += [[line.measure, f"{line.mcse:g}", name, *place, line.basis, number] for name in names]
    headings = ["measure", "MCSE wanted", "method", *(["cell that needs most"] if several else []), "taken from",
                "replicates"]  # fmt: skip
    title = "Replicates per cell for the Monte Carlo errors wanted"
    put([Table(title=title, headings=headings, rows=rows, text_columns=len(headings) - 1, outer=2)], "table")
    if cost is None:
        return
    most = int(max(line.replicates for line in lines))
    shared = f", {in_time(cost.with_workers(workers))} with {workers}" if workers > 1 else ""
    each = f" in each of {cells:,} cells" if several else ""
    say(
        f"{most:,} replicates{each} meet all of them: about {in_time(cost.with_workers(1))} with one worker"
        f"{shared}.\nRun them with --replicates {most}."
    )
