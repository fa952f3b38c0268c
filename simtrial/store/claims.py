"""Claims: who is at work on which chunk, so that processes that share a run do not make the same twice.

A claim is a hint and no lock. One whose process has ended counts no more: at once on this machine, elsewhere when it is
older than `STALE`. Whoever ignores a claim loses time and nothing else, for a chunk made twice has the same rows.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from simtrial.files.whole import alive, beginning, host

STALE = 900.0
"""Seconds after which a claim of another machine counts no more."""


@contextmanager
def claimed(file: Path) -> Iterator[bool]:
    """Claim a chunk while it is made; False where another process is at work on it."""
    if not _claim(file):
        yield False
        return
    try:
        yield True
    finally:
        with suppress(OSError):
            file.unlink(missing_ok=True)


def sweep_claims(folder: Path) -> None:
    """Remove the claims of a run whose processes have ended: work that was stored just before is claimed no more."""
    for file in (folder / "claims").glob("*"):
        with suppress(OSError):
            if not is_claimed(file) and file.read_text().split()[1:2] != [str(os.getpid())]:
                file.unlink(missing_ok=True)


def is_claimed(file: Path) -> bool:
    """Whether a process that still runs is at work on a chunk."""
    try:
        owner, age = file.read_text().split(), time.time() - file.stat().st_mtime
    except (OSError, ValueError):
        return False
    if len(owner) < 2 or not owner[1].isdigit():
        return age < STALE
    machine, process, since = owner[0], int(owner[1]), "".join(owner[2:])
    if machine == host():
        return process != os.getpid() and alive(process, since)
    return age < STALE


def _claim(file: Path) -> bool:
    """Enter a claim; True as well where a disk takes none."""
    mine = f"{host()} {os.getpid()} {beginning(os.getpid())}\n".encode()
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(2):
        try:
            handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            if is_claimed(file):
                return False
            with suppress(OSError):
                file.unlink(missing_ok=True)
            continue
        except OSError:
            return True
        with suppress(OSError):
            os.write(handle, mine)
        os.close(handle)
        return True
    return False
