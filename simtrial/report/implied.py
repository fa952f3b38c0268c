"""What every cell of a scenario implies, as tables and in long form."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from simtrial.report.text import number, say, show, shown_digits
from simtrial.run.implied import ImpliedCells
from simtrial.run.implied_people import Quantity

SCHEMA = {
    "cell": pl.String, "factors": pl.String, "quantity": pl.String, "of": pl.String, "arm": pl.String,
    "value": pl.Float64, "mcse": pl.Float64, "n": pl.Int64,
}  # fmt: skip

SCORES = (("mean", 3), ("sd", 3), ("icc", 3), ("baseline_correlation", 3), ("cut", 4), ("no_outcome", 3))
"""Quantities of every score and the decimals they are printed with."""

HEADINGS = {
    "mean": "mean", "sd": "SD", "icc": "ICC", "baseline_correlation": "corr. with baseline", "cut": "cut at ends",
    "no_outcome": "no outcome",
}  # fmt: skip


def implied_frame(found: ImpliedCells) -> pl.DataFrame:
    """One row per cell and quantity: cell, factors, quantity, of, arm, value, mcse (0: exact), n (people simulated)."""
    lines = [
        (cell.id, cell.label, q.name, q.of, q.arm, q.value, q.mcse, q.effort) for cell, rows in found for q in rows
    ]
    return pl.DataFrame(lines, schema=SCHEMA, orient="row").with_columns(pl.col(pl.Float64).fill_nan(None))


def print_implied(found: ImpliedCells, cells: int) -> None:
    """Print what the scenario as written implies, then each cell of a sweep in one line, or some of its ``cells``."""
    own, base = next((cell, rows) for cell, rows in found if cell.id == "base")
    whose = "" if own.factors or len(found) == 1 else ", of the file as written: no cell that is run"
    _scores(base, whose)
    _people(base, whose)
    _truths(base, whose)
    people = max((q.effort for q in base if q.name != "true_value"), default=0)
    say(
        f"In parentheses: Monte Carlo standard errors, from {people or 'no'} simulated people; for true values from "
        "practices, as in a run. Numbers without one are exact.\n"
        "ICC: unadjusted correlation of two people of a practice. Cut at ends: share of scores beyond the ends of the "
        "scale. No outcome: dropout and missing scores.\n"
    )
    shown = [(cell, rows) for cell, rows in found if cell.factors]
    if shown:
        _cells(shown, cells)


def text(found: Quantity | None, digits: int) -> str:
    """Value with its Monte Carlo error; without one where it is exact, with a question mark where it is unknown."""
    if found is None:
        return "-"
    digits = shown_digits([found.mcse], digits)
    value = number(found.value, digits)
    if found.mcse == 0 or value == "-":
        return value
    return f"{value} ({number(found.mcse, digits) if found.mcse == found.mcse else '?'})"


def _lookup(rows: Sequence[Quantity]) -> dict[tuple[str, str, str], Quantity]:
    return {(q.name, q.of, q.arm): q for q in rows}


def _scores(rows: Sequence[Quantity], whose: str) -> None:
    known = _lookup(rows)
    lines = []
    for of in dict.fromkeys(q.of for q in rows if q.name == "mean"):
        for arm in ("", "control", "intervention"):
            if ("mean", of, arm) in known:
                values = [text(known.get((name, of, arm)), digits) for name, digits in SCORES]
                lines.append([of, arm or "baseline", *values])
    show(f"Implied scores{whose}", ["outcome", "arm", *HEADINGS.values()], lines, 2)


def _people(rows: Sequence[Quantity], whose: str) -> None:
    known = _lookup(rows)
    lines = []
    for name, words in (("receipt", "receive: {}"), ("dropout", "not followed up")):
        for of in dict.fromkeys(q.of for q in rows if q.name == name):
            arms = [text(known.get((name, of, arm)), 3) for arm in ("control", "intervention")]
            lines.append([words.format(of), *arms])
    show(f"Implied shares of people by arm{whose}", ["who", "control", "intervention"], lines, 1)
    mean, cv = (text(known.get((name, "", "")), 3) for name in ("cluster_size_mean", "cluster_size_cv"))
    say(f"People per practice: mean {mean}, coefficient of variation {cv}.\n")


def _truths(rows: Sequence[Quantity], whose: str) -> None:
    lines = [[q.of, text(q, 4)] for q in rows if q.name == "true_value"]
    if lines:
        show(f"Implied true values{whose}", ["estimand", "true value"], lines, 1)


def _cells(found: ImpliedCells, cells: int) -> None:
    """Print one line per cell: the first outcome in control, receipt, dropout, the largest share cut, true values."""
    first = next((q.of for q in found[0][1] if q.name == "mean"), "")
    estimands = [q.of for q in found[0][1] if q.name == "true_value"]
    receipts = list(dict.fromkeys(q.of for q in found[0][1] if q.name == "receipt"))
    headings = [HEADINGS[name] for name, _ in SCORES[:4]]
    headings += ["most cut", *(f"receive: {r}" for r in receipts), "dropout, control", "dropout, intervention"]
    lines = []
    for cell, rows in found:
        known = _lookup(rows)
        values = [text(known.get((name, first, "control")), digits) for name, digits in SCORES[:4]]
        cut = max((q for q in rows if q.name == "cut" and q.of == first), key=lambda q: q.value, default=None)
        values += [text(cut, 4), *(text(known.get(("receipt", r, "intervention")), 3) for r in receipts)]
        values += [text(known.get(("dropout", "", arm)), 3) for arm in ("control", "intervention")]
        values += [text(known.get(("true_value", name, "")), 4) for name in estimands]
        lines.append([cell.label, *values])
    which = "each cell" if len(found) == cells else f"{len(found)} of {cells:,} cells"
    title = f"Implied by {which}: {first} in control, receipt in intervention, and true values"
    show(title, ["cell", *headings, *estimands], lines, 1)
    if len(found) < cells:
        say(
            "The other cells are not simulated here. Among these the levels of every factor are as balanced as their "
            "number allows; --all-cells simulates every cell.\n"
        )
