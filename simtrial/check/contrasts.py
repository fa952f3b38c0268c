"""What is compared of a method: one paired difference for each measure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from simtrial.arrays import Bools, Floats
from simtrial.check.paired_tests import Shift, mean_shift, share_shift, unknown_shift
from simtrial.check.pairs import ROUNDING, Pair, Side, State, differing, state_of
from simtrial.performance.summing import constant, unit

NAN = float("nan")


@dataclass(frozen=True)
class Contrast:
    """One measure before and now, and the paired difference.

    The difference of ``bias`` is in empirical standard errors; that of ratios (see `RATIOS`) on the log scale; that of
    shares and p-values absolute. ``margin_of`` names the margin that it is judged by. ``first`` is the place of the
    first replicate that differs by more than rounding in ``column``, -1 for none.
    """

    measure: str
    margin_of: str
    before: float
    now: float
    shift: Shift
    state: State
    column: str
    first: int


RATIOS = ("empirical_se", "std_error", "model_se", "half_width", "df")
SHARES = ("coverage", "rejection_rate", "failures")
SOURCES = {
    "bias": ("estimate",), "empirical_se": ("estimate",), "std_error": ("std_error",), "model_se": ("std_error",),
    "half_width": ("ci_lower", "ci_upper", "ci_type"), "df": ("df",), "p_value": ("p_value",),
    "coverage": ("ci_lower", "ci_upper", "ci_type"), "rejection_rate": ("p_value", "ci_lower", "ci_upper", "ci_type"),
    "failures": ("status",),
}  # fmt: skip
"""Columns that each measure is made from."""


def contrasts(pair: Pair) -> list[Contrast]:
    """Every measure that either side has, compared on the replicates that both have it in."""
    apart = differing(pair)
    found = []
    for measure in SOURCES:
        columns = [apart[name] for name in SOURCES[measure]]
        merged = (np.logical_or.reduce([a for a, _ in columns]), np.logical_or.reduce([b for _, b in columns]))
        before, now = _values(pair.before, measure), _values(pair.now, measure)
        if np.isnan(before).all() and np.isnan(now).all():
            continue
        shift = _shift(measure, before, now, pair)
        named = next((n for n in SOURCES[measure] if apart[n][1].any()), SOURCES[measure][0])
        found.append(
            Contrast(
                measure=measure,
                margin_of=measure,
                before=_level(measure, _over(measure, before, pair.before)),
                now=_level(measure, _over(measure, now, pair.now)),
                shift=shift,
                state=state_of(merged),
                column=named,
                first=_first(merged[1]),
            )
        )
    return [*found, *_off_centre(pair), *_missing(pair)]


def _first(where: Bools) -> int:
    return int(np.argmax(where)) if where.any() else -1


def _values(side: Side, measure: str) -> Floats:
    """What a measure is made from (replicates,)."""
    sample = side.sample
    if measure in ("bias", "empirical_se"):
        return sample.estimate
    if measure in ("std_error", "model_se"):
        return sample.std_error
    if measure == "coverage":
        return sample.covered
    if measure == "rejection_rate":
        return sample.rejected
    if measure == "failures":
        return sample.failed.astype(np.float64)
    return {"half_width": side.half_width, "df": side.df, "p_value": sample.p_value}[measure]


def _over(measure: str, values: Floats, side: Side) -> Floats:
    """Values over the true value where the measure is the bias, and there is a true value."""
    if measure != "bias" or np.isnan(side.sample.theta).all():
        return values
    return values - side.sample.theta


def _level(measure: str, values: Floats) -> float:
    """The measure itself, as it is printed."""
    seen = values[np.isfinite(values)]
    if not len(seen):
        return float("inf") if np.isinf(values).any() else NAN
    if measure == "empirical_se":
        u = unit(seen)
        return float((seen / u).std(ddof=1)) * u if len(seen) > 1 else NAN
    if measure == "model_se":
        u = unit(seen)
        return float(np.sqrt(np.mean((seen / u) ** 2))) * u
    if measure == "df":
        return float("inf") if 2 * np.isinf(values).sum() > (~np.isnan(values)).sum() else float(np.median(seen))
    u = unit(seen)
    return float((seen / u).mean()) * u


def _shift(measure: str, before: Floats, now: Floats, pair: Pair) -> Shift:
    """Paired difference of a measure."""
    if measure in SHARES:
        both = ~(np.isnan(before) | np.isnan(now))
        return share_shift(now[both], before[both])
    if measure == "p_value":
        return mean_shift(_both(before, now)[1] - _both(before, now)[0])
    if measure == "df":
        a, b = _both(np.where(before > 0, before, NAN), np.where(now > 0, now, NAN), infinite=True)
        return mean_shift(np.log(_quantile(b)) - np.log(_quantile(a)))
    a, b = _both(before, now)
    u = unit(a, b)
    a, b = a / u, b / u
    if measure == "bias":
        scale = _scale(a, pair, u)
        return mean_shift(b / scale - a / scale) if scale > 0 else unknown_shift(len(a))
    if measure == "empirical_se":
        return _ratio_of_roots((a - a.mean()) ** 2, (b - b.mean()) ** 2) if len(a) > 2 else unknown_shift(len(a))
    if measure == "model_se":
        return _ratio_of_roots(a**2, b**2)
    positive = (a > 0) & (b > 0)
    return mean_shift(np.log(b[positive]) - np.log(a[positive]))


def _both(a: Floats, b: Floats, infinite: bool = False) -> tuple[Floats, Floats]:
    """Values of the replicates that have one on either side, unbounded ones left out unless ``infinite``."""
    seen = ~(np.isnan(a) | np.isnan(b))
    if not infinite:
        seen &= np.isfinite(a) & np.isfinite(b)
    return a[seen], b[seen]


def _scale(estimates: Floats, pair: Pair, u: float) -> float:
    """Empirical SE of the baseline, or its mean standard error where the estimates do not vary."""
    if len(estimates) > 1 and not constant(estimates):
        return float(estimates.std(ddof=1))
    errors = pair.before.sample.std_error
    errors = errors[np.isfinite(errors)]
    return float(errors.mean()) / u if len(errors) else 0.0


def _ratio_of_roots(a: Floats, b: Floats) -> Shift:
    """Logarithm of sqrt(mean b / mean a), with its error by the delta method over replicates."""
    if not len(a) or not a.mean() > 0 or not b.mean() > 0:
        return unknown_shift(len(a))
    ratio = 0.5 * float(np.log(b.mean() / a.mean()))
    return mean_shift(0.5 * (b / b.mean() - a / a.mean()), centre=ratio)


def _quantile(df: Floats) -> Floats:
    """97.5% point of Student's t: a scale on which infinite degrees of freedom are a number like others."""
    from scipy.special import stdtrit

    finite = np.where(np.isinf(df), 1.0, df)
    return np.where(np.isinf(df), 1.959963984540054, stdtrit(finite, 0.975))


