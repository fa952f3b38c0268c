"""A resolved scenario: every key with its meaning, its cells, expected cost and precision."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import polars as pl

from simtrial.generate import practices_per_trial
from simtrial.report.designs import following
from simtrial.report.implied import implied_frame, print_implied
from simtrial.report.text import number as fixed
from simtrial.report.text import say, show
from simtrial.run.cost import Cost
from simtrial.run.implied import ImpliedCells
from simtrial.run.implied_people import Quantity
from simtrial.run.memory import Prediction, gigabytes
from simtrial.run.probe import SIMULATED
from simtrial.sample_size import RULES, Design, power, sample_size
from simtrial.scenario import Cell, Scenario

LARGE = 2e9
"""Bytes of a worker above which a smaller block is proposed: what batch systems often grant for each core."""


@dataclass(frozen=True)
class Needs:
    """Time and memory that a run is predicted to take, and the workers and memory that there are."""

    time: Cost
    memory: Prediction
    workers: int
    available: int | None


def resolved_json(scenario: Scenario, cells: Sequence[Cell], found: ImpliedCells) -> str:
    """Return the resolved scenario, its cells and what they imply as JSON; null: no number."""
    mechanism = {stage: step.model_dump() for stage, step in scenario.mechanism.items()}
    return json.dumps(
        {
            "schema": 1,
            "name": scenario.name,
            "title": scenario.title,
            "mechanism": mechanism,
            "estimands": [e.model_dump() for e in scenario.estimands],
            "methods": [m.model_dump() for m in scenario.methods],
            "run": scenario.run.model_dump(),
            "cells": [{"cell": c.id, "label": c.label, "factors": dict(c.factors)} for c in cells],
            "implied": implied_frame(found).to_dicts(),
        },
        indent=1,
        allow_nan=False,
    )


def print_resolved(
    scenario: Scenario, cells: Sequence[Cell], found: ImpliedCells, drawn: Mapping[str, pl.DataFrame], needs: Needs
) -> None:
    """Print keys, estimands, methods, cells, what they imply, cost and precision."""
    rows = []
    for stage, step in scenario.mechanism.items():
        for name, field in type(step).model_fields.items():
            rows.append([f"mechanism.{stage}.{name}", _text(getattr(step, name)), field.description or ""])
    for name, field in type(scenario.run).model_fields.items():
        rows.append([f"run.{name}", _text(getattr(scenario.run, name)), field.description or ""])
    show(f"{scenario.name}: {scenario.title}", ["key", "value", "meaning"], rows, 3)
    estimands = [
        [e.name, e.kind, e.unit + (" (each trial's own)" if e.finite else ""), e.expression or "", e.weights or ""]
        for e in scenario.estimands
    ]
    show("Estimands", ["name", "kind", "averaged over", "receipt, keeping or subgroup", "weights"], estimands, 5)
    if any(e.finite for e in scenario.estimands):
        say("Each trial's own: a method is compared with the effect among the people of each trial.\n")
    methods = []
    for method in scenario.methods:
        options = method.model_dump(exclude={"name", "kind"}, exclude_none=True, exclude_defaults=True)
        methods.append([method.name, method.kind, "; ".join(f"{k} = {_inner(v)}" for k, v in options.items())])
    show("Methods", ["name", "kind", "options other than defaults"], methods, 3)
    adjusted = dict.fromkeys(name for method in scenario.methods for name in method.spec().adjust)
    first = {name: v.categories[0] for name in adjusted if (v := scenario.variables.get(name)) and v.categories}
    if first:
        say(f"Reference categories: {'; '.join(f'{name} {label}' for name, label in first.items())}\n")
    listed = [cell for cell, _ in found if cell.id != "base" or cell.factors] if len(found) < len(cells) else cells
    show("Cells", ["cell", "factors", "folder in a run"], [[c.label, _text(dict(c.factors)), c.id] for c in listed], 3)
    if len(listed) < len(cells):
        say(f"{len(listed)} of {len(cells):,} cells; --format json lists all.\n")
    print_implied(found, len(cells))
    if scenario.design is not None:
        _print_designs(cells, {cell.id: quantities for cell, quantities in found}, drawn)
    if scenario.run.streams == "common":
        say("Common streams: cells are paired; where cluster sizes differ between them the pairing is weak.\n")
    say(_expectation(scenario, cells, needs))


def _print_designs(
    cells: Sequence[Cell], implied: Mapping[str, Sequence[Quantity]], drawn: Mapping[str, pl.DataFrame]
) -> None:
    """Print sample sizes by formula, and the power of every cell by formula and in a few simulated trials."""
    sizes = [
        line for cell in cells if cell.scenario.design is not None for line in _sizes(cell.label, cell.scenario.design)
    ]
    powers = [line for cell in cells if cell.id in drawn for line in _powers(cell, implied[cell.id], drawn[cell.id])]
    headings = ["cell", "rule", "individuals per arm", "analysed", "recruited", "practices"]
    show("Sample size by formula, [design] as written", headings, sizes, 2)
    headings = ["cell", "method", "practices", "plan, normal", "plan, t", "cell, normal", "cell, t",
                "simulated (MCSE)", "failed"]  # fmt: skip
    show(f"Power by the formulas of [design], and in {SIMULATED:,} simulated trials", headings, powers, 2)
    say(
        "plan: the formula with [design] as written and the practices of the cell. It adjusts for baseline if "
        "baseline_correlation is not 0.\n"
        "cell: the formula with the implied numbers above: true effect; SD, ICC and correlation in control; people "
        "per practice; people without an outcome. It adjusts for baseline if the method does.\n"
    )


def _sizes(name: str, design: Design) -> Iterator[list[str]]:
    """Sample sizes of a cell by every rule."""
    for rule, meaning in RULES.items():
        found = sample_size(design, rule)  # type: ignore[arg-type]
        numbers = [f"{found.per_arm:.1f}", f"{found.analysed:.1f}", str(found.recruited), str(found.practices)]
        yield [name, f"{rule}: {meaning}", *numbers]


def _powers(cell: Cell, implied: Sequence[Quantity], drawn: pl.DataFrame) -> Iterator[list[str]]:
    """Power of every method of a cell: as planned, with implied numbers, and simulated."""
    design = cell.scenario.design
    if design is None:
        return
    number = practices_per_trial(cell.scenario.mechanism)
    formula = [fixed(power(design, number, t=t), 3) for t in (False, True)]
    for method in cell.scenario.methods:
        seen, failed = _simulated(drawn.filter(pl.col("method") == method.name), design.alpha)
        follows = following(design, cell, method, implied, number)
        yield [cell.label, method.name, str(number), *formula, *follows, seen, failed]


def _simulated(rows: pl.DataFrame, alpha: float) -> tuple[str, str]:
    """Share of the p-values below alpha with its error, a dash where nothing was fitted; and how many fits failed."""
    p = rows.filter(pl.col("status") == "ok")["p_value"].drop_nulls()
    failed = str(int((rows["status"] == "failed").sum()))
    if not len(p):
        return "-", failed
    rate = float((p < alpha).to_numpy().mean())
    return f"{rate:.3f} ({sqrt(rate * (1 - rate) / len(p)):.3f})", failed


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} = {_inner(v)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(map(_inner, value)) or "none"
    return "" if value is None else str(value)


def _inner(value: object) -> str:
    """Text of a value within another one: tables and lists in brackets, so that it shows where they end."""
    if isinstance(value, dict):
        return f"{{ {_text(value)} }}" if value else "{}"
    return f"[{_text(value) if value else ''}]" if isinstance(value, list) else _text(value)


def _expectation(scenario: Scenario, cells: Sequence[Cell], needs: Needs) -> str:
    """Predict the time of a run, and the Monte Carlo error of rates of 95% and 50%."""
    n, several = scenario.run.replicates, len(cells) > 1
    shared = f", {in_time(needs.time.with_workers(needs.workers))} with {needs.workers}" if needs.workers > 1 else ""
    source = f", predicted from {needs.time.cells} of them" if needs.time.cells < len(cells) else ""
    return (
        f"{n:,} replicates in {len(cells)} cell{'s' if several else ''}: about {in_time(needs.time.with_workers(1))} "
        f"with one worker{shared}{source}.\n"
        f"{_memory(scenario.run.block, needs, several)}\n"
        "Monte Carlo error of a coverage of "
        f"95%: {100 * sqrt(0.0475 / n):.2f} points; of a rate of 50%: {100 * sqrt(0.25 / n):.2f} points."
    )


def _memory(block: int, needs: Needs, several: bool) -> str:
    """Predicted memory of a worker, and where it is large a block that takes less."""
    each = needs.memory.of(block)
    text = f"Memory of a worker: about {gigabytes(each)}{' in the largest cell' if several else ''}"
    most = LARGE if needs.available is None else min(LARGE, needs.available / needs.workers)
    fits = needs.memory.fitting(most)
    if each <= most or not 0 < fits < block:
        return f"{text}."
    return f"{text}; run.block = {fits} would take {gigabytes(needs.memory.of(fits))} (other trials)."


def in_time(seconds: float) -> str:
    """Time as text."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
