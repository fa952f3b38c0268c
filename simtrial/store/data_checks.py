"""Checksums of the data that methods were given: whether two runs analysed the same trials.

One check for each observed column of a block: a digest, and sums that tell values which differ in their last digits
(another machine, another numpy) from other values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simtrial.batch import Array, ObservedBatch
from simtrial.store.chunks import stored_chunks
from simtrial.store.identity import Identity

Checks = dict[str, str]
"""Checks of a block by column; `MEMBERS` is who belongs to whom.

A check has four words: digest, weighted sum of the values, sum of their sizes, weighted count of the missing ones.
"""

MEMBERS = "practices and participants"
ROUNDING = 1e-9
"""Difference of the sums, relative to the sum of sizes, that rounding may make."""


def checks_of(batch: ObservedBatch) -> Checks:
    """Checks of every observed column."""
    weights = {level: _weights(batch.index.size(level)) for level in ("trial", "practice", "participant")}
    index = np.concatenate([batch.index.practice_trial, batch.index.participant_practice])
    found = {MEMBERS: _check(index, _weights(len(index)))}
    for name, column in batch.columns.items():
        found[name] = _check(column.values, weights[column.level], "\0".join(column.categories))
    return found


def _check(values: Array, weights: NDArray[np.float64], about: str = "") -> str:
    whole = hashlib.sha256(about.encode() + np.ascontiguousarray(values).tobytes())
    numbers = np.asarray(values, dtype=np.float64)
    missing = np.isnan(numbers)
    blanks = 0.0
    if missing.any():
        numbers, blanks = np.where(missing, 0.0, numbers), float(weights[missing].sum())
    sums = (numbers @ weights, np.abs(numbers).sum(), blanks)
    return " ".join([whole.hexdigest()[:16], *(f"{s:.12g}" for s in sums)])


def _weights(size: int) -> NDArray[np.float64]:
    """Weights from 0.5 to 1.5 in no order: a sum by them changes when values change places."""
    return _many_weights(1 << max(size - 1, 0).bit_length())[:size]


@lru_cache(maxsize=8)
def _many_weights(size: int) -> NDArray[np.float64]:
    """Weights of a power of two, made once for blocks of about this size."""
    return np.asarray((np.arange(size) * 0.6180339887498949) % 1.0 + 0.5, dtype=np.float64)


def alike(one: str, other: str) -> str:
    """How two checks of a column compare: equal, rounded (alike but for their last digits) or other."""
    if one.split()[0] == other.split()[0]:
        return "equal"
    (weighted, size, missing), others = (tuple(map(float, check.split()[1:])) for check in (one, other))
    allowed = ROUNDING * max(size, others[1])
    near = abs(weighted - others[0]) <= allowed and abs(size - others[1]) <= allowed and missing == others[2]
    return "rounded" if near else "other"


def stored_checks(folder: Path, cells: Sequence[str], identity: Identity) -> dict[str, dict[str, Checks]]:
    """Checks of a run's data by cell and block, as the records of its chunks have them."""
    found: dict[str, dict[str, Checks]] = {cell: {} for cell in cells}
    for cell in cells:
        for chunk in stored_chunks(folder, cell, identity):
            data: Mapping[str, Checks] = chunk.record.get("data", {})
            for block, checks in data.items():
                found[cell].setdefault(block, {}).update(checks)
    return found
