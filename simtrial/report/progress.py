"""Progress on stderr: a bar on a terminal, one plain line now and then in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from simtrial.run.standing import Standing

INTERVAL = 30.0  # seconds between lines in a log


class Progress:
    """Called with chunks (or what else is counted) done, how many there are, and seconds so far.

    Of a run it shows replicates per second, the time left and the fits that failed as well.
    """

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

    def __call__(self, done: int, total: int, seconds: float, run: Standing | None = None) -> None:
        """Show how far the work is."""
        if sys.stderr.isatty():
            self._show(done, total, seconds, run)
        elif done == total or time.monotonic() - self._last >= INTERVAL:
            self._last = time.monotonic()
            more = f", {figures(seconds, run)}" if run is not None else ""
            left = f"about {time_left(done, total, seconds, run):.0f} s left"
            clock = time.strftime("%H:%M:%S")
            print(f"{clock} {done}/{total} {self._what}, {seconds:.0f} s{more}, {left}", file=sys.stderr, flush=True)

    def _show(self, done: int, total: int, seconds: float, run: Standing | None) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                self._what,
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[figures]}"),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(self._what, total=total, figures="")
        self._bar.update(self._task, completed=done, figures="" if run is None else figures(seconds, run))


def figures(seconds: float, run: Standing) -> str:
    """Rate of the replicates made here, and their failed fits."""
    fits = f"{run.failed_fits:,} failed fit{'' if run.failed_fits == 1 else 's'}"
    return f"{run.made / max(seconds, 1e-9):,.0f} replicates/s, {fits}"


def time_left(done: int, total: int, seconds: float, run: Standing | None) -> float:
    """Seconds that the rest takes at the rate so far, counted in replicates where these are known."""
    done, total = (done, total) if run is None else (run.done, run.wanted)
    return seconds / done * (total - done)
