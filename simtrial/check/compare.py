"""A run beside its baseline: paired comparisons and their verdicts in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf, log1p
from typing import Any, Literal

import numpy as np
import polars as pl

from simtrial.check.contrasts import RATIOS, SHARES, Contrast, contrasts
from simtrial.check.paired_tests import detectable_share, holm
from simtrial.check.pairs import Pair, columns_of, paired, unchanged
from simtrial.performance import Options

Verdict = Literal["identical", "equivalent", "undecided", "different"]
ORDER: tuple[Verdict, ...] = ("identical", "equivalent", "undecided", "different")
"""Verdicts, the worst last."""

ALPHA = 0.001
"""Probability of a false alarm in a run, whatever the number of comparisons (Holm 1979)."""


@dataclass(frozen=True)
class Line:
    """One measure compared: before, now, the shift with its 90% interval, and what is made of it.

    ``shift``, ``lower``, ``upper``, ``margin`` and ``detectable`` are in empirical standard errors for the bias,
    relative for ratios, absolute otherwise. ``enough`` is the number of replicates that would decide. ``replicate`` is
    the first one that differs by more than rounding in ``column``, with both values (of the status: 1 is failed).
    """

    measure: str
    verdict: Verdict
    rounded: bool
    before: float
    now: float
    shift: float
    lower: float
    upper: float
    margin: float
    n: int
    p: float
    adjusted_p: float
    detectable: float
    enough: float
    replicate: int | None
    column: str
    value_before: float | None
    value_now: float | None


@dataclass(frozen=True)
class Comparison:
    """A method against an estimand in a cell, beside the baseline: its verdict, and that of every measure."""

    cell: str
    method: str
    estimand: str
    verdict: Verdict
    rounded: bool
    n: int
    failed: int
    failed_before: int
    lines: tuple[Line, ...]
    notes: tuple[str, ...]


def compare(
    pairs: Sequence[Pair], margins: Mapping[str, float], alpha: float = ALPHA
) -> tuple[list[Comparison], float]:
    """Judge pairs as one family of comparisons.

    A measure is *identical* where all that it is made from is, to the last bit or within rounding; *equivalent* where
    the 90% interval of the paired difference lies inside the margin (two one-sided tests at 5%); *different* where the
    test adjusted by Holm for all measures of all methods rejects at ``alpha`` and the estimated shift is beyond the
    margin; else *undecided*.

    Returns
    -------
    comparisons, level
        One for each pair, the worst first; and the level of the first of Holm's tests.
    """
    found = [contrasts(pair) for pair in pairs]
    every = [c for cs in found for c in cs]
    level = alpha / max(len(every), 1)
    raw = np.array([1.0 if c.state != "other" else c.shift.p for c in every])
    adjusted = iter(holm(raw).tolist() if len(raw) else [])
    done = []
    for pair, cs in zip(pairs, found, strict=True):
        lines = [_line(c, pair, margins[c.margin_of], next(adjusted), level, alpha) for c in cs]
        done.append(_comparison(pair, lines))
    return sorted(done, key=_badness, reverse=True), level


def _badness(found: Comparison) -> tuple[int, float]:
    worst = max((abs(x.shift) / x.margin if x.margin else inf for x in found.lines if x.verdict == found.verdict
                 and x.shift == x.shift and x.shift), default=0.0)  # fmt: skip
    return ORDER.index(found.verdict), worst


def _line(c: Contrast, pair: Pair, margin: float, adjusted: float, level: float, alpha: float) -> Line:
    ratio, shift = c.measure in RATIOS, c.shift
    inner = log1p(margin) if ratio else margin
    share = c.measure in SHARES or c.margin_of == "failures"
    detectable = shift.detectable(inner, level)
    if share:
        detectable = max(inner, detectable_share(shift.n, level), detectable)
    numbers = [shift.size, shift.lower, shift.upper, detectable]
    if ratio:
        numbers = [exp(min(x, 700.0)) - 1 for x in numbers]
    size, lower, upper, detectable = numbers
    same = c.state != "other"
    verdict: Verdict = "identical" if same else _verdict(c, inner, adjusted, alpha)
    at = c.first
    column = c.column if c.column in columns_of(pair.now) else ""
    values = [columns_of(side)[column][at] for side in (pair.before, pair.now)] if column and at >= 0 else [None, None]
    if c.column == "status" and at >= 0:
        values = [side.sample.failed[at] for side in (pair.before, pair.now)]
    return Line(
        measure=c.measure, verdict=verdict, rounded=c.state == "rounded", before=c.before, now=c.now, shift=size,
        lower=lower, upper=upper, margin=margin, n=shift.n, p=1.0 if same else shift.p, adjusted_p=adjusted,
        detectable=detectable, enough=shift.enough(inner, level) if verdict == "undecided" else 0,
        replicate=int(pair.replicate[at]) if at >= 0 else None, column=c.column,
        value_before=None if values[0] is None else float(values[0]),
        value_now=None if values[1] is None else float(values[1]),
    )  # fmt: skip


def _verdict(c: Contrast, margin: float, adjusted: float, alpha: float) -> Verdict:
    if c.shift.size != c.shift.size:  # no replicate has both values
        return "undecided"
    if adjusted <= alpha and abs(c.shift.size) > margin:
        return "different"
    return "equivalent" if c.shift.inside(margin) else "undecided"


FOLLOWING = ("coverage", "rejection_rate")
"""Shares that follow from estimates, intervals and p-values."""


def _comparison(pair: Pair, lines: Sequence[Line]) -> Comparison:
    """Verdict of a method: that of its worst measure.

    Coverage and rejection are counts made from estimates, half-widths and p-values: where none of these is undecided,
    neither is the method because the counts alone, the least sensitive measures, decide nothing.
    """
    counting = [x.verdict for x in lines if x.measure not in FOLLOWING or x.verdict == "different"]
    verdict: Verdict = max(counting, key=ORDER.index, default="identical")
    failed, failed_before = (int(side.sample.failed.sum()) for side in (pair.now, pair.before))
    return Comparison(
        cell=pair.cell, method=pair.method, estimand=pair.estimand, verdict=verdict,
        rounded=any(x.rounded for x in lines), n=len(pair.replicate), failed=failed, failed_before=failed_before,
        lines=tuple(lines), notes=tuple(_notes(pair)),
    )  # fmt: skip


def _notes(pair: Pair) -> list[str]:
    """What a reader should know beside the numbers."""
    notes = []
    n, (gone, come) = len(pair.replicate), pair.failed_elsewhere
    if n and pair.before.sample.failed.all() and pair.now.sample.failed.all():
        notes.append("every fit failed, in the baseline and now: nothing is compared")
    elif gone and come:
        notes.append(f"it fails in other replicates: {come} only now, {gone} only in the baseline")
    elif come or gone:
        notes.append(f"fits that failed {'only now' if come else 'only in the baseline'}: {come or gone} of {n}")
    notes += [f"the first that failed only now, {pair.cause}"] if pair.cause else []
    both = n - int((pair.before.sample.failed | pair.now.sample.failed).sum())
    if (come or gone) and both:
        state = unchanged(pair)
        notes.append(
            f"the other {both} results are {state}" if state else f"the other {both} results are not all unchanged"
        )
    if n == 1:
        notes.append("one replicate decides nothing but whether it is identical")
    if pair.only_before or pair.only_now:
        more = f"{pair.only_before} more in the baseline" if pair.only_before else f"{pair.only_now} more in the run"
        notes.append(f"compared on the {n} replicates that both have ({more})")
    return notes


def pairs_of(
    before: pl.DataFrame, now: pl.DataFrame, truths: Mapping[tuple[str, str], Mapping[str, Any]], options: Options
) -> list[Pair]:
    """Pair the rows of one cell: every method and estimand that the baseline has."""
    pairs = []
    keys = ("method", "estimand")
    here = now.cast(dict.fromkeys(keys, pl.String)).partition_by(*keys, as_dict=True)
    for (method, estimand), part in before.partition_by(*keys, as_dict=True, maintain_order=True).items():
        if (method, estimand) in here:
            truth = truths.get((str(part["cell"][0]), estimand), {})
            pairs.append(paired(part, here[method, estimand], truth, options))
    return pairs
