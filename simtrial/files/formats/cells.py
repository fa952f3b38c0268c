"""Cells of any kind as numbers, and as the one spelling of names and categories."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

import polars as pl

_TRUTH = {"true": 1.0, "false": 0.0}
_WHOLE = re.compile(r"([+-]?\d+)\.0*$")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
MOST_DIGITS = 40
_ROUNDED = re.compile(r"[+-]?\d(\.\d+)?E\+(\d+)$")


def as_numbers(cells: pl.Series) -> pl.Series:
    """Numbers of cells, null where there is none; in a column of TRUE and FALSE alone these are 1 and 0."""
    found = cells.cast(pl.Float64, strict=False)
    if (
        cells.dtype == pl.String
        and not found.count()
        and cells.count()
        and cells.str.to_lowercase().drop_nulls().is_in(list(_TRUTH)).all()
    ):
        return cells.str.to_lowercase().replace_strict(_TRUTH, default=None, return_dtype=pl.Float64)
    return found.to_frame("n").select(pl.when(pl.col("n").is_finite()).then(pl.col("n"))).to_series()


def as_text(cells: pl.Series) -> pl.Series:
    """Text of cells, a whole number always without decimals: 7, not 7.0."""
    text = cells.cast(pl.String)
    bare = {t: _short(t) for t in text.unique().drop_nulls().to_list()}
    changed = {old: new for old, new in bare.items() if old != new}
    return text.replace(changed) if changed else text


def _short(text: str) -> str:
    whole = _WHOLE.match(text)
    if whole:
        return whole[1]
    if "e+" in text:  # R and Python write 1e+05 for 100000, every digit of it
        value = number(text)
        if value is not None and value.adjusted() < MOST_DIGITS and value == value.to_integral_value():
            return f"{value:f}"
    return text


def number(text: str) -> Decimal | None:
    """Exact value of text that is a number, else None."""
    if not _NUMBER.match(text):
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def alike(names: Sequence[str]) -> tuple[str, str] | None:
    """Two names that are one number written in two ways, such as 7 and 07, if there are any."""
    spellings: dict[Decimal, list[str]] = defaultdict(list)
    for name in names:
        value = number(name)
        if value is not None:
            spellings[value].append(name)
    return next(((found[0], found[1]) for found in spellings.values() if len(found) > 1), None)


def rounded(names: Sequence[str]) -> str | None:
    """A name such as 1.23457E+11, of which a spreadsheet shows the first digits only, if there is one."""
    for name in names:
        found = _ROUNDED.match(name)
        if found and int(found[2]) > len(found[1] or ".") - 1:
            return name
    return None


SCALES = (
    ("no", "yes"),
    ("none", "mild", "moderate", "severe"),
    ("never", "rarely", "sometimes", "often", "always"),
    ("low", "medium", "high"),
    ("small", "medium", "large"),
)
"""Words that have an order of their own, from the least."""


def in_order(labels: Sequence[str]) -> list[str]:
    """Sort categories: words of one scale as it goes, numbers as numbers (10 after 2), then words, case ignored."""
    words = {label.casefold() for label in labels}
    for scale in SCALES:
        if words and words <= set(scale):
            return sorted(labels, key=lambda label: (scale.index(label.casefold()), label))

    def key(label: str) -> tuple[bool, Decimal, str, str]:
        value = number(label)
        return (value is None, value or Decimal(0), label.casefold(), label)

    return sorted(labels, key=key)


def merged(orders: Sequence[Sequence[str]]) -> list[str] | None:
    """One order that agrees with all of several, None when they contradict each other."""
    found = list(dict.fromkeys(label for order in orders for label in order))
    place = {label: at for at, label in enumerate(found)}
    for order in orders:
        places = [place[label] for label in order]
        if places != sorted(places):
            return None
    return found
