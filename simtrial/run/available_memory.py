"""Memory that processes of this machine, container or batch job may use, and what this process holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

FILES = Path("/")
"""Where the files of the operating system are."""


def available() -> int | None:
    """Bytes: the least of what the batch system granted, the container allows, and the machine has free; None: unknown.

    What is cached of files counts as free.
    """
    return min(_bounds(), default=None)


def resident() -> int:
    """Bytes that this process holds, 0 where the system does not tell."""
    text = _read(FILES / "proc/self/statm").split()
    return int(text[1]) * os.sysconf("SC_PAGE_SIZE") if len(text) > 1 else 0


def _bounds() -> Iterator[int]:
    granted = os.environ.get("SLURM_MEM_PER_NODE", "")
    if granted.isdecimal() and int(granted):  # 0: all that the node has
        yield int(granted) * 2**20
    for line in _read(FILES / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024
    yield from _limits()


def _limits() -> Iterator[int]:
    """What is left of the limits of the control groups that this process is in, the outer ones included."""
    for line in _read(FILES / "proc/self/cgroup").splitlines():
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0":
            root, limit, used, cached = "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            root, limit, used = "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cached = "total_inactive_file"
        else:
            continue
        group = FILES / root / path.lstrip("/")
        for folder in (group, *group.parents):
            most, now = _read(folder / limit).strip(), _read(folder / used).strip()
            if most.isdecimal() and now.isdecimal():
                yield max(int(most) - int(now) + _statistic(folder / "memory.stat", cached), 0)
            if folder == FILES / root:
                break


def _statistic(file: Path, name: str) -> int:
    pairs = (line.split() for line in _read(file).splitlines())
    return next((int(pair[1]) for pair in pairs if len(pair) == 2 and pair[0] == name), 0)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
