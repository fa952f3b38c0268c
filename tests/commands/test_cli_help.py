"""Help of every command: at once, with an example, and without loading what computes."""

import subprocess
import sys

import click
import pytest
from commands import PROGRAM, program, simtrial

import simtrial as package
from simtrial.cli import cli

COMMANDS = sorted(cli.commands)
HEAVY = ("numpy", "polars", "scipy", "pydantic", "pandas", "statsmodels", "rich")


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
