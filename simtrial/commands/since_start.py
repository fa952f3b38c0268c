"""When this program began: what limits its time counts the time of starting as well."""

from __future__ import annotations

import os
import time

import click


def begun() -> float:
    """Moment at which the program began, on the clock of `time.monotonic`; now, where Python called a command."""
    noted = click.get_current_context().find_root().obj
    return noted if isinstance(noted, float) else time.monotonic()


def process_began() -> float:
    """Moment at which this process began, by the system, or else by the processor time that it has used so far."""
    try:
        with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        age = time.process_time()
    return time.monotonic() - max(age, 0.0)
