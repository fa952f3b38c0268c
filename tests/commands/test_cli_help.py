"""Help of every command: at once, with an example, and without loading what computes."""

import io
import json
import re
import subprocess
import sys

import click
import polars as pl
import pytest
from commands import PROGRAM, program, simtrial

import simtrial as package
from simtrial.catalogue import builtin_names, catalogue
from simtrial.cli import cli
from simtrial.estimands import MEANINGS
from simtrial.estimators import kinds
from simtrial.estimators.imputation.engine import IMPUTATION_ENGINES
from simtrial.flags import CAUSES
from simtrial.generate.generators import generators
from simtrial.performance import MEASURES, PAIRED
from simtrial.scenario import load

COMMANDS = sorted(cli.commands)
HEAVY = ("numpy", "polars", "scipy", "pydantic", "pandas", "statsmodels", "rich", "matplotlib", "jinja2")


def test_the_commands_there_are() -> None:
    assert {"list", "show", "generate", "analyse", "run", "summarise"} <= set(COMMANDS)
    text = simtrial("--help").out
    for name in COMMANDS:
        assert f"  {name} " in text


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_that_names_the_command(name: str) -> None:
    found = simtrial(name, "--help")
    assert found.code == 0
    assert found.err == ""
    assert f"Example: simtrial {name}" in " ".join(found.out.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name: str) -> None:
    for parameter in cli.commands[name].params:
        if isinstance(parameter, click.Option) and parameter.name not in ("help",):
            explained = parameter.help or isinstance(parameter.type, click.Choice)
            assert explained, f"{name} {parameter.opts}"


@pytest.mark.parametrize("arguments", [[], *([name] for name in COMMANDS)], ids=["", *COMMANDS])
def test_help_loads_nothing_that_computes(arguments: list[str]) -> None:
    """Run in a process of its own: which modules are there once the help was printed."""
    script = (
        f"import sys; sys.argv = ['simtrial', *{arguments!r}, '--help']\n"
        "from simtrial.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print(*[m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("Usage: simtrial")
    assert done.stderr.strip() == ""


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_list_loads_nothing_that_computes(form: str) -> None:
    """`rich` lays out the table, and is all that is heavy about it."""
    script = (
        f"import sys; sys.argv = ['simtrial', 'list', '--format', '{form}']\n"
        "from simtrial.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print(*[m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout
    assert done.stderr.strip() == ("rich" if form == "table" else "")


def test_the_list_is_what_is_registered() -> None:
    """The list is read from the source, and holds what importing it would find."""
    expected = [("scenario", name, load(name)[0].title) for name in builtin_names()]
    for what, found in (("generator", generators()), ("method", kinds()), ("imputation", IMPUTATION_ENGINES.all())):
        built_in = {n: t for n, t in found.items() if re.match(r"simtrial\.(?!plugins)", t.__module__)}
        expected += [(what, name, first_line(thing)) for name, thing in built_in.items()]
    expected += [("estimand", *entry) for entry in MEANINGS.items()]
    expected += [("measure", name, first_line(measure)) for name, measure in {**MEASURES, **PAIRED}.items()]
    expected += [("flag", *entry) for entry in CAUSES.items()]
    assert list(catalogue()) == expected
    rows = json.loads(simtrial("list", "--format", "json").out)["rows"]
    assert [tuple(row.values()) for row in rows] == expected
    frame = pl.read_csv(io.StringIO(simtrial("list", "--format", "csv").out))
    assert frame.rows() == expected


def first_line(thing: object) -> str:
    return (thing.__doc__ or "").strip().partition("\n")[0].rstrip(".").replace("``", "")


def test_exit_codes_are_in_the_help() -> None:
    text = " ".join(simtrial("--help").out.split())
    for code in ("0: done", "2: the request was wrong", "3: chunks failed", "4: stored results", "5: disk", "130, 143"):
        assert code in text


def test_version() -> None:
    assert program("--version").out.strip().endswith(package.__version__)


def test_the_checkout_and_the_package_are_one_program() -> None:
    assert PROGRAM.read_text(encoding="utf-8").count("simtrial.cli") == 1
    assert program("--help").out == simtrial("--help").out
    module = subprocess.run([sys.executable, "-m", "simtrial", "--version"], capture_output=True, text=True, check=True)
    assert module.stdout == simtrial("--version").out


def test_no_command_shows_the_help() -> None:
    found = simtrial()
    assert "Usage: simtrial" in found.out + found.err
    assert found.code in (0, 2)


def test_an_unknown_command_is_told() -> None:
    found = simtrial("summarize")
    assert found.code == 2
    assert "No such command 'summarize'" in found.err
