"""Published facts of a trial beside their distribution over simulated trials."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np
import polars as pl

from simtrial.arrays import Floats
from simtrial.fidelity import analyses, quantities
from simtrial.fidelity.statistics import STATISTICS
from simtrial.generate import Variable, drawn_for, simulate
from simtrial.scenario import Cell

__all__ = ["Fact", "compared", "facts", "simulated", "summary", "without_columns"]

SCHEMA = {
    "section": pl.String, "id": pl.String, "published": pl.Float64, "mean": pl.Float64, "lower50": pl.Float64,
    "upper50": pl.Float64, "lower95": pl.Float64, "upper95": pl.Float64, "inside50": pl.Boolean,
    "inside95": pl.Boolean, "calibrated": pl.Boolean,
}  # fmt: skip


@dataclass(frozen=True)
class Fact:
    """One published number: its ``quantity`` of a trial, and the printed ``decimals``.

    ``calibrated``: an option of the scenario was set to it, so that agreement shows no more than that this was done
    rightly. The others are predictions.
    """

    id: str
    section: str
    value: float
    quantity: str
    calibrated: bool
    decimals: int

    @property
    def described(self) -> bool:
        """Whether trials show the number without a model."""
        return self.quantity.split(":")[0] in STATISTICS

    def reads(self) -> frozenset[str]:
        """Columns that determine the fact."""
        if self.described:
            return quantities.reads(quantities.quantity(self.quantity))
        return analyses.reads(analyses.read_request(self.quantity))

    def problem(self, available: Mapping[str, Variable]) -> str:
        """Why trials with these variables do not show the fact; empty: they do."""
        if self.described:
            return quantities.problem(quantities.quantity(self.quantity), available)
        return analyses.problem(analyses.read_request(self.quantity), available)


def facts() -> list[Fact]:
    """Read the published facts of PARTNERS2."""
    text = (resources.files("simtrial") / "published" / "partners.csv").read_text(encoding="utf-8")
    return [
        Fact(
            id=r["id"],
            section=r["section"],
            value=float(r["value"]),
            quantity=r["quantity"],
            calibrated=r["calibrated"] == "true",
            decimals=int(r["decimals"]),
        )
        for r in csv.DictReader(text.splitlines())
    ]


def without_columns(chosen: Sequence[Fact], available: Mapping[str, Variable]) -> dict[str, str]:
    """Facts that trials with these variables do not show, and why."""
    problems = {fact.id: fact.problem(available) for fact in chosen}
    return {name: why for name, why in problems.items() if why}


def simulated(
    chosen: Sequence[Fact], cell: Cell, replicates: int, progress: Callable[[int, int, float], None] | None = None
) -> dict[str, Floats]:
    """Simulate trials block by block and find every fact in each: values (replicates,) by id.

    The trials are those that a run of the same scenario and seed has.
    """
    scenario = cell.scenario
    size, seed = scenario.run.block, scenario.run.seed
    blocks, begun = -(-replicates // size), time.monotonic()
    needed = drawn_for(scenario.mechanism, frozenset[str]().union(*(fact.reads() for fact in chosen)))
    found: dict[str, list[Floats]] = {fact.id: [] for fact in chosen}
    for block in range(blocks):
        observed = simulate(needed, size, seed, cell.key, block).observed()
        described = quantities.Described(observed)
        analysed = analyses.Analysed(observed, seed, cell.key, block)
        for fact in chosen:
            found[fact.id].append(_value(fact, described, analysed))
        if progress is not None:
            progress(block + 1, blocks, time.monotonic() - begun)
    return {name: np.concatenate(parts)[:replicates] for name, parts in found.items()}


def _value(fact: Fact, described: quantities.Described, analysed: analyses.Analysed) -> Floats:
    if fact.described:
        return described.value(quantities.quantity(fact.quantity))
    return analysed.value(analyses.read_request(fact.quantity))


def compared(chosen: Sequence[Fact], values: Mapping[str, Floats]) -> pl.DataFrame:
    """Compare every fact with the mean and the central 50% and 95% of its simulated values.

    Inside: some number that would be printed as the published one lies in the range. Trials without a value are left
    out; a fact that no trial has is blank.
    """
    rows: list[tuple[object, ...]] = []
    for fact in chosen:
        there = values[fact.id][~np.isnan(values[fact.id])]
        if not len(there):
            rows.append((fact.section, fact.id, fact.value, *[None] * 7, fact.calibrated))
            continue
        low95, low50, high50, high95 = np.quantile(there, [0.025, 0.25, 0.75, 0.975])
        half = 0.5 * 10.0**-fact.decimals + 1e-9 * (1.0 + abs(fact.value))
        inside = [
            bool(low <= fact.value + half and fact.value - half <= high)
            for low, high in ((low50, high50), (low95, high95))
        ]
        numbers = (float(x) for x in (there.mean(), low50, high50, low95, high95))
        rows.append((fact.section, fact.id, fact.value, *numbers, *inside, fact.calibrated))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def summary(frame: pl.DataFrame) -> pl.DataFrame:
    """Count facts and those inside, by section and in all, calibrated and others apart.

    Returns
    -------
    frame
        section, calibrated, facts, inside50, inside95: shares in percent of the facts that have simulated values.
    """
    every = pl.concat([frame, frame.with_columns(pl.lit("all").alias("section"))])
    return every.group_by("section", "calibrated", maintain_order=True).agg(
        pl.len().alias("facts"), pl.col("inside50").mean() * 100, pl.col("inside95").mean() * 100
    )
