"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import polars as pl

from simtrial.errors import EnvironmentFailure

ASIDE = re.compile(r"\..+\.(?P<host>[^.]+)-(?P<pid>\d+)\.part")
"""Name of a file that is being written: dot, name, host and process."""

DAY = 86_400.0


def host() -> str:
    """Name of this machine, as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", socket.gethostname())


def write_bytes(file: Path, content: bytes, only_first: bool = False) -> None:
    """Write a file atomically: temporary file, fsync, rename, fsync of the folder.

    ``only_first``: a file that is there by then stays, where the disk has a way to tell (hard links).

    Raises
    ------
    EnvironmentFailure
        When the disk refuses.
    """
    aside = file.with_name(f".{file.name}.{host()}-{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        if not (only_first and _linked(aside, file)):
            aside.replace(file)
        _settle(file.parent)
    except OSError as error:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise EnvironmentFailure(f"{file}: cannot be written ({error.strerror or error})") from None


def _linked(aside: Path, file: Path) -> bool:
    """Give a finished file its name unless one has that name; False where the disk knows no hard links."""
    try:
        file.hardlink_to(aside)
    except FileExistsError:
        pass
    except OSError:
        return False
    aside.unlink()
    return True


def _settle(folder: Path) -> None:
    """Make a rename last, where folders can be synchronised at all (not on Windows)."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_bytes(file: Path) -> bytes | None:
    """Content of a file, None where there is none.

    Raises
    ------
    EnvironmentFailure
        When the disk refuses: an error of reading is no damage.
    """
    try:
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise EnvironmentFailure(f"{file}: cannot be read ({error.strerror or error})") from None


def sweep(folder: Path) -> None:
    """Remove what processes left half written that run no more: of this machine, or a day old."""
    for file in folder.rglob(".*.part"):
        name = ASIDE.fullmatch(file.name)
        with suppress(OSError):
            own = name is not None and name["host"] == host()
            if (own and name is not None and not alive(int(name["pid"]))) or time.time() - file.stat().st_mtime > DAY:
                file.unlink(missing_ok=True)


def alive(process: int, since: str = "") -> bool:
    """Whether a process of this machine still runs, and began when it is known to have begun (see `beginning`)."""
    if Path("/proc/self/stat").exists():
        now = beginning(process)
        return bool(now) and since in ("", now)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's, or a system that does not tell
        return True
    return True


def beginning(process: int) -> str:
    """When a process began, in the system's own count; empty where it has ended, waited for or not, or none is told.

    Numbers of processes are given again; together with their beginning they are not.
    """
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def parquet_bytes(frame: pl.DataFrame, provenance: Mapping[str, str]) -> bytes:
    """Return a frame as compressed Parquet that carries its origin."""
    from io import BytesIO

    buffer = BytesIO()
    frame.write_parquet(buffer, compression="zstd", metadata=dict(provenance))
    return buffer.getvalue()
