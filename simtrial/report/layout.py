"""One table in several forms: on the terminal, as Markdown, as LaTeX for a paper."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from simtrial.errors import one_line, printable
from simtrial.report.text import emit_text, number, say, show

MARKUP = ("markdown", "latex")
"""Forms of a table that other programs typeset."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of words and numbers as text.

    The first ``text_columns`` are words, the first ``outer`` of them name groups of rows and are printed where they
    change; ``after`` explains the table.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: int
    outer: int = 0
    after: str = ""


def put(tables: Iterable[Table], form: str) -> None:
    """Print tables on stdout, as the terminal shows them or in a form of `MARKUP`."""
    if form in MARKUP:
        write = markdown if form == "markdown" else latex
        emit_text("\n".join(write(table) for table in tables).rstrip("\n"))
        return
    for table in tables:
        show(table.title, table.headings, grouped(table), table.text_columns)
        if table.after:
            say(table.after + "\n")


def grouped(table: Table) -> list[list[str]]:
    """Rows in which the names of a group stand in its first row only."""
    found, before = [], ["\0"] * table.outer
    for row in table.rows:
        alike = next((at for at in range(table.outer) if row[at] != before[at]), table.outer)
        before = list(row[: table.outer])
        found.append([""] * alike + list(row[alike:]))
    return found


def aligned(pairs: Sequence[tuple[float | None, float | None]], digits: int) -> list[str]:
    """Values with their Monte Carlo standard errors in parentheses, points below each other."""
    errors = ["" if e is None or e != e else f"({number(e, digits)})" for _, e in pairs]
    room = max(map(len, errors), default=0)
    values = [number(value, digits) for value, _ in pairs]
    return [f"{v} {e:>{room}}" if room else v for v, e in zip(values, errors, strict=True)]


def columns_of(groups: Sequence[Sequence[str]]) -> list[list[str]]:
    """Rows of cells that were made column by column."""
    return [list(row) for row in zip(*groups, strict=True)] if groups else []


def markdown(table: Table) -> str:
    """Return a table as Markdown with its title in bold; bars in words are escaped."""
    sides = [":--" if at < table.text_columns else "--:" for at in range(len(table.headings))]
    lines = [[_plain(h) for h in table.headings], sides, *([_plain(cell) for cell in row] for row in grouped(table))]
    text = f"**{_plain(table.title)}**\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
    return text + (f"\n{_plain(table.after)}\n" if table.after else "")


_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#~$])")
"""What Markdown would take for its own in a cell."""


def _plain(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", " ".join(one_line(text.replace("\n", " ")).split()))


def latex(table: Table) -> str:
    """Return a table as a LaTeX float of the package booktabs, groups apart from each other by a little space."""
    rows = [_row(row) for row in grouped(table)]
    parts = [len(list(part)) for _, part in groupby(row[0] for row in table.rows)] if table.outer else [len(rows)]
    body, at = [], 0
    for length in parts:
        body.append("\n".join(rows[at : at + length]))
        at += length
    spec = "l" * table.text_columns + "r" * (len(table.headings) - table.text_columns)
    note = f"\n\\par\\smallskip\\footnotesize {_tex(table.after)}" if table.after else ""
    return (
        "% needs \\usepackage{booktabs}\n\\begin{table}\n\\centering\n"
        f"\\caption{{{_tex(table.title)}}}\n\\begin{{tabular}}{{{spec}}}\n\\toprule\n{_row(table.headings)}\n\\midrule\n"
        + "\n\\addlinespace\n".join(body)
        + f"\n\\bottomrule\n\\end{{tabular}}{note}\n\\end{{table}}\n"
    )


_TEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "{\\char34}", "[": "{[}", "]": "{]}", "*": "{*}",
}  # fmt: skip
"""What LaTeX would take for its own; brackets and stars because a row may begin with them."""


def _tex(text: str) -> str:
    return "".join(_TEX.get(c, c) for c in " ".join(printable(text).split()))


_NEGATIVE = re.compile(r"^-(?=[\d(]|inf)")


def _row(cells: Sequence[str]) -> str:
    """One row; a minus is one, and not a hyphen."""
    return " & ".join(_NEGATIVE.sub("$-$", _tex(cell)) if cell != "-" else "--" for cell in cells) + r" \\"
