"""The command line, called as a user calls it."""

import io
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from simtrial.cli import main
from simtrial.core import choose

PROGRAM = Path(__file__).parents[2] / "cli.py"


@dataclass(frozen=True)
class Result:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


def simtrial(*arguments: object) -> Result:
    """Run a command inside this process."""
    out, err = io.StringIO(), io.StringIO()
    handler = signal.getsignal(signal.SIGTERM)
    code = 0
    try:
        called = mock.patch.object(sys, "argv", ["simtrial", *map(str, arguments)])
        with called, redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        choose(None)  # --core is for the process of the command
        signal.signal(signal.SIGTERM, handler)
    return Result(code, out.getvalue(), err.getvalue())


def program(*arguments: object, cwd: Path | None = None) -> Result:
    """Run a command through cli.py in a process of its own, in a folder of one's choice."""
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=cwd)
    return Result(done.returncode, done.stdout, done.stderr)
