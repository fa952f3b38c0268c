"""What figures are made from: the rows, performance and cells of a run, or of a file of results."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl

from simtrial.errors import SimtrialError, unknown
from simtrial.figures.parts.choice import Choice
from simtrial.figures.parts.look import legible
from simtrial.figures.parts.prominence import prominence
from simtrial.files.read_results import Results
from simtrial.performance import Options, performance
from simtrial.performance.points import points
from simtrial.performance.summary import options_of
from simtrial.scenario.cells import label, short_names
from simtrial.store.reading import SUMMARISED, read_run_by_cell


@dataclass(frozen=True)
class Material:
    """Rows of the cells that are shown one by one, and performance of all cells.

    ``failed`` rows of failed fits of all cells; ``cells`` one line per cell and estimand; ``factors`` of every cell,
    the slowest first; ``folder`` and ``run`` of a run, None for a file of results.
    """

    rows: pl.DataFrame
    measured: pl.DataFrame
    cells: pl.DataFrame
    factors: Mapping[str, Mapping[str, Any]]
    methods: Sequence[str]
    options: Options
    failed: pl.DataFrame = field(default_factory=pl.DataFrame)
    folder: Path | None = None
    run: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def labels(self) -> dict[str, str]:
        """Names of cells by their factors, in the order of the scenario."""
        return {cell: label(factors) or cell for cell, factors in self.factors.items()}

    @property
    def names(self) -> list[str]:
        """Keys of the varied factors, that which changes most slowly from cell to cell first."""
        keys = list(dict.fromkeys(key for factors in self.factors.values() for key in factors))
        changes = {key: _changes([f.get(key) for f in self.factors.values()]) for key in keys}
        return sorted((key for key in keys if changes[key]), key=changes.__getitem__)

    @cached_property
    def points(self) -> pl.DataFrame:
        """One line per replicate, method and estimand (see `simtrial.performance.points`)."""
        return points(self.rows, self.cells, self.options)

    def chosen(self, asked: Choice, frame: pl.DataFrame) -> pl.DataFrame:
        """Lines of the methods and cells that are asked for, methods in the order of the scenario."""
        for name in asked.methods:
            if name not in self.methods:
                raise SimtrialError(unknown("method", name, self.methods))
        if asked.methods:
            frame = frame.filter(pl.col("method").is_in(list(asked.methods)))
        if asked.cells:
            frame = frame.filter(pl.col("cell").is_in(self.cells_of(asked)))
        order = {name: at for at, name in enumerate(self.methods)}
        cells = {name: at for at, name in enumerate(self.factors)}
        keys = [frame["cell"].cast(pl.String).replace_strict(cells, default=len(cells)).alias("_cell"),
                frame["method"].cast(pl.String).replace_strict(order, default=len(order)).alias("_method")]  # fmt: skip
        return frame.with_columns(keys).sort("_cell", "_method", maintain_order=True).drop("_cell", "_method")

    def cells_of(self, asked: Choice) -> list[str]:
        """Ids of the cells that are asked for, by factors in any order or id; all where none are."""
        return cells_named(asked.cells, self.factors) or list(self.factors)

    def factor(self, name: str | None) -> str:
        """Key of a factor, by its end; the one with most numeric levels where none is named."""
        if not self.names:
            raise SimtrialError("nothing is varied here: this figure needs a sweep, [vary] in the scenario")
        short = {**short_names(self.names), **{key: key for key in self.names}}
        for key in self.names:
            if name is not None and name in (key, short[key], short_names(self.names)[key]):
                return key
        if name is not None:
            raise SimtrialError(unknown("factor", name, [short_names(self.names)[key] for key in self.names]))
        return max(self.names, key=lambda key: len({json.dumps(f.get(key)) for f in self.factors.values()}))

    def short(self, key: str) -> str:
        """Shortest name of a factor."""
        return short_names(self.names or [key]).get(key, key)


def cells_named(names: Sequence[str], factors: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Ids of cells by their factors in any order, numbers in any spelling, or by id."""
    labels = {cell: label(varied) or cell for cell, varied in factors.items()}
    known = {frozenset(_words(text)): cell for cell, text in labels.items()}
    found = []
    for name in names:
        cell = name if name in labels else known.get(frozenset(_words(name)))
        if cell is None:
            raise SimtrialError(unknown("cell", name, labels.values()))
        found.append(cell)
    return found


