"""simtrial show: a scenario as resolved."""

from __future__ import annotations

import click

from simtrial.commands.notes import note, warn
from simtrial.commands.options import FORMAT, PLUGINS, SETS, records_of


@click.command("show")
@click.argument("scenario")
@PLUGINS
@SETS
@FORMAT
def show_(scenario: str, plugins: tuple[str, ...], sets: tuple[str, ...], form: str) -> None:
    """Show a resolved scenario: keys, cells, implied moments, expected cost and Monte Carlo error.

    csv holds what every cell implies alone, json the keys as well. Scores cut at the ends of a scale are warned of.

    Example: simtrial show partners --set mechanism.practices.number=20
    """
    from simtrial.report.implied import implied_frame
    from simtrial.report.progress import Progress
    from simtrial.report.resolved import print_resolved, resolved_json
    from simtrial.report.text import emit, emit_text
    from simtrial.run.implied import implied_cells
    from simtrial.run.implied_cuts import warnings
    from simtrial.run.probe import SIMULATED, failing, power_rows, probe
    from simtrial.sample_size import refuse_impossible
    from simtrial.scenario import load

    records_of(plugins)
    found, cells = load(scenario, sets)
    for sentence in warnings(cells):
        warn(sentence)
    with Progress("cells") as progress:
        implied = implied_cells(found, cells, progress)
    if form == "csv":
        emit(implied_frame(implied), form)
        return
    if form == "json":
        emit_text(resolved_json(found, cells, implied))
        return
    drawn = {}
    if found.design is not None:
        for cell in cells:
            refuse_impossible(cell.scenario.design)
        note(f"[design]: {SIMULATED:,} trials per cell are simulated and analysed for the power")
        with Progress("cells") as progress:
            drawn = power_rows(cells, progress)
    first = probe(found)
    for line in failing(first.rows):
        warn(line)
    print_resolved(found, cells, implied, drawn, first)
