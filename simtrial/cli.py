"""The command line: everything is imported inside it, so that it can be interrupted at any time."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from simtrial.group import cli as cli


def main() -> NoReturn:
    """Run the command line; a user's mistake is one message and exit 2, never a traceback (unless --debug)."""
    from simtrial.interruption import forget, raise_and_note, what_is_kept

    forget()
    signal.signal(signal.SIGINT, lambda number, frame: raise_and_note(KeyboardInterrupt()))
    try:
        for name in ("stdout", "stderr"):
            if getattr(sys, name) is None:  # it was closed by the shell
                setattr(sys, name, open(os.devnull, "w"))
        from simtrial.group import run

        run()
    except KeyboardInterrupt:
        sys.stderr.write(f"interrupted{what_is_kept()}\n")
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def __getattr__(name: str) -> Any:
    """Import the group of commands on first use."""
    if name != "cli":
        raise AttributeError(f"module 'simtrial.cli' has no attribute '{name}'")
    from simtrial.group import cli

    return cli
