"""Random streams addressed by identity: every draw can be reproduced from its purpose."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def stream(seed: int, cell: str, block: int, step: str) -> np.random.Generator:
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
    words = np.concatenate([_words(int(seed), cell, step), _in_words(int(block))])
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(words)))


@lru_cache(maxsize=1024)  # the same for every block of a cell
def _words(seed: int, cell: str, step: str) -> NDArray[np.uint32]:
    """The seed in four words or more, and four words that stand for a cell and a step."""
    own = _in_words(seed)
    named = np.frombuffer(hashlib.sha256(f"{cell}\0{step}".encode()).digest()[:16], dtype="<u4")
    return np.concatenate([own, np.zeros(max(4 - len(own), 0), dtype=np.uint32), named.astype(np.uint32)])


def _in_words(number: int) -> NDArray[np.uint32]:
    """A whole number from 0 in words of 32 bits, the lowest first."""
    size = max(-(-number.bit_length() // 32), 1)
    return np.frombuffer(number.to_bytes(4 * size, "little"), dtype="<u4").astype(np.uint32)
