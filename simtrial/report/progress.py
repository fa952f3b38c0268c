"""Progress on stderr: a bar on a terminal, one plain line now and then in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

INTERVAL = 30.0  # seconds between lines in a log


class Progress:
    """Called with chunks (or what else is counted) done, how many there are, and seconds so far."""

    def __init__(self, what: str = "chunks") -> None:
        self._what = what
        self._bar: Any = None
        self._task: Any = None
        self._last = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, done: int, total: int, seconds: float) -> None:
        """Show how far the run is."""
        if sys.stderr.isatty():
            self._show(done, total)
        elif done == total or time.monotonic() - self._last >= INTERVAL:
            self._last = time.monotonic()
            left = seconds / done * (total - done)
            clock = time.strftime("%H:%M:%S")
            print(
                f"{clock} {done}/{total} {self._what}, {seconds:.0f} s, about {left:.0f} s left",
                file=sys.stderr,
                flush=True,
            )

    def _show(self, done: int, total: int) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                self._what,
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(self._what, total=total)
        self._bar.update(self._task, completed=done)
