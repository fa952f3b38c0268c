"""Results from Python: of a run directory, or of a file that another program wrote."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import polars as pl

from simtrial.errors import SimtrialError, unknown
from simtrial.files.read_results import Reading, Results, pairs, results
from simtrial.flags import CAUSES
from simtrial.performance import MEASURES, PAIRED, SEEN, Form, Options, performance
from simtrial.performance.marginal import over_other_factors
from simtrial.performance.rows import Rows, rows_of
from simtrial.performance.spoken import unknown_measure
from simtrial.performance.summary import options_of
from simtrial.report.performance import with_truths
from simtrial.report.tables import with_factors
from simtrial.scenario.cells import short_names
from simtrial.store.estimate_rows import bind
from simtrial.store.reading import SUMMARISED, stored_cells

if TYPE_CHECKING:
    from simtrial.verdict import Verdict

PathLike = str | os.PathLike[str]


def open(run: PathLike, *, partial: bool = False) -> Result:
    """Open a run directory; nothing is computed.

    Parameters
    ----------
    run
        The directory of ``simtrial run``, or of `Study.run`.
    partial
        Take what is finished, if not all is.

    Raises
    ------
    RunError
        When it is no run directory.
    IncompleteRunError
        When blocks are missing and ``partial`` is false.
    StoreError
        When a stored file is not as it was written.
    """
    return stored_result(Path(run), partial=partial)


def stored_result(folder: Path, *, partial: bool = False, request: Mapping[str, Any] | None = None) -> Result:
    """Result of a run directory, or of the part of it that a request is for."""
    _, cells, run = stored_cells([folder], partial, SUMMARISED, request)

    def rows(columns: Sequence[str] | None) -> Iterator[pl.DataFrame]:
        """Rows cell by cell."""
        return (cell.whole() for cell in stored_cells([folder], partial, columns, request)[0])

    def summarised() -> Iterator[Rows]:
        """Rows cell by cell, as measures are made from them."""
        return map(rows_of, stored_cells([folder], partial, SUMMARISED, request)[0])

    name = f"run '{run['scenario']['name']}' in {folder}"
    options = options_of(run)
    return Result(name, rows, summarised, cells, options, run=run, folder=folder, partial=partial, request=request)


def read(
    file: PathLike, true: float | str | None = None, *, by: str | Sequence[str] = (),
    columns: Mapping[str, str] | None = None, df: float | None = None, level: float = 0.95,
) -> Result:  # fmt: skip
    """Read the results of another program, as ``simtrial summarise FILE`` does.

    Parameters
    ----------
    file
        CSV, Parquet or Stata: one row per replicate and method, or one per replicate (simsum's and siman's wide form).
    true
        The true value, or the name of the column that has it.
    by
        Columns of factors, which define cells.
    columns
        Your names of columns, by ours: ``{"estimate": "b"}``.
    df
        Degrees of freedom for all rows without any (``inf``: normal).
    level
        Level of intervals and tests.

    Raises
    ------
    DataError
        When a column is missing, ambiguous, or holds what it cannot hold.
    """
    factors = [by] if isinstance(by, str) else list(by)
    place, stated = Path(file), None if true is None else str(true)
    found = results(place, Reading(dict(columns or {}), factors, stated, df, level))
    methods = found.rows["method"].unique(maintain_order=True).to_list()

    def rows(wanted: Sequence[str] | None) -> Iterator[pl.DataFrame]:
        """Rows of all cells."""
        yield found.rows.drop("factors")

    def refuse(reference: str | None) -> None:
        """Refuse to pair rows of which it is not known that they belong together."""
        pairs(found, place, reference)

    known = found.cells.filter(pl.col("true_value").is_not_null() | pl.col("own"))
    options = Options(alphas=dict.fromkeys(methods, 1 - level))
    return Result(
        f"results in {file}", rows, lambda: rows(None), found.cells, options, run={}, folder=None, truths=known,
        paired=refuse, imported=(found, level),
    )  # fmt: skip


@dataclass(frozen=True, repr=False, eq=False)
class Result:
    """Estimates with the true values they are held against; frames are of polars.

    Made by `Study.run`, `open` and `read`, not by hand.
    """

    _name: str
    _rows: Callable[[Sequence[str] | None], Iterator[pl.DataFrame]]
    _summarised: Callable[[], Iterator[Rows]]
    _cells: pl.DataFrame
    _options: Options
    run: Mapping[str, Any]
    folder: Path | None
    truths: pl.DataFrame | None = None
    paired: Callable[[str | None], None] | None = None
    imported: tuple[Results, float] | None = None
    partial: bool = False
    request: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        cells = self._cells["cell"].unique()
        return f"Result of {self._name}: {counted(self.methods, 'method')}, {counted(cells, 'cell')}"

    @cached_property
    def methods(self) -> list[str]:
        """Names of the methods."""
        if self.run:
            return list(self.run["methods"])
        return bind(list(self._rows(["method"])))["method"].cast(pl.String).unique(maintain_order=True).to_list()

    @property
    def estimates(self) -> pl.DataFrame:
        """One row per cell, replicate, method and estimand.

        Columns: cell, a column for each varied factor, replicate, method, estimand, estimate, std_error, df, ci_lower,
        ci_upper, p_value, status (ok, failed), flags, n_used, clusters_used, and what single methods add (icc, fmi,
        ...). A failed fit is a row of nulls, never left out.
        """
        rows = bind([part.sort("replicate", maintain_order=True) for part in self._rows(None)])
        return with_factors(rows, self._cells)

    @property
    def true_values(self) -> pl.DataFrame:
        """One row per cell and estimand: cell, factors, estimand, true_value, true_value_mcse."""
        return with_factors(self._with_truth().drop("factors"), self._cells)

    @property
    def failures(self) -> pl.DataFrame:
        """One row per failed fit: cell, factors, replicate, method, flags, cause, and its message if there is one."""
        rows = self.estimates.filter(pl.col("status") == "failed")
        names = ["cell", *self._factor_columns(), "replicate", "method", "flags", "message", "n_used", "clusters_used"]
        chosen = rows.select(name for name in names if name in rows.columns)
        once = chosen.unique(["cell", "replicate", "method"], keep="first", maintain_order=True)
        causes = [[CAUSES[flag] for flag in str(flags).split(";") if flag in CAUSES] for flags in once["flags"]]
        return once.with_columns(pl.Series("cause", map("; ".join, causes), dtype=pl.String))

    def performance(
        self, measures: str | Sequence[str] | None = None, *, reference: str | None = None,
        by: str | Sequence[str] | None = None, methods: str | Sequence[str] | None = None, mcse: Form | None = None,
        common: bool = False,
    ) -> pl.DataFrame:  # fmt: skip
        """Performance with Monte Carlo standard errors, as ``simtrial summarise --format csv``.

        Parameters
        ----------
        measures
            Names (``simtrial list``), ``"failures"`` and flags among them; only these. Default: the scenario's, or all,
            with failures and flags.
        reference
            Method that the others are compared with, replicate by replicate. Default: the scenario's.
        by
            Factors to tell apart, such as ``"icc"``; values are means over the cells of all others. Default: each cell.
        methods
            Methods to show; default: all.
        mcse
            Form of Monte Carlo standard errors: robust, jackknife, normal. Default: the scenario's.
        common
            Only replicates in which every method has an estimate.

        Returns
        -------
        frame
            cell, factors, method, estimand, measure, value, mcse, n, mc_lower, mc_upper; without ``by`` true_value and
            true_value_mcse as well.

        Raises
        ------
        SimtrialError
            When there is no such measure, method or factor.
        """
        wanted = None if measures is None else _listed(measures)
        options = self._options_with(wanted, reference, mcse, common)
        shown = self.methods if methods is None else _listed(methods)
        _refuse("method", [m for m in shown if m not in self.methods], self.methods)
        truths = self._with_truth()
        frame = pl.concat([performance(rows, truths, options) for rows in self._summarised()])
        frame = frame.filter(pl.col("method").is_in(shown))
        if wanted is not None:
            beside = PAIRED if reference is not None and not any(name in PAIRED for name in wanted) else ()
            frame = frame.filter(pl.col("measure").is_in([*wanted, *beside]))
        if by is None:
            return with_factors(with_truths(frame, self._cells), self._cells)
        frame = with_factors(frame, self._cells)
        factors = self._factor_columns()
        named = {short: name for name, short in short_names(factors).items()} | {name: name for name in factors}
        _refuse("factor", [name for name in _listed(by) if name not in named], named)
        common_streams = self.run.get("scenario", {}).get("run", {}).get("streams") == "common"
        return over_other_factors(frame, [named[name] for name in _listed(by)], factors, not common_streams)

    def check(
        self, baseline: PathLike | None = None, *, against: PathLike | None = None, false_alarms: float = 0.001,
        strict: bool = False, identical: bool = False,
    ) -> Verdict:  # fmt: skip
        """Hold a run against its ``[[expect]]`` tables, its bound of failed fits, and a baseline.

        Parameters
        ----------
        baseline
            Rows of before, from ``simtrial check --update-baseline``.
        against
            File of published values, in place of the expectations.
        false_alarms
            Probability of a failure because of chance, over all expectations.
        strict
            Undecided comparisons with the baseline fail as well.
        identical
            Whatever has changed since the baseline fails, equivalent or not.

        Raises
        ------
        SimtrialError
            When there is nothing to hold it against.
        """
        from simtrial.verdict import verdict

        if self.folder is None:
            raise SimtrialError("results of another program have no expectations; check a run")
        files = [None if file is None else Path(file) for file in (baseline, against)]
        return verdict(self.folder, self.run, files[0], files[1], false_alarms, strict, identical)

    @property
    def figures(self) -> Any:
        """Figures of matplotlib, by kind: ``result.figures.zip("primary, partial").savefig("zip.pdf")``."""
        from simtrial.pictures import Figures

        return Figures(self)

    def report(self, path: PathLike) -> Path:
        """Write a page about the run (HTML, in one file), and return where it is."""
        from simtrial.pictures import write_report

        return write_report(self.folder, Path(path), self.partial, self.request)

    def _options_with(
        self, measures: list[str] | None, reference: str | None, mcse: str | None, common: bool
    ) -> Options:
        """Options of a summary, refused where they name what is not there."""
        known = [*MEASURES, *PAIRED]
        for name in measures or ():
            if name not in known and name != "failures" and not _seen(name):
                raise SimtrialError(unknown_measure(name, known))
        _refuse("form of Monte Carlo errors", [mcse] if mcse and mcse not in get_args(Form) else [], get_args(Form))
        compared = reference or self._options.reference
        _refuse("method", [compared] if compared and compared not in self.methods else [], self.methods)
        if compared is None and any(m in PAIRED for m in measures or ()):
            raise SimtrialError(f"{next(m for m in measures or () if m in PAIRED)} needs a reference method")
        if self.paired is not None and (compared is not None or common):
            self.paired(compared)
        form: Any = mcse or self._options.form
        chosen = self._options.measures if measures is None else [m for m in measures if not _seen(m)] or ["failures"]
        return replace(self._options, measures=chosen, form=form, reference=compared, common=common)

    def _with_truth(self) -> pl.DataFrame:
        """Cells and estimands that have a true value."""
        return self._cells.filter(pl.col("estimand") != "") if self.truths is None else self.truths

    def _factor_columns(self) -> list[str]:
        """Names of the columns of factors."""
        first = self._cells.select("cell").unique(maintain_order=True)
        return [name for name in with_factors(first, self._cells).columns if name != "cell"]


def counted(things: Sized, what: str) -> str:
    """How many there are, in words."""
    return f"{len(things)} {what}{'s' * (len(things) != 1)}"


def _seen(measure: str) -> bool:
    return measure.startswith(SEEN)


def _listed(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _refuse(what: str, wrong: Sequence[str], valid: Sequence[str] | Mapping[str, str]) -> None:
    """Refuse the first of some wrong names."""
    if wrong:
        raise SimtrialError(unknown(what, str(wrong[0]), valid))
