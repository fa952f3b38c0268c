"""Tables of performance: failures first, measures with Monte Carlo errors, differences from a reference method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from simtrial.performance import PAIRED, SEEN, SHARES
from simtrial.report.cell_columns import CellColumns, cell_columns
from simtrial.report.layout import Table, aligned, columns_of, put
from simtrial.report.tables import with_factors
from simtrial.report.text import emit, number

COLUMNS = (
    ("bias", "bias", 4),
    ("median_bias", "median bias", 4),
    ("empirical_se", "empirical SE", 4),
    ("model_se", "model SE", 4),
    ("relative_error_model_se", "SE error %", 1),
    ("coverage", "coverage", 3),
    ("rejection_rate", "rejected", 3),
    ("median_width", "median width", 3),
)
"""Measures of the printed table, their headings and decimals."""

PAIRED_COLUMNS = (
    ("bias_difference", "bias", 4),
    ("relative_precision", "precision gain %", 1),
    ("coverage_difference", "coverage", 4),
    ("rejection_difference", "rejected", 4),
    ("width_difference", "mean width", 4),
)
"""Paired measures of the printed table."""

OTHER_DIGITS = {"n_estimates": 0, "n_std_errors": 0, "relative_bias": 1, "standardised_bias": 1,
                "relative_bias_variance": 1}  # fmt: skip
"""Decimals of measures that are printed when they are asked for; shares have 3, others 4."""

EXPLAINED = {
    "empirical_se": "empirical SE: SD of the estimates",
    "model_se": "model SE: root mean squared standard error",
    "relative_error_model_se": "SE error: model over empirical, less 1",
    "rejection_rate": "rejected: share of p-values below alpha, the power or the type I error",
}
"""What the headings of measures mean that do not say it themselves."""

SETS = (
    "ray, two-rays, whole-line, empty: confidence sets other than intervals. Coverage is by membership; all but the "
    "empty set\nare of infinite width."
)

OWN = (
    "*: each trial's own true value, the effect among its own people (mean over these trials). Bias, MSE and "
    "coverage are "
    "relative to it, trial by trial; the SEs are not."
)

COMMON = "The measures below are of the replicates in which every method has an estimate (--common)."

STORED = "Failed fits are listed in the run's folder failures/; simtrial list explains the flags."

PAIRED_TITLE = "Difference from the reference method on the same trials (Monte Carlo standard error)"


@dataclass(frozen=True)
class Shown:
    """What of a performance is printed: measures by name (empty: the usual ones), and a factor across columns.

    ``caption``: in place of the title of a table of measures, before it where there are several. ``common``: measures
    are of the replicates in which every method has an estimate.
    """

    measures: Sequence[str] = ()
    across: str = ""
    caption: str = ""
    common: bool = False


def legend(measures: Sequence[str]) -> str:
    """What the headings of some measures mean, in a sentence."""
    words = "; ".join(text for name, text in EXPLAINED.items() if name in measures)
    return f"{words}." if words else ""


def print_performance(
    frame: pl.DataFrame, cells: pl.DataFrame, form: str, stored: bool = True, shown: Shown | None = None
) -> None:
    """Print performance as tables, failures first, or in long form; ``stored``: of a run, which has its failures."""
    if form in ("csv", "json"):
        emit(with_factors(with_truths(frame, cells), cells), form)
    else:
        put(tables(frame, cells, stored, shown or Shown()), form)


def with_truths(frame: pl.DataFrame, cells: pl.DataFrame) -> pl.DataFrame:
    """Add the true value of each line's estimand and its error; null: there is none, or each trial has its own."""
    names = ["true_value", "true_value_mcse"]
    own = pl.col("own").fill_null(False) if "own" in cells.columns else pl.lit(False)
    known = cells.unique(["cell", "estimand"], keep="first")
    none = pl.col("true_value").is_null() | own
    known = known.with_columns(pl.when(~none).then(pl.col(name)).alias(name) for name in names)
    known = known.select("cell", "estimand", *names)
    return frame.join(known, on=["cell", "estimand"], how="left", maintain_order="left")


