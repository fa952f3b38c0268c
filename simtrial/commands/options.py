"""Options that several commands share, and what they stand for."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from simtrial.core import CORES, choose
from simtrial.errors import SimtrialError

if TYPE_CHECKING:
    from simtrial.scenario import Cell, Scenario


class ScenarioName(click.ParamType[str]):
    """A built-in scenario, or a file; the shell completes both."""

    name = "scenario"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> str:
        """Leave the name as it is: what it stands for is looked up when the scenario is read."""
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Names of built-in scenarios that begin like this; if none does, files."""
        from simtrial.catalogue import builtin_names

        names = [name for name in builtin_names() if name.startswith(incomplete)]
        return [CompletionItem(name) for name in names] or [CompletionItem(incomplete, type="file")]


F = TypeVar("F", bound=Callable[..., Any])


class Shard(click.ParamType[tuple[int, int]]):
    """Part I of N, counted from 1."""

    name = "I/N"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> tuple[int, int]:
        """Read ``3/8`` as (3, 8)."""
        part, _, parts = str(value).partition("/")
        if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
            self.fail(f"'{value}' is not a part I/N with I from 1 to N, e.g. 3/8", param, context)
        return int(part), int(parts)


class Duration(click.ParamType[float]):
    """A time in seconds, minutes or hours."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> float:
        """Read 90s, 30m or 2h as seconds; a number alone is seconds."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", str(value).strip())
        if found is None:
            self.fail(f"'{value}' is not a time such as 90s, 30m or 2h", param, context)
        return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


REPLICATE = click.IntRange(1, 100_000_000)
"""Number of a replicate, or how many: as many as a scenario may have."""

FORMAT = click.option(
    "--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True, help="Output."
)


def of_file(command: F) -> F:
    """Options that say how a FILE of results from elsewhere is read."""
    own = (
        click.option("--true", "true", metavar="NUMBER|COLUMN", help="FILE: the true value."),
        click.option("--by", "by", multiple=True, metavar="COLUMN", help="FILE: a factor that defines cells."),
        click.option("--map", "maps", multiple=True, metavar="NAME=YOURS",
                     help="FILE: your name of a column, e.g. estimate=b."),
        click.option("--df", type=float, help="FILE: degrees of freedom for all; inf: normal."),
        click.option("--level", type=click.FloatRange(0.5, 1, min_open=True, max_open=True), default=0.95,
                     show_default=True, help="FILE: level of intervals and tests."),
    )  # fmt: skip
    for option in reversed(own):
        command = option(command)
    return command


PLUGINS = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    metavar="MODULE",
    help="Module (or .py file) that registers your methods or generators.",
)

CORE = click.option(
    "--core", type=click.Choice(CORES), expose_value=False, callback=lambda _, __, value: choose(value),
    help="Which kernels compute; default: the compiled ones where they are installed.",
)  # fmt: skip
"""Chooses for the whole process; the environment variable SIMTRIAL_CORE does the same."""

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


def given(*names: str) -> list[str]:
    """Which of some options of the present command are stated, in the order given and as they are typed."""
    context = click.get_current_context()
    spelled = {option.name: max(option.opts, key=len) for option in context.command.params}
    stated = ParameterSource.COMMANDLINE
    return [spelled[name] for name in names if context.get_parameter_source(name) is stated]


def records_of(names: tuple[str, ...]) -> list[dict[str, str]]:
    """Load plug-ins; return name and digest of each, which a run directory keeps."""
    if not names:
        return []
    from simtrial.plugins.load import load_plugins

    return load_plugins(names)


def names_in(texts: Sequence[str]) -> tuple[str, ...]:
    """Names of an option that is repeated, or given once with commas."""
    return tuple(name.strip() for text in texts for name in text.split(","))


def precision_of(text: str | None, option: str = "--until") -> dict[str, float]:
    """Monte Carlo standard errors by measure, of ``coverage=0.005,bias=0.01``."""
    if text is None:
        return {}
    from simtrial.performance import MEASURES
    from simtrial.performance.spoken import unknown_measure

    found: dict[str, float] = {}
    for piece in text.split(","):
        measure, _, value = (part.strip() for part in piece.partition("="))
        if measure not in MEASURES:
            raise SimtrialError(f"{option}: {unknown_measure(measure, MEASURES)}")
        try:
            found[measure] = float(value)
        except ValueError:
            found[measure] = 0.0
        if not 0 < found[measure] < float("inf"):
            raise SimtrialError(f"{option} {piece.strip()}: a Monte Carlo error above 0 is wanted, e.g. coverage=0.005")
    return found
