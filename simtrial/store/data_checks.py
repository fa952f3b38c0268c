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
from simtrial.core import compiled
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
    digest, sums = _digest_and_sums(values, weights)
    return " ".join([f"{digest ^ _named(about) ^ len(values):016x}", *(f"{s:.12g}" for s in sums)])


def _digest_and_sums(values: Array, weights: NDArray[np.float64]) -> tuple[int, Sequence[float]]:
    """Digest, and the sums of a check: of the values by weights, of their sizes, of the weights of the missing."""
    if (core := compiled()) is not None and values.dtype in (np.float64, np.int64):  # core/data_checks.c takes over
        words, sums, digest = np.ascontiguousarray(values), np.empty(3), np.empty(1, dtype=np.int64)
        odd, real = _odd(len(words)).view(np.int64), words.dtype == np.float64
        core.check(words.view(np.int64), weights, odd, real, sums, digest)
        return int(digest.view(np.uint64)[0]), sums.tolist()
    numbers = np.asarray(values, dtype=np.float64)
    missing = np.isnan(numbers)
    blanks = 0.0
    if missing.any():
        numbers, blanks = np.where(missing, 0.0, numbers), float(weights[missing].sum())
    return _digest(values), (float(numbers @ weights), float(np.abs(numbers).sum()), blanks)


def _digest(values: Array) -> int:
    """Digest of every bit of the values and of their places: 64 bits, a tenth of the time of SHA-256.

    Words are spread by a multiplication and a shift before they are summed with odd weights, all modulo 2^64, as the
    bits of 1.0 and 2.0 differ at their upper end alone. It tells accidents apart, not forgeries.
    """
    words = np.ascontiguousarray(values if values.dtype.itemsize == 8 else values.astype(np.int64)).view(np.uint64)
    words = words * np.uint64(0x9E3779B97F4A7C15)
    words ^= words >> np.uint64(32)
    words *= _odd(len(words))
    return int(words.sum(dtype=np.uint64))


def _odd(size: int) -> NDArray[np.uint64]:
    """Weights of so many words."""
    return _odd_weights(1 << max(size - 1, 0).bit_length())[:size]


@lru_cache(maxsize=8)
def _odd_weights(size: int) -> NDArray[np.uint64]:
    """Odd numbers in no order, the same ones whatever the size: multiples of their places, spread as words are."""
    at = (np.arange(size, dtype=np.uint64) + np.uint64(1)) * np.uint64(0xD1342543DE82EF95)
    at ^= at >> np.uint64(29)
    return np.asarray((at * np.uint64(0xBF58476D1CE4E5B9)) | np.uint64(1))


@lru_cache(maxsize=1024)
def _named(about: str) -> int:
    """Digest of a few words."""
    return int.from_bytes(hashlib.sha256(about.encode()).digest()[:8], "little")


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