def tables(frame: pl.DataFrame, cells: pl.DataFrame, stored: bool, shown: Shown) -> Iterator[Table]:
    """Tables of a performance: failures and flags, the measures, and the comparison with a reference."""
    beside = cell_columns(cells)
    counts = failures(frame, beside, stored)
    yield replace(counts, after=f"{COMMON}\n{counts.after}".strip()) if shown.common else counts
    present = set(frame["measure"])
    usual = [name for name, _, _ in COLUMNS]
    plain = [m for m in shown.measures or usual if m in present and m not in PAIRED and not _seen(m)]
    named = [m for m in shown.measures if m in PAIRED]
    paired = [m for m in named or [name for name, _, _ in PAIRED_COLUMNS] if m in present]
    found = []
    if shown.across:
        at = beside.place(shown.across, "--across")
        found += [across_table(frame, beside, at, measure) for measure in [*plain, *paired]]
    else:
        found += [performance_table(frame, cells, beside, plain)] if plain else []
        found += [measures_table(frame, beside, paired, PAIRED_TITLE)] if paired else []
    for table in found:
        title = shown.caption if len(found) == 1 else f"{shown.caption}. {table.title}"
        yield replace(table, title=title) if shown.caption else table


def _seen(measure: str) -> bool:
    return measure == "failures" or measure.startswith(SEEN)


def failures(frame: pl.DataFrame, beside: CellColumns, stored: bool) -> Table:
    """Failures, flags and sets other than intervals of every method, zeros included for failures."""
    first = frame.group_by("cell", "method", "measure", maintain_order=True).first()
    counts = first.filter((pl.col("measure") == "failures") | pl.any_horizontal(_starts(SEEN)))
    flags = sorted(
        {m for m in counts["measure"] if m.startswith(SEEN)}, key=lambda m: (m.split(":")[0] == "ci_type", m)
    )
    rows = []
    for (cell, method), group in counts.group_by("cell", "method", maintain_order=True):
        found = dict(zip(group["measure"], group["value"], strict=True))
        seen = [number(found.get(name, 0.0), 0) for name in ("failures", *flags)]
        rows.append([*beside.of[str(cell)], str(method), number(group["n"][0], 0), *seen])
    headings = [*beside.headings, "method", "replicates", "failed", *(f.split(":")[1] for f in flags)]
    failed = first.filter((pl.col("measure") == "failures") & (pl.col("value") > 0)).height
    notes = [STORED] if stored and failed else []
    notes += [SETS] if first["measure"].str.starts_with("ci_type:").any() else []
    return Table(
        title="Failures and flags (replicates)", headings=headings, rows=rows, text_columns=1 + beside.count,
        outer=beside.count, after="\n".join(notes), label="failures",
    )  # fmt: skip


def _starts(beginnings: Sequence[str]) -> list[pl.Expr]:
    return [pl.col("measure").str.starts_with(beginning) for beginning in beginnings]


def performance_table(
    frame: pl.DataFrame, truths: pl.DataFrame, beside: CellColumns, measures: Sequence[str]
) -> Table:  # fmt: skip
    """Return the performance of every method against its estimand, true values beside it."""
    known = {(r["cell"], r["estimand"]): r for r in truths.iter_rows(named=True)}
    values, used = [], []
    for (cell, _, estimand), group in _lines(frame):
        used.append(_estimates(group, measures))
        truth = known.get((cell, estimand), {})
        own = group.filter(pl.col("measure") == "own_true_value")["value"]
        values.append(f"{number(own[0], 4)}*" if len(own) and truth.get("own") else number(truth.get("true_value"), 4))
    after = legend(measures)
    if any(value.endswith("*") for value in values):
        after = f"{after}\n{OWN}".strip()
    title = "Performance (Monte Carlo standard error)"
    between = {"true value": values}
    if any(estimates < replicates for estimates, replicates in used):
        between["estimates"] = [number(estimates, 0) for estimates, _ in used]
    return measures_table(frame, beside, measures, title, between, after)


