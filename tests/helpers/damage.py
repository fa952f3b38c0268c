"""Run directories that were damaged on purpose: what a summary makes of them."""

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from commands import Result, simtrial

NAMED, HARMLESS, SILENT = "named", "harmless", "silent"


def summary(folder: Path) -> Result:
    """What a user sees of a run."""
    return simtrial("summarise", folder, "--format", "csv")


def verdict(folder: Path, expected: str) -> str:
    """Damage is named with exit 4, or changes no byte of the summary; anything else is silent damage."""
    found = summary(folder)
    if found.code == 4:
        return (
            NAMED
            if str(folder) in found.err and "damaged" in found.err and len(found.err.splitlines()) == 1
            else SILENT
        )
    return HARMLESS if (found.code, found.out) == (0, expected) else f"{SILENT}: exit {found.code}: {found.err[-300:]}"


def files_of(folder: Path) -> list[Path]:
    """Every file of a run."""
    return sorted(f for f in folder.rglob("*") if f.is_file())


Change = tuple[str, Callable[[], None]]


def flips(folder: Path, count: int, seed: int) -> Iterator[tuple[str, Path, bytes]]:
    """Single bits of files drawn at random, each file as often as any other: name, file, changed content."""
    rng = random.Random(seed)
    every = files_of(folder)
    for _ in range(count):
        file = rng.choice(every)
        content = bytearray(file.read_bytes())
        at, bit = rng.randrange(len(content)), rng.randrange(8)
        content[at] ^= 1 << bit
        yield f"{file.name}: bit {bit} of byte {at}", file, bytes(content)


def truncations(folder: Path, count: int, seed: int) -> Iterator[tuple[str, Path, bytes]]:
    """Files cut off at a random byte."""
    rng = random.Random(seed)
    every = files_of(folder)
    for _ in range(count):
        file = rng.choice(every)
        content = file.read_bytes()
        kept = rng.randrange(len(content))
        yield f"{file.name}: {kept} of {len(content)} bytes", file, content[:kept]


def copied(folder: Path, to: Path) -> Path:
    """A copy of a run."""
    shutil.copytree(folder, to)
    return to
