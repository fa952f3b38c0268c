"""simtrial fidelity: simulated trials beside the published numbers."""

from __future__ import annotations

import click

from simtrial.commands.notes import note
from simtrial.commands.options import CORE, FORMAT, SEED, SETS, ScenarioName, load_cells


@click.command()
@click.argument("scenario", type=ScenarioName(), default="partners", required=False)
@click.option(
    "--replicates", type=click.IntRange(min=20), default=2000, show_default=True, help="How many simulated trials."
)
@click.option("--all", "everything", is_flag=True, help="Table: every fact, not just those outside the central 95%.")
@SEED
@SETS
@CORE
@FORMAT
def fidelity(
    scenario: str, replicates: int, everything: bool, seed: int | None, sets: tuple[str, ...], form: str
) -> None:
    """Compare every published fact of PARTNERS2 with simulated trials of a SCENARIO (default: partners).

    Example: simtrial fidelity --replicates 500
    """
    from simtrial import fidelity as facts
    from simtrial.report.fidelity import fidelity_table
    from simtrial.report.progress import Progress
    from simtrial.report.text import emit

    found, cells = load_cells(scenario, sets, None, seed)
    every = facts.facts()
    untold = facts.without_columns(every, found.variables)
    chosen = [fact for fact in every if fact.id not in untold]
    if untold:
        note(f"{len(untold)} of {len(every)} facts skipped: the scenario has no such columns")
    if len(cells) > 1:
        note(f"first of {len(cells)} cells: {cells[0].label}")
    with Progress() as progress:
        values = facts.simulated(chosen, cells[0], replicates, progress)
    frame = facts.compared(chosen, values)
    if form == "table":
        fidelity_table(frame, chosen, replicates, everything)
    else:
        emit(frame, form)