def _words(text: str) -> Iterator[str]:
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            value = repr(float(value))
        except ValueError:
            value = value.strip()
        yield f"{name.strip()}={value}"


def _changes(values: Sequence[Any]) -> int:
    spelled = [json.dumps(value, sort_keys=True, default=str) for value in values]
    return sum(a != b for a, b in pairwise(spelled))


def of_run(
    folder: Path, partial: bool = False, rows_of: Callable[[str, int], bool] = lambda cell, at: True,
    measured: bool = True, most: int | None = None, request: Mapping[str, Any] | None = None,
) -> Material:  # fmt: skip
    """Read a run, one cell at a time: performance of all, rows of those that ``rows_of`` (id, place) keeps.

    Of these, the ``most`` that stand out most (`prominence`), as many as there are where it is None. ``request``: the
    part of the run that is wanted, where that is not all of it.
    """
    parts, cells, run = read_run_by_cell([folder], partial, SUMMARISED, request)
    options = options_of(run, everything=True)
    truths = cells.filter(pl.col("estimand") != "")
    failed, frames = [], [performance(pl.DataFrame(schema=_EMPTY), truths, options)]
    rows: list[tuple[float, int, pl.DataFrame]] = []
    for at, part in enumerate(parts):
        if measured:
            frames.append(performance(part, truths, options))
        part = part.with_columns(pl.col(pl.Categorical).cast(pl.String))
        failed.append(part.filter(pl.col("status") == "failed"))
        if rows_of(str(part["cell"][0]), at):
            rows.append((0.0 if most is None else -prominence(frames[-1], options), at, part))
            rows = sorted(rows, key=lambda each: each[:2])[:most]
    factors = {cell: dict(varied) for cell, varied in run["cells"].items()}
    return Material(
        rows=pl.concat([part for *_, part in sorted(rows, key=lambda each: each[1])], how="diagonal")
        if rows else pl.DataFrame(schema=_EMPTY), measured=pl.concat(frames),
        cells=truths, factors=factors, methods=list(run["methods"]), options=options, folder=folder, run=run,
        failed=pl.concat(failed, how="diagonal"),
    )  # fmt: skip


_EMPTY = {
    "cell": pl.String, "replicate": pl.Int64, "method": pl.String, "estimand": pl.String, "estimate": pl.Float64,
    "std_error": pl.Float64, "ci_lower": pl.Float64, "ci_upper": pl.Float64, "p_value": pl.Float64,
    "status": pl.String, "flags": pl.String,
}  # fmt: skip


def of_file(found: Results, level: float) -> Material:
    """Make the material of a file of results."""
    methods = [str(name) for name in found.rows["method"].unique(maintain_order=True)]
    options = Options(alphas=dict.fromkeys(methods, 1 - level))
    truths = found.cells.filter(pl.col("true_value").is_not_null() | pl.col("own"))
    factors = {
        str(cell): json.loads(text)
        for cell, text in found.cells.select("cell", "factors").unique(maintain_order=True).iter_rows()
    }
    return Material(
        rows=found.rows, measured=performance(found.rows, truths, options), cells=found.cells, factors=factors,
        methods=methods, options=options,
    )  # fmt: skip


def panel_title(values: Mapping[str, str], frame: pl.DataFrame, labels: Mapping[str, str], escaped: bool = True) -> str:
    """Name of a panel: what sets it apart from the others of its figure, the method alone where nothing does."""
    several = [name for name in values if frame[name].n_unique() > 1]
    order: list[str] = [name for name in ("panel", "measure", "method", "cell", "estimand") if name in several]
    order += [name for name in several if name not in order]
    words = [labels.get(values[n], values[n]) if n == "cell" else WORDS.get(values[n], values[n]) for n in order]
    return " · ".join(legible(word) if escaped else word for word in words if word)


WORDS = {
    "bias": "Bias", "empirical_se": "Empirical SE", "model_se": "Model SE", "coverage": "Coverage",
    "relative_error_model_se": "Error of model SE, %", "rejection_rate": "Share rejected", "rmse": "RMSE",
    "convergence_rate": "Convergence rate", "mse": "MSE", "median_bias": "Median bias",
    "median_width": "Median width", "bias_eliminated_coverage": "Bias-eliminated coverage",
}  # fmt: skip
"""Measures in words."""
