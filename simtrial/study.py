"""A study from Python: a scenario and its cells, its trials as data frames, and its run."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from simtrial.core import using
from simtrial.errors import IncompleteRunError, ScenarioError, SimtrialError
from simtrial.generate import simulate
from simtrial.performance import MEASURES
from simtrial.performance.spoken import unknown_measure
from simtrial.plugins.load import load_plugins
from simtrial.plugins.plain_methods import frame_of
from simtrial.result import Result, counted, stored_result
from simtrial.run.engines import Engine
from simtrial.run.engines.processes import start
from simtrial.run.loop import run as run_scenario
from simtrial.run.memory import refuse_too_large
from simtrial.run.plan import enough_chunks
from simtrial.run.session import refuse_unkept
from simtrial.scenario import Cell, Scenario, rebuild
from simtrial.scenario import load as load_scenario
from simtrial.scenario.named import named_cell
from simtrial.scenario.toml_text import toml_value

PathLike = str | os.PathLike[str]


def load(name: PathLike, settings: Mapping[str, Any] | None = None, *, plugins: str | Sequence[str] = ()) -> Study:
    """Load a scenario, and expand its cells.

    Parameters
    ----------
    name
        A built-in scenario (``simtrial list``), or a TOML file.
    settings
        Keys to change, by dotted path: ``{"mechanism.practices.number": 20}``. The same as ``--set``.
    plugins
        Modules (or .py files) that register methods and generators of your own.

    Raises
    ------
    ScenarioError
        Naming every problem with file, line, key, what is allowed and the nearest valid name.

    Examples
    --------
    >>> import simtrial as st
    >>> st.load("partners", {"mechanism.practices.number": 20})
    Study of 'partners': 12 methods, 1 cell, 1,000 replicates
    """
    records = load_plugins([plugins] if isinstance(plugins, str) else plugins)
    texts = [f"{path}={toml_value(value)}" for path, value in (settings or {}).items()]
    try:
        scenario, cells = load_scenario(os.fspath(name), texts)
    except ScenarioError as error:
        message = str(error)
        for text in texts:
            message = message.replace(f"--set {text}", f"setting {text}")
        raise ScenarioError(message) from None
    return Study(scenario, tuple(cells), tuple(records))


@dataclass(frozen=True, repr=False)
class Study:
    """A scenario that was checked, and its cells: one for each combination of varied factors.

    Attributes
    ----------
    scenario
        Aims, mechanism, estimands, methods and performance, as the file and the settings say.
    cells
        With ``id``, ``label`` (such as ``icc=0.05``), ``factors`` and the ``scenario`` of the cell.
    plugins
        Name, file and SHA-256 of the modules that it was loaded with.
    """

    scenario: Scenario
    cells: Sequence[Cell]
    plugins: Sequence[Mapping[str, str]] = ()

    def __repr__(self) -> str:
        name, replicates = self.scenario.name, self.scenario.run.replicates
        size = f"{counted(self.scenario.methods, 'method')}, {counted(self.cells, 'cell')}"
        return f"Study of '{name}': {size}, {replicates:,} replicates"

    def trial(self, replicate: int, cell: str | None = None) -> pl.DataFrame:
        """One replicate as the methods of a run see it.

        Parameters
        ----------
        replicate
            Its number, from 1.
        cell
            Which cell: ``"icc=0.05"``; default: the first.

        Returns
        -------
        frame
            One row per participant: ``practice`` (from 1), ``arm`` (0, 1), and every observed column; factors as text,
            missing values as null.
        """
        if replicate < 1:
            raise SimtrialError(f"replicate {replicate}: replicates are numbered from 1")
        chosen = named_cell(self.cells, cell)
        run = chosen.scenario.run
        block, place = divmod(replicate - 1, run.block)
        batch = simulate(chosen.scenario.mechanism, run.block, run.seed, chosen.key, block)
        return frame_of(batch.observed().only(place))

    def run(
        self, folder: PathLike | None = None, replicates: int | None = None, *, workers: int | None = None,
        engine: str | Engine | None = None, until: Mapping[str, float] | None = None,
        plugins: str | Sequence[str] = (), chunk: int = 1000, progress: bool = False,
        core: str | None = None,
    ) -> Result:  # fmt: skip
        """Run the scenario; what a run directory holds already is not computed again.

        Parameters
        ----------
        folder
            Run directory, as of ``simtrial run``; by default one that is removed with the result.
        replicates
            Per cell; default: the scenario's.
        workers, engine
            How the work is spread, which changes no number: in this process (``"serial"``, the default), or over
            ``workers`` processes (``"processes"``, the default with several), or ``"dask"``.
        until
            Monte Carlo standard errors by measure at which a cell ends: ``{"coverage": 0.005}``.
        plugins
            Further modules of your own.
        chunk
            Replicates per stored file.
        progress
            Show progress on stderr.
        core
            Which kernels compute, ``"numpy"`` or ``"compiled"``; default: those of the run where there is one, else
            the compiled ones where they are installed.

        Raises
        ------
        RunError
            When the folder belongs to another scenario, seed or version.
        IncompleteRunError
            When chunks failed; the same call tries them again.
        """
        more = load_plugins([plugins] if isinstance(plugins, str) else plugins)
        records = [*self.plugins, *(record for record in more if record not in self.plugins)]
        scenario, cells = self._with_replicates(replicates)
        granted = workers or 1
        spread = engine or ("processes" if granted > 1 else "serial")
        refuse_unkept(scenario, records, kept=folder is not None, spread=spread != "serial")
        _refuse_odd(workers, until, chunk)
        if isinstance(spread, str):  # the memory of a cluster elsewhere is not known here
            refuse_too_large(cells, granted if spread != "serial" else 1)
        if spread == "processes":
            _start_workers()
        if spread != "serial":
            chunk = enough_chunks(scenario, len(cells), granted, chunk)
        place = Path(tempfile.mkdtemp("", "simtrial-") if folder is None else folder)
        with ExitStack() as undone:
            undone.enter_context(using(core))
            if folder is None:
                undone.callback(shutil.rmtree, place, ignore_errors=True)
            outcome = run_scenario(
                scenario, cells, place, engine_name=spread, workers=granted, chunk_replicates=chunk, until=until,
                command="Study.run", plugins=records, progress=undone.enter_context(_shown(progress)),
            )  # fmt: skip
            if outcome.failed:
                failed = (
                    f"{len(outcome.failed)} of {outcome.chunks} chunks failed, the first with {outcome.failed[0][1]}"
                )
                raise IncompleteRunError(f"{failed}; the same call tries them again")
            result = stored_result(place, request=outcome.request)
            undone.pop_all()
        if folder is None:
            weakref.finalize(result, shutil.rmtree, place, ignore_errors=True)
        return result

    def _with_replicates(self, replicates: int | None) -> tuple[Scenario, Sequence[Cell]]:
        """The scenario and its cells, with another number of replicates."""
        if replicates is None or replicates == self.scenario.run.replicates:
            return self.scenario, self.cells
        raw = self.scenario.raw
        return rebuild({**raw, "run": {**raw.get("run", {}), "replicates": replicates}})


def _refuse_odd(workers: int | None, until: Mapping[str, float] | None, chunk: int) -> None:
    """Refuse numbers that are none of workers, replicates or Monte Carlo errors."""
    if workers is not None and workers < 1:
        raise SimtrialError(f"workers must be at least 1; {workers} given")
    if chunk < 1:
        raise SimtrialError(f"chunk must be at least 1 replicate; {chunk} given")
    for measure, error in (until or {}).items():
        if measure not in MEASURES:
            raise SimtrialError(f"until: {unknown_measure(measure, MEASURES)}")
        if not 0 < error < float("inf"):
            raise SimtrialError(f"until {measure}: a Monte Carlo error above 0 is needed; {error!r} given")


def _shown(progress: bool) -> Any:
    """Progress on stderr, or none."""
    from simtrial.report.progress import Progress

    return Progress() if progress else nullcontext()


def _start_workers() -> None:
    """Start the server that workers come from, with one thread for each of them; this process keeps its own."""
    names = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    missing = [name for name in names if name not in os.environ]
    os.environ.update(dict.fromkeys(missing, "1"))
    try:
        start()
    finally:
        for name in missing:
            del os.environ[name]