def _off_centre(pair: Pair) -> Iterator[Contrast]:
    """How far the middle of the intervals is from the estimate, where that differs by more than rounding."""
    u = unit(*(x for s in (pair.before, pair.now) for x in (s.sample.estimate, s.sample.ci_lower, s.sample.ci_upper)))
    before, now = (
        np.where(np.isfinite(s.half_width), (s.sample.ci_lower / u + s.sample.ci_upper / u) / 2, NAN)
        - s.sample.estimate / u
        for s in (pair.before, pair.now)
    )
    a, b = _both(before, now)
    scale = _scale(_both(pair.before.sample.estimate, pair.now.sample.estimate)[0] / u, pair, u)
    apart = np.abs(now - before) > ROUNDING * scale
    if apart.any() and scale > 0:
        yield Contrast(
            measure="interval centre", margin_of="bias", before=_level("", before) * u, now=_level("", now) * u,
            shift=mean_shift((b - a) / scale), state="other", column="ci_upper", first=_first(apart),
        )  # fmt: skip


def _missing(pair: Pair) -> Iterator[Contrast]:
    """Shares of fits without a number that the other side has, and of unbounded sets, where they differ."""
    ok = ~(pair.before.sample.failed | pair.now.sample.failed)
    for column, name in (("std_error", "std_error"), ("half_width", "interval"), ("df", "df"), ("p_value", "p_value")):
        before, now = (_values(side, column)[ok] for side in (pair.before, pair.now))
        yield from _odd(f"{name} missing", column, np.isnan(before), np.isnan(now), ok)
    widths = [side.half_width[ok] for side in (pair.before, pair.now)]
    yield from _odd("unbounded intervals", "half_width", np.isinf(widths[0]), np.isinf(widths[1]), ok)
    for column in ("std_error", "half_width"):
        before, now = (_values(side, column)[ok] for side in (pair.before, pair.now))
        yield from _odd(f"{column} of 0", column, before == 0, now == 0, ok)


def _odd(name: str, column: str, before: Bools, now: Bools, ok: Bools) -> Iterator[Contrast]:
    """Contrast of how often something odd happens, if it happens in other replicates than before."""
    apart = before != now
    if apart.any():
        shift = share_shift(now.astype(np.float64), before.astype(np.float64))
        yield Contrast(
            measure=name, margin_of="failures", before=float(before.mean()), now=float(now.mean()), shift=shift,
            state="other", column="ci_upper" if column == "half_width" else column,
            first=int(np.flatnonzero(ok)[np.argmax(apart)]),
        )  # fmt: skip