def _estimates(group: pl.DataFrame, measures: Sequence[str]) -> tuple[int, int]:
    """Estimates that the measures of a line rest on, and its replicates."""
    counts = dict(group.select("measure", "n").iter_rows())
    replicates = counts.get("failures") or max(counts.values(), default=0)
    first = next((name for name in ("bias", *measures) if name in counts), "")
    return int(counts.get(first) or 0), int(replicates)


def measures_table(
    frame: pl.DataFrame, beside: CellColumns, measures: Sequence[str], title: str,
    between: Mapping[str, Sequence[str]] | None = None, after: str = "",
) -> Table:  # fmt: skip
    """Return measures of every method and estimand; columns ``between`` stand before them, one cell per line."""
    between = between or {}
    keys, found = [], []
    for key, group in _lines(frame):
        keys.append(key)
        found.append({m: (v, e) for m, v, e in group.select("measure", "value", "mcse").iter_rows()})
    there = [at for at, values in enumerate(found) if between or any(m in values for m in measures)]
    columns = [[cells[at] for at in there] for cells in between.values()]
    columns += [aligned([found[at].get(m, (None, None)) for at in there], digits_of(m)) for m in measures]
    named = [[*beside.of[cell], method, estimand] for cell, method, estimand in (keys[at] for at in there)]
    rows = [name + cells for name, cells in zip(named, columns_of(columns), strict=True)] if there else []
    headings = [*beside.headings, "method", "estimand", *between, *map(heading_of, measures)]
    return Table(
        title=title, headings=headings, rows=rows, text_columns=2 + beside.count, outer=beside.count, after=after,
        label="performance" if between else "differences",
    )  # fmt: skip


def across_table(frame: pl.DataFrame, beside: CellColumns, at: int, measure: str) -> Table:
    """Return one measure, the levels of a factor side by side."""
    here, rest = set(frame["cell"]), beside.without(at)
    levels = [*dict.fromkeys(row[at] for cell, row in beside.of.items() if cell in here)]
    found: dict[tuple[str, ...], dict[str, tuple[float | None, float | None]]] = {}
    for row in frame.filter(pl.col("measure") == measure).iter_rows(named=True):
        key = (*rest.of[row["cell"]], row["method"], row["estimand"])
        found.setdefault(key, {})[beside.of[row["cell"]][at]] = (row["value"], row["mcse"])
    first = {key[: rest.count]: place for place, key in reversed([*enumerate(found)])}
    lines = sorted(found, key=lambda key: first[key[: rest.count]])  # rows of a group stand together
    columns = [aligned([found[k].get(level, (None, None)) for k in lines], digits_of(measure)) for level in levels]
    rows = [[*key, *cells] for key, cells in zip(lines, columns_of(columns), strict=True)]
    name, what = beside.headings[at], heading_of(measure)
    what = f"difference of {what} from the reference method" if measure in PAIRED else what
    return Table(
        title=f"{what[0].upper()}{what[1:]} by {name} (Monte Carlo standard error)",
        headings=[*rest.headings, "method", "estimand", *(f"{name}={level}" for level in levels)],
        rows=rows, text_columns=2 + rest.count, outer=rest.count, label=f"{measure} by {name}",
    )  # fmt: skip


def heading_of(measure: str) -> str:
    """Heading of a measure's column."""
    return next((title for name, title, _ in (*COLUMNS, *PAIRED_COLUMNS) if name == measure), measure.replace("_", " "))


def digits_of(measure: str) -> int:
    """Decimals that a measure is printed with."""
    usual = next((digits for name, _, digits in (*COLUMNS, *PAIRED_COLUMNS) if name == measure), None)
    return usual if usual is not None else OTHER_DIGITS.get(measure, 3 if measure in SHARES else 4)


def _lines(frame: pl.DataFrame) -> Iterator[tuple[tuple[str, str, str], pl.DataFrame]]:
    """Lines of a cell, method and estimand, in order."""
    for (cell, method, estimand), group in frame.group_by("cell", "method", "estimand", maintain_order=True):
        yield (str(cell), str(method), str(estimand)), group
