"""Comparisons with a baseline as text, the worst first."""

from __future__ import annotations

from collections.abc import Mapping

from simtrial.check.gate import Gate
from simtrial.errors import one_line
from simtrial.report.gate_words import (
    LEGEND,
    bare,
    first_difference,
    level,
    named,
    replay,
    sentence,
    shift,
    verdict,
    worst,
)
from simtrial.report.text import say, show

MANY = 20
"""Alarms explained in full; of more, the number."""


def gate_rows(gate: Gate, labels: Mapping[str, str]) -> tuple[list[str], list[list[str]], int]:
    """Headings and rows of the table of comparisons, and how many columns are words."""
    several = len({(c.cell, c.method) for c in gate.comparisons}) < len(gate.comparisons)
    rows = []
    for found in gate.comparisons:
        for line in worst(found):
            place = [labels.get(found.cell, found.cell)] if len(labels) > 1 else []
            place += [found.method, *([found.estimand] if several else [])]
            same = found.verdict == "identical"
            change = f"{level(line.measure, line.before)} -> {level(line.measure, line.now)}"
            rows.append([
                verdict(found), *place, "all" if same else named(line.measure), f"{found.n:,}", f"{found.failed:,}",
                "" if same else change, shift(line), "" if same else bare(line.measure, line.margin),
                "" if same else bare(line.measure, line.detectable),
            ])  # fmt: skip
    words = ["verdict", *(["cell"] if len(labels) > 1 else []), "method", *(["estimand"] if several else []), "measure"]
    headings = [*words, "replicates", "failed", "before -> now", "shift (90% interval)", "margin", "detectable"]
    return headings, rows, len(words)


def title(gate: Gate) -> str:
    """The comparisons counted by verdict."""
    counts = {word: sum(c.verdict == word for c in gate.comparisons) for word in _WORDS}
    return f"Baseline {gate.file}: " + ", ".join(f"{n} {word}" for word, n in counts.items() if n)


_WORDS = ("different", "undecided", "equivalent", "identical")


def print_gate(gate: Gate, labels: Mapping[str, str], template: str) -> None:
    """Print a comparison: the table, what has changed, and how to look at it."""
    headings, rows, words = gate_rows(gate, labels)
    show(title(gate), headings, rows, words)
    alarms = [c for c in gate.comparisons if c.verdict in ("different", "undecided")]
    if alarms:
        say(LEGEND + "\n")
    for found in alarms[:MANY]:
        where = f" (cell {labels[found.cell]})" if len(labels) > 1 else ""
        say(f"{found.method}{where} against {found.estimand or 'no estimand'}: {found.verdict}: {sentence(found)}.")
        first = first_difference(found)
        if first is not None:
            say(f"  first replicate that differs: {first[0]} ({first[1]}); to see it:")
            print(f"  {one_line(replay(template, found.cell, first[0], labels))}")  # in one piece, to be copied
    if len(alarms) > MANY:
        say(f"and {len(alarms) - MANY} more")
    for found in gate.comparisons:
        for note in found.notes:
            where = f" (cell {labels[found.cell]})" if len(labels) > 1 else ""
            say(f"{found.method}{where}: {note}")
    for note in gate.notes:
        say(f"note: {note}")
    if gate.new:
        say(f"new, not compared: {', '.join(gate.new)}")
    say(f"The baseline was last written because: {gate.reason}")
