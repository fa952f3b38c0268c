"""Results of a page in tables: failures and flags first, performance with Monte Carlo errors, paired differences."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from simtrial.figures.parts.material import Material
from simtrial.flags import CAUSES
from simtrial.performance import SEEN
from simtrial.report.page.words import Table, capped, count
from simtrial.report.performance import COLUMNS, PAIRED_COLUMNS
from simtrial.report.text import number, with_mcse


def failures(material: Material, rest: str) -> tuple[str, Table]:
    """How many fits failed, in a sentence, and failures, flags and odd sets of every method and cell."""
    frame = material.measured.group_by("cell", "method", "measure", maintain_order=True).first()
    seen = [name for name in frame["measure"].unique(maintain_order=True) if str(name).startswith(SEEN)]
    flags = sorted(seen, key=lambda name: (name.split(":")[0] == "ci_type", name))
    labels, rows = material.labels, []
    for (cell, method), group in frame.group_by("cell", "method", maintain_order=True):
        found = dict(group.select("measure", "value").iter_rows())
        failed = found.get("failures") or 0.0
        rows.append((failed, [*_cell(material, labels[str(cell)]), method, count(group["n"][0]), count(failed),
                              *(count(found.get(name, 0.0)) for name in flags)]))  # fmt: skip
    total = int(sum(failed for failed, _ in rows))
    rows.sort(key=lambda pair: -pair[0])  # the sort is stable: most failures first, then the order of the scenario
    sentence = f"{total:,} fits failed." if total != 1 else "1 fit failed."
    headings = [*_cell(material, "cell"), "method", "replicates", "failed", *(name.split(":")[1] for name in flags)]
    lines = [row for _, row in rows]
    return sentence, capped("Replicates with failures and flags", headings, lines, 1 + len(_cell(material, "")), rest)


def flags_explained(material: Material) -> list[Table]:
    """What the flags that were seen mean."""
    seen = {str(name).removeprefix("flag:") for name in material.measured["measure"] if str(name).startswith("flag:")}
    rows = [(name, CAUSES[name]) for name in sorted(seen) if name in CAUSES]
    return [capped("Flags: cause and remedy", ["flag", "meaning"], rows, 2, "simtrial list")] if rows else []


def performance(material: Material, rest: str) -> Table:
    """Performance of every method in every cell, with its Monte Carlo standard errors in parentheses."""
    known = {(r["cell"], r["estimand"]): r for r in material.cells.iter_rows(named=True)}
    labels, rows = material.labels, []
    there = [c for c in COLUMNS if (material.measured["measure"] == c[0]).any()]
    for (cell, method, estimand), group in _by_method(material.measured):
        found = {m: (v, e) for m, v, e in group.select("measure", "value", "mcse").iter_rows()}
        truth = known.get((cell, estimand), {})
        value = number(found["own_true_value"][0], 4) + "*" if truth.get("own") and "own_true_value" in found else (
            number(truth.get("true_value"), 4)
        )  # fmt: skip
        shown = [with_mcse(*found[name], digits) if name in found else "-" for name, _, digits in there]
        rows.append([*_cell(material, labels[cell]), method, *_estimand(material, estimand), value, *shown])
    named = [*_cell(material, "cell"), "method", *_estimand(material, "estimand")]
    headings = [*named, "true value", *(title for _, title, _ in there)]
    return capped("Performance (Monte Carlo standard error)" + _judged(material), headings, rows, len(named), rest)


def paired(material: Material, rest: str) -> Table | None:
    """Differences from the reference method on the same trials, where the scenario names one."""
    labels, rows = material.labels, []
    for (cell, method, estimand), group in _by_method(material.measured):
        found = {m: (v, e) for m, v, e in group.select("measure", "value", "mcse").iter_rows()}
        shown = [with_mcse(*found[name], digits) for name, _, digits in PAIRED_COLUMNS if name in found]
        if shown:
            rows.append([*_cell(material, labels[cell]), method, *_estimand(material, estimand), *shown])
    if not rows:
        return None
    named = [*_cell(material, "cell"), "method", *_estimand(material, "estimand")]
    headings = [*named, *(title for _, title, _ in PAIRED_COLUMNS)]
    caption = f"Difference from the reference method, {material.options.reference}, on the same trials (MCSE)"
    return capped(caption + _judged(material), headings, rows, len(named), rest)


def _by_method(frame: pl.DataFrame) -> list[tuple[tuple[str, str, str], pl.DataFrame]]:
    keys = ("cell", "method", "estimand")
    return [((str(c), str(m), str(e)), g) for (c, m, e), g in frame.group_by(*keys, maintain_order=True)]


def _cell(material: Material, word: str) -> Sequence[str]:
    return [word] if len(material.factors) > 1 else []


def _estimand(material: Material, word: str) -> Sequence[str]:
    """A column of estimands, where methods are judged against several."""
    return [word] if material.measured["estimand"].n_unique() > 1 else []


def _judged(material: Material) -> str:
    """The estimand that a table without such a column is about."""
    names = material.measured["estimand"].unique().to_list()
    return f", estimand {names[0]}" if len(names) == 1 and names[0] else ""
