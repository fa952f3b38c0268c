"""simtrial show: a scenario as resolved."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from simtrial.commands.notes import note, warn
from simtrial.commands.options import CORE, FORMAT, PLUGINS, SETS, ScenarioName, precision_of, records_of
from simtrial.commands.run_directories import cores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simtrial.estimands import TrueValue
    from simtrial.run.cost import Truths
    from simtrial.run.implied import ImpliedCells
    from simtrial.scenario import Cell, Scenario


@click.command("show")
@click.argument("scenario", type=ScenarioName())
@PLUGINS
@SETS
@click.option("--all-cells", "every", is_flag=True, help="Simulate every cell of a sweep of more than 100.")
@click.option("--for", "wanted", metavar="MEASURE=MCSE,...",
              help="Instead: the replicates that these Monte Carlo errors ask for, e.g. coverage=0.005.")  # fmt: skip
@CORE
@FORMAT
def show_(
    scenario: str, plugins: tuple[str, ...], sets: tuple[str, ...], every: bool, wanted: str | None, form: str
) -> None:  # fmt: skip
    """Show a resolved scenario: keys, cells, implied moments, expected time, memory and Monte Carlo error.

    csv holds what every cell implies alone, json the keys as well. Scores cut at the ends of a scale are warned of. Of
    more than 100 cells, a sample of 5 is simulated.

    Example: simtrial show partners --for coverage=0.005,bias=0.01
    """
    if wanted is not None:
        records_of(plugins)
        _replicates(scenario, sets, every, precision_of(wanted, "--for"), form)
        return
    from simtrial.report.implied import implied_frame
    from simtrial.report.progress import Progress
    from simtrial.report.resolved import resolved_json
    from simtrial.report.text import emit, emit_text
    from simtrial.run.implied import implied_cells
    from simtrial.run.implied_cuts import warnings
    from simtrial.scenario.without_effect import without_effect

    records_of(plugins)
    found, cells, some, start = _loaded(scenario, sets, every, "simulated")
    for sentence in (*without_effect(found, cells), *warnings(some)):
        warn(sentence)
    truths: dict[str, tuple[float, Sequence[TrueValue]]] = {}
    with Progress("cells") as progress:
        implied = implied_cells(found, some, progress, truths)
    if form == "csv":
        emit(implied_frame(implied), form)
    elif form == "json":
        emit_text(resolved_json(found, cells, implied))
    else:
        _print(found, cells, some, implied, start, truths)


Loaded = tuple["Scenario", list["Cell"], list["Cell"], float]
"""A scenario, its cells, those of them that are simulated, and the seconds that a run takes to begin."""


def _loaded(scenario: str, sets: tuple[str, ...], every: bool, done: str) -> Loaded:
    """Load a scenario; of a large sweep a sample of cells is ``done``, unless every one is wanted."""
    from simtrial.run.sampled_cells import all_or_sampled
    from simtrial.scenario import load

    begun = time.process_time()
    found, cells = load(scenario, sets)
    start = 2 * time.process_time() - begun  # a run reads the scenario twice, for itself and for its workers
    some = all_or_sampled(cells, every)
    if len(some) < len(cells):
        note(f"{len(some)} of {len(cells):,} cells are {done}; --all-cells takes every one")
    return found, cells, some, start


def _print(
    found: Scenario, cells: list[Cell], some: list[Cell], implied: ImpliedCells, start: float, truths: Truths
) -> None:
    """Print all about a scenario: keys, cells, what they imply, power, time and memory."""
    from simtrial.report.progress import Progress
    from simtrial.report.resolved import Needs, print_resolved
    from simtrial.run.available_memory import available
    from simtrial.run.cost import cost
    from simtrial.run.memory import largest, predicted
    from simtrial.run.probe import SIMULATED, failing, power_rows, probe
    from simtrial.run.sizes import sizes
    from simtrial.sample_size import refuse_impossible

    drawn = {}
    if found.design is not None:
        for cell in cells:
            refuse_impossible(cell.scenario.design)
        note(f"[design]: {SIMULATED:,} trials per cell are simulated and analysed for the power")
        with Progress("cells") as progress:
            drawn = power_rows(some, progress)
    for line in failing(probe(cells)):
        warn(line)
    drawn_sizes = sizes(cells)
    seconds, memory = cost(found, cells, start, drawn_sizes, truths), predicted(*largest(cells, drawn_sizes))
    print_resolved(found, cells, implied, drawn, Needs(seconds, memory, cores(), available()))


def _replicates(scenario: str, sets: tuple[str, ...], every: bool, errors: dict[str, float], form: str) -> None:
    """Print the replicates that Monte Carlo errors ask for, and the time of a run of so many."""
    from simtrial.report.progress import Progress
    from simtrial.report.replicates import print_replicates, replicates_frame
    from simtrial.report.text import emit
    from simtrial.run.cost import cost
    from simtrial.run.replicates import most, wanted
    from simtrial.run.sizes import sizes
    from simtrial.scenario import load
    from simtrial.scenario.tables import MOST_REPLICATES

    found, cells, some, start = _loaded(scenario, sets, every, "tried")
    with Progress("cells") as progress:
        lines = wanted(found, some, errors, progress)
    if form != "table":
        emit(replicates_frame(lines), form)
        return
    needed, predicted = most(lines), None
    if needed <= MOST_REPLICATES:
        scenario_then, cells_then = load(scenario, [*sets, f"run.replicates={int(needed)}"])
        predicted = cost(scenario_then, cells_then, start, sizes(cells_then))
    print_replicates(lines, len(cells), predicted, cores())
    if predicted is None:
        warn(f"no run of up to {MOST_REPLICATES:,} replicates is as precise as that; ask for a larger error")
