"""Random streams addressed by identity: every draw can be reproduced from its purpose."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Floats
from simtrial.core import compiled

FEW = 250
"""Numbers up to which numpy is as quick as handing the state of its generator to the compiled kernels and back."""


class Stream(np.random.Generator):
    """Generator of a step, SFC64 of numpy; uniform and normal numbers are drawn by compiled kernels, bit by bit."""

    def random(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:
        """Draw numbers from 0 to below 1, as numpy does."""
        core = _serving(self, size, dtype, out)
        return super().random(size, dtype, out) if core is None else _filled(self, size, core.uniforms)

    def standard_normal(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:
        """Draw standard normal numbers, as numpy does."""
        core = _serving(self, size, dtype, out)
        return super().standard_normal(size, dtype, out) if core is None else _filled(self, size, core.standard_normals)


def _serving(rng: Stream, size: Any, dtype: Any, out: Any) -> Any:
    """The compiled kernels where they serve and so many numbers are worth it, else None."""
    many = size is not None and (prod(size) if isinstance(size, tuple) else size) > FEW
    plain = many and dtype is np.float64 and out is None
    return compiled() if plain and isinstance(rng.bit_generator, np.random.SFC64) else None


def _filled(rng: Stream, size: Any, fill: Callable[[NDArray[np.int64], Floats], None]) -> Floats:
    """Numbers of a kernel, which moves the state of the generator on."""
    found, source = np.empty(size), rng.bit_generator
    with source.lock:
        state: Any = source.state
        fill(state["state"]["state"].view(np.int64), found.reshape(-1))
        source.state = state
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
