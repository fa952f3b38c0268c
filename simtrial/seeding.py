"""Random streams addressed by identity: every draw can be reproduced from its purpose."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np


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
    key = (*_words(cell, step), block)
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=key)))


@lru_cache(maxsize=1024)  # the same for every block of a cell
def _words(cell: str, step: str) -> tuple[int, ...]:
    """Four words that stand for a cell and a step."""
    return tuple(np.frombuffer(hashlib.sha256(f"{cell}\0{step}".encode()).digest()[:16], dtype="<u4").tolist())
