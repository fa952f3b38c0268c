"""The group of commands, and how each of their endings becomes a message and an exit code."""

from __future__ import annotations

import importlib
import io
import os
import pkgutil
import signal
import sys
from typing import NoReturn

import click

import simtrial
from simtrial import commands
from simtrial.commands.since_start import process_began
from simtrial.errors import EnvironmentFailure, SimtrialError, printable
from simtrial.interruption import raise_and_note, what_is_kept


def run() -> NoReturn:
    """Run the command line; a user's mistake is one message and exit 2, never a traceback (unless --debug)."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # small matrices: threads only cost, and processes do the work
    debug = "--debug" in sys.argv
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    signal.signal(signal.SIGTERM, _terminated)
    try:
        code = cli.main(arguments, prog_name="simtrial", standalone_mode=False, obj=process_began())
        sys.stdout.flush()
        sys.exit(code if isinstance(code, int) else 0)
    except SystemExit as error:  # click and rich end with 1 when the reader of a pipe has gone: no failed check
        gone = isinstance(error.__context__, BrokenPipeError) or "PacifyFlush" in type(sys.stdout).__name__
        sys.exit(0 if gone else error.code)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show(shown := io.StringIO())
        click.echo(printable(shown.getvalue()), err=True, nl=False)
        sys.exit(error.exit_code)
    except click.Abort:
        raise KeyboardInterrupt from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except SimtrialError as error:
        if debug:
            raise
        click.echo(printable(f"error: {error}"), err=True)
        sys.exit(error.exit_code)
    except Exception as error:
        if debug:
            raise
        click.echo(printable(f"error: {_unforeseen(error)}; --debug shows where)"), err=True)
        sys.exit(EnvironmentFailure.exit_code)


def _unforeseen(error: Exception) -> str:
    """An exception that nobody turned into a message: which file the system refuses, or what kind of fault it is."""
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if isinstance(error.filename, str) else ""
        return f"{place}{error.strerror} (the disk or the machine refuses"
    kind = "the disk or the machine failed" if isinstance(error, OSError) else "this is a fault of simtrial"
    return f"{type(error).__name__}: {error} ({kind}"


def _terminated(number: int, frame: object) -> NoReturn:
    click.echo(f"terminated{what_is_kept()}", err=True)
    raise_and_note(SystemExit(143))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(simtrial.__version__, prog_name="simtrial")
def cli() -> None:
    """Simulate cluster-randomised trials like PARTNERS2 and test the estimators that analyse them.

    A SCENARIO is the name of a built-in one (simtrial list) or a .toml file. Results go to stdout, progress to stderr.
    Exit 0: done; 1: a check failed; 2: the request was wrong; 3: chunks failed or are missing; 4: stored results are
    damaged; 5: disk or engine failed; 130, 143: interrupted, run the same command to go on.
    """


def _add_commands() -> None:
    """Add the command of every file in `simtrial.commands`."""
    for file in pkgutil.iter_modules(commands.__path__):
        for value in vars(importlib.import_module(f"{commands.__name__}.{file.name}")).values():
            if isinstance(value, click.Command):
                cli.add_command(value)


_add_commands()
