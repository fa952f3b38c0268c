"""One table in several forms: on the terminal, as Markdown, as LaTeX for a paper."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from textwrap import wrap

from simtrial.errors import one_line, printable
from simtrial.report.text import emit_text, number, say, show, shown_digits

MARKUP = ("markdown", "latex")
"""Forms of a table that other programs typeset."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of words and numbers as text.

    The first ``text_columns`` are words, the first ``outer`` of them name groups of rows and are printed where they
    change; ``after`` explains the table; ``label`` names it in LaTeX, by default after its title.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: int
    outer: int = 0
    after: str = ""
    label: str = ""


ESTIMAND = "estimand"
"""Heading of the column of estimands."""


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
    """Values with their Monte Carlo standard errors in parentheses, points below each other.

    They have more decimals where the errors of all would else be shown as 0.
    """
    digits = shown_digits([e for _, e in pairs], digits)
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


TEXTWIDTH = 340.0
"""Width in points that a table of LaTeX keeps to: a little less than that of the class article at 10 pt."""

GAP = 6.0
"""Space of a column in points."""

LONGEST = 140.0
"""Width in points of a word column beyond which its cells are broken into lines."""


def latex(table: Table) -> str:
    """Return a table as a LaTeX float of the package booktabs that fits a page, groups apart by a little space.

    What does not fit beside the labels is set below, with the labels again. An estimand that all rows share is told in
    the caption.
    """
    table, shared = _without_shared(table)
    headings = [*table.headings[: table.text_columns], *map(_stacked, table.headings[table.text_columns :])]
    parts = [_tabular(table, headings, at) for at in _parts(table)]
    note = (
        f"\n\\par\\smallskip\n\\begin{{minipage}}{{\\linewidth}}\\footnotesize {_tex(table.after)}\\end{{minipage}}"
        if table.after
        else ""
    )
    return (
        "% needs \\usepackage{booktabs}\n\\begin{table}\n\\centering\\small\\setlength{\\tabcolsep}{3pt}\n"
        f"\\caption{{{_tex(table.title + shared)}}}\n\\label{{tab:{_slug(table.label or table.title)}}}\n"
        + "\n\\par\\medskip\n".join(parts)
        + f"{note}\n\\end{{table}}\n"
    )


def _without_shared(table: Table) -> tuple[Table, str]:
    """A table without its column of estimands where all rows have the same, and that estimand in words."""
    headings = list(table.headings)
    at = headings.index(ESTIMAND) if ESTIMAND in headings[: table.text_columns] else -1
    values = {row[at] for row in table.rows}
    if at < 0 or len(values) != 1:
        return table, ""
    rows = [[cell for k, cell in enumerate(row) if k != at] for row in table.rows]
    fewer = replace(table, headings=headings[:at] + headings[at + 1 :], rows=rows, text_columns=table.text_columns - 1)
    return fewer, f", estimand {values.pop()}"


def _points(text: str) -> float:
    """Width of a text at the size of these tables in points, rather too wide than too narrow."""
    narrow, wide = dict.fromkeys(" .,:;'il", 3.0), dict.fromkeys("-mwMW%", 7.7)
    widths = {**narrow, **wide, **dict.fromkeys("()", 3.7)}
    return sum(widths.get(c, 6.8 if c.isupper() else 4.7) for c in text)


def _parts(table: Table) -> list[list[int]]:
    """Columns of numbers, as many together as fit a page beside the labels."""
    labels = table.text_columns
    widths = [max(_points(row[at]) for row in [table.headings, *table.rows]) for at in range(labels)]
    room = TEXTWIDTH - sum(GAP + min(width, LONGEST) for width in widths)
    found, left = [list[int]()], room
    for at in range(labels, len(table.headings)):
        width = GAP + max(map(_points, [*_broken(table.headings[at]), *(row[at] for row in table.rows)]))
        if width > left and found[-1]:
            found.append([])
            left = room
        found[-1].append(at)
        left -= width
    return found


def _tabular(table: Table, headings: Sequence[str], columns: Sequence[int]) -> str:
    """Labels, and some of the columns of numbers."""
    labels = range(table.text_columns)
    every = [[row[at] for at in (*labels, *columns)] for row in grouped(table)]
    rows = [_row(row) for row in every]
    parts = [len(list(part)) for _, part in groupby(row[0] for row in table.rows)] if table.outer else [len(rows)]
    body, at = [], 0
    for length in parts:
        body.append("\n".join(rows[at : at + length]))
        at += length
    wide = [max((_points(row[k]) for row in table.rows), default=0.0) > LONGEST for k in labels]
    spec = "".join(f"p{{{LONGEST:.0f}pt}}" if w else "l" for w in wide) + "r" * len(columns)
    head = " & ".join([*map(_tex, headings[: len(labels)]), *(headings[k] for k in columns)])
    return (
        f"\\begin{{tabular}}{{{spec}}}\n\\toprule\n{head} \\\\\n\\midrule\n"
        + "\n\\addlinespace\n".join(body)
        + "\n\\bottomrule\n\\end{tabular}"
    )


def _broken(heading: str) -> list[str]:
    """Words of a heading on lines of about eight letters; words are whole."""
    return wrap(heading, 8, break_long_words=False, break_on_hyphens=False) or [""]


def _stacked(heading: str) -> str:
    lines = [_tex(line) for line in _broken(heading)]
    return lines[0] if len(lines) == 1 else "\\shortstack[r]{" + r"\\".join(lines) + "}"


def _slug(text: str) -> str:
    """Words of a title as a label."""
    return "-".join(re.findall(r"[a-z0-9]+", text.lower())) or "table"


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
