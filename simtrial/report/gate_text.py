"""Comparisons with a baseline as text, the worst first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from simtrial.check.compare import Comparison
from simtrial.check.gate import Gate
from simtrial.report.gate_words import (
    LEGEND,
    bare,
    first_difference,
    level,
    named,
    replay,
    sentence,
    shift,
    size,
    verdict,
    worst,
)
from simtrial.report.text import say, say_whole, show

MANY = 20
"""Alarms explained in full; of more, the number."""

MOST = 4
"""Methods named with a note; of more, the number."""


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
            ])  # fmt: skip
    words = ["verdict", *(["cell"] if len(labels) > 1 else []), "method", *(["estimand"] if several else []), "measure"]
    headings = [*words, "replicates", "failed", "before -> now", "shift (90% interval)", "margin"]
    used = [at for at, heading in enumerate(headings) if at < len(words) or any(row[at] for row in rows)]
    return [headings[at] for at in used], [[row[at] for at in used] for row in rows], len(words)


def detectable(gate: Gate) -> str:
    """Smallest shift of every measure that is called different, of the comparison in which it is largest."""
    largest: dict[str, float] = {}
    for line in (line for found in gate.comparisons for line in found.lines):
        largest[line.measure] = max(line.detectable, largest.get(line.measure, 0.0))
    return ", ".join(f"{named(measure)} {size(measure, value, signed=False)}" for measure, value in largest.items())


def _notes(gate: Gate, labels: Mapping[str, str]) -> dict[str, list[str]]:
    """Notes, and the methods that each is about."""
    notes: dict[str, list[str]] = {}
    for found in gate.comparisons:
        where = f" (cell {labels[found.cell]})" if len(labels) > 1 else ""
        for note in found.notes:
            notes.setdefault(note, []).append(f"{found.method}{where}")
    return notes


def title(gate: Gate) -> str:
    """The comparisons counted by verdict."""
    counts = {word: sum(c.verdict == word for c in gate.comparisons) for word in _WORDS}
    return f"Baseline {gate.file}: " + ", ".join(f"{n} {word}" for word, n in counts.items() if n)


_WORDS = ("different", "undecided", "equivalent", "identical")


def print_gate(gate: Gate, labels: Mapping[str, str], template: str, failing: Sequence[Comparison] = ()) -> None:
    """Print a comparison: the table, what has changed, and how to look at it; ``failing`` is explained in any case."""
    headings, rows, words = gate_rows(gate, labels)
    show(title(gate), headings, rows, words)
    say(f"Smallest shifts that are called different 9 times in 10: {detectable(gate)}.")
    alarms = [c for c in gate.comparisons if c.verdict in ("different", "undecided") or c in failing]
    if alarms:
        say(LEGEND + "\n")
    for found in alarms[:MANY]:
        where = f" (cell {labels[found.cell]})" if len(labels) > 1 else ""
        against = f" against {found.estimand}" if found.estimand else ""
        say(f"{found.method}{where}{against}: {found.verdict}: {sentence(found)}.")
        first = first_difference(found)
        if first is not None:
            say(f"  first replicate that differs: {first[0]} ({first[1]}); to see it:")
            say_whole(f"  {replay(template, found.cell, first[0], labels)}")
    if len(alarms) > MANY:
        say(f"and {len(alarms) - MANY} more")
    for note, about in _notes(gate, labels).items():
        shown = ", ".join(about[:MOST]) + (f" and {len(about) - MOST} more" if len(about) > MOST else "")
        say(f"{'all' if len(about) == len(gate.comparisons) > 1 else shown}: {note}")
    for note in gate.notes:
        say(f"note: {note}")
    if gate.new:
        say(f"new, not compared: {', '.join(gate.new)}")
    say(f"The baseline was last written because: {gate.reason}")
