"""Comparisons with a baseline in words: what has changed, by how much, and where to look."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf, isinf
from shlex import quote

from simtrial.check.compare import FOLLOWING, ORDER, Comparison, Line
from simtrial.check.contrasts import RATIOS
from simtrial.report.text import number

NAMES = {
    "bias": "bias", "empirical_se": "empirical SE", "std_error": "standard errors", "model_se": "model SE",
    "half_width": "half-widths", "df": "df (t quantile)", "p_value": "p-values", "coverage": "coverage",
    "rejection_rate": "rejection rate", "failures": "failed fits",
}  # fmt: skip
"""Measures as they are printed."""

LEGEND = (
    "Verdicts: identical (the same numbers); equivalent (90% interval of the paired difference inside the margin); "
    "different (a test at the adjusted level rejects, and the shift is beyond the margin); undecided (neither). "
    "Shifts: bias in empirical SEs, ratios in percent, shares in percentage points."
)


def named(measure: str) -> str:
    """A measure as it is printed."""
    return NAMES.get(measure, measure)


def size(measure: str, value: float, signed: bool = True) -> str:
    """A shift in the unit of its measure."""
    if value != value or isinf(value):
        return "-"
    sign = "+" if signed and value > 0 else ""
    if measure in ("bias", "interval centre"):
        return f"{sign}{number(value, 3)} SE"
    if measure in RATIOS:
        return f"{sign}{number(100 * value, 2)}%"
    if measure == "p_value":
        return f"{sign}{number(value, 4)}"
    return f"{sign}{number(100 * value, 2)} points"


def bare(measure: str, value: float) -> str:
    """A shift without sign of growth and unit."""
    return size(measure, value, signed=False).removesuffix(" SE").removesuffix(" points").removesuffix("%")


def level(measure: str, value: float) -> str:
    """A measure itself."""
    if isinf(value):
        return "inf"
    if measure in ("bias", "empirical_se", "std_error", "model_se", "half_width", "p_value", "interval centre"):
        return number(value, 4)
    if measure == "df":
        return number(value, 1)
    return "-" if value != value else f"{number(100 * value, 2)}%"


def shift(line: Line) -> str:
    """The shift with its interval; empty where nothing has changed."""
    if line.verdict == "identical":
        return "0 (rounding)" if line.rounded else "0"
    if isinf(line.upper) or line.lower != line.lower:
        return size(line.measure, line.shift)
    ends = (bare(line.measure, end) for end in (line.lower, line.upper))
    return f"{size(line.measure, line.shift)} ({', '.join(ends)})"


def worst(found: Comparison) -> list[Line]:
    """Lines that make the verdict, the largest shift first; of a method that is as before, the bias alone."""
    making = [x for x in found.lines if x.verdict == found.verdict] or list(found.lines)
    making = _by_weight(making)
    return making if found.verdict == "different" else making[:1]


def _by_weight(lines: Iterable[Line]) -> list[Line]:
    """Lines with the worst verdict first, of those causes before their effects, then the largest shift."""
    return sorted(lines, key=lambda x: (-ORDER.index(x.verdict), x.measure in FOLLOWING, -_beyond(x)))


def _beyond(line: Line) -> float:
    """Shift in margins."""
    return 0.0 if line.shift != line.shift else abs(line.shift) / line.margin if line.margin else abs(line.shift)


def verdict(found: Comparison) -> str:
    """The verdict, and of identical rows whether to the last bit."""
    return "identical (1e-9)" if found.verdict == "identical" and found.rounded else found.verdict


def sentence(found: Comparison) -> str:
    """What has changed about a method, in a sentence."""
    if found.verdict == "identical":
        return "its rows are those of the baseline"
    lines = _by_weight(x for x in found.lines if x.verdict != "identical")
    parts = [_changed(line) for line in lines if line.verdict == found.verdict]
    more = f" and {len(parts) - 4} more measures" if len(parts) > 4 else ""
    text = "; ".join(parts[:4]) + more
    if found.verdict == "equivalent":
        return f"no difference beyond the margins: {text}"
    if found.verdict == "undecided":
        enough = max((x.enough for x in lines if x.verdict == "undecided"), default=inf)
        text += f". {found.n:,} replicates do not decide it; " + (
            f"about {enough:,.0f} would" if enough <= 1e7 else "no practicable number would"
        )
    return text


def _changed(line: Line) -> str:
    """One measure that has changed."""
    before, now = level(line.measure, line.before), level(line.measure, line.now)
    margin = size(line.measure, line.margin, signed=False)
    return f"{named(line.measure)} {before} -> {now}, shift {size(line.measure, line.shift)} (margin {margin})"


def first_difference(found: Comparison) -> tuple[int, str] | None:
    """First replicate that differs, with both values, from the line with the largest shift that has one."""
    lines = _by_weight(x for x in found.lines if x.replicate)
    if not lines:
        return None
    line = min((x for x in lines if x.verdict == lines[0].verdict), key=lambda x: x.replicate or 0)
    if line.column == "status":
        return line.replicate or 0, f"failed {'now' if line.value_now else 'in the baseline'} only"
    values = [number_in_full(value) for value in (line.value_before, line.value_now)]
    return line.replicate or 0, f"{line.column} {values[0]} in the baseline, {values[1]} now"


def number_in_full(value: float | str | None) -> str:
    """A number with the digits by which two of them differ; a word as it is."""
    if isinstance(value, str):
        return value
    return "missing" if value is None or value != value else f"{value:.10g}"


def replay(template: str, cell: str, replicate: int, labels: Mapping[str, str]) -> str:
    """Command that shows one replicate; ``template`` has places for {replicate} and {cell}."""
    chosen = f" --cell {quote(labels[cell])}" if len(labels) > 1 else ""
    return template.replace("{cell}", chosen).replace("{replicate}", str(replicate))
