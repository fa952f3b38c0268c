"""Options that several commands share, and what they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from simtrial.errors import SimtrialError

if TYPE_CHECKING:
    from simtrial.scenario import Cell, Scenario


FORMAT = click.option(
    "--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True, help="Output."
)

PLUGINS = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    metavar="MODULE",
    help="Module (or .py file) that registers your methods or generators.",
)

SETS = click.option("--set", "sets", multiple=True, metavar="PATH=VALUE", help="Change a key of the scenario.")

SEED = click.option("--seed", type=click.IntRange(min=0), help="Seed; default: the scenario's.")


def load_cells(
    scenario: str, sets: tuple[str, ...], replicates: int | None, seed: int | None
) -> tuple[Scenario, list[Cell]]:
    """Return a scenario and its cells, with replicates and seed of the command line in place of its own."""
    from simtrial.scenario import load

    extra = [f"run.replicates={replicates}"] if replicates is not None else []
    extra += [f"run.seed={seed}"] if seed is not None else []
    return load(scenario, [*sets, *extra])


def pair_of(text: str, option: str) -> tuple[str, str]:
    """Split name=yours, the value of an option."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise SimtrialError(f"{option} takes name=yours, e.g. {option} practice=gp_id; '{text}' given")
    return name, value


def records_of(names: tuple[str, ...]) -> list[dict[str, str]]:
    """Load plug-ins; return name and digest of each, which a run directory keeps."""
    if not names:
        return []
    from simtrial.plugins.load import load_plugins

    return load_plugins(names)
