"""Random streams addressed by identity: every draw can be reproduced from its purpose."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from math import prod
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Floats
from simtrial.core import compiled

FEW = 250
"""Numbers up to which numpy is as quick as handing the state of its generator to the compiled kernels and back."""


TRIED = 20_000
"""Numbers of each kind by which kernels are compared with numpy once: some 150 at an edge of a layer, 5 of the tail."""


class Stream(np.random.Generator):
    """Generator of a step, SFC64 of numpy; uniform and normal numbers are drawn by compiled kernels, bit by bit."""

    def random(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:
        """Draw numbers from 0 to below 1, as numpy does."""
        core = None if dtype is not np.float64 or out is not None else drawing(self, size)
        return super().random(size, dtype, out) if core is None else _filled(self, size, core.uniforms)

    def standard_normal(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:
        """Draw standard normal numbers, as numpy does."""
        core = None if dtype is not np.float64 or out is not None else drawing(self, size)
        return super().standard_normal(size, dtype, out) if core is None else _filled(self, size, core.standard_normals)


def drawing(rng: np.random.Generator, size: Any) -> ModuleType | None:
    """The compiled kernels where they serve, know this generator, and so many numbers are worth it; else None.

    ``size`` is whatever numpy takes: a number, several, or None.
    """
    many = size is not None and (prod(size) if np.iterable(size) else size) > FEW
    if not many or not isinstance(rng.bit_generator, np.random.SFC64):
        return None
    core = compiled()
    return core if core is not None and _draws_as_numpy() else None


@lru_cache(maxsize=1)
def _draws_as_numpy() -> bool:
    """Whether kernels draw what the numpy here draws: numpy may change how it makes normal numbers of random words."""
    core = compiled()
    if core is None:
        return False
    plain, own = (np.random.Generator(np.random.SFC64(1)) for _ in range(2))
    normals, uniforms = (np.empty(TRIED) for _ in range(2))
    move_on(own, lambda state: core.standard_normals(state, normals))
    move_on(own, lambda state: core.uniforms(state, uniforms))
    same = np.array_equal(plain.standard_normal(TRIED), normals) and np.array_equal(plain.random(TRIED), uniforms)
    return bool(same)


def move_on(rng: np.random.Generator, draw: Callable[[NDArray[np.int64]], None]) -> None:
    """Let a kernel draw from the state of a generator, four words, and move it on."""
    source = rng.bit_generator
    with source.lock:
        state: Any = source.state
        draw(state["state"]["state"].view(np.int64))
        source.state = state


def _filled(rng: Stream, size: Any, fill: Callable[[NDArray[np.int64], Floats], None]) -> Floats:
    """Numbers of a kernel."""
    found = np.empty(size)
    move_on(rng, lambda state: fill(state, found.reshape(-1)))
    return found


def stream(seed: int, cell: str, block: int, step: str) -> Stream:
    """Return the generator of one step in one block of one cell.

    The same four names give the same stream whatever the engine, the order of work or the other steps.

    Parameters
    ----------
    seed
        The seed of the run.
    cell
        Identity of the cell, the same string for the same varied factors.
    block
        Number of the block within the cell, from 0.
    step
        What the draws are for, e.g. ``"outcomes.mansa"`` or ``"method:mi"``.
    """
    # as SeedSequence(seed, spawn_key=(*four words of cell and step, block)), in the words that this comes down to
    words = np.frombuffer(_words(int(seed), cell, step) + _in_words(int(block)), dtype="<u4")
    return Stream(np.random.SFC64(np.random.SeedSequence(words.astype(np.uint32, copy=False))))


@lru_cache(maxsize=1024)  # the same for every block of a cell
def _words(seed: int, cell: str, step: str) -> bytes:
    """The seed in four words or more, and four words that stand for a cell and a step."""
    named = hashlib.sha256(f"{cell}\0{step}".encode()).digest()[:16]
    return _in_words(seed).ljust(16, b"\0") + named


def _in_words(number: int) -> bytes:
    """A whole number from 0 in words of 32 bits, the lowest first."""
    return number.to_bytes(4 * max(-(-number.bit_length() // 32), 1), "little")
