"""Rows of an array below which others are put without copying those there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simtrial.arrays import Floats

SPARE = 2
"""Rows there is room for at first: outcome and receipt."""


class Growing:
    """The first rows of an array that has room for more.

    Those who share the array agree on what its rows are as far as each of them knows; a row is taken once, and who
    would take it again has a copy made.
    """

    def __init__(self, room: Floats, rows: int, taken: list[int]) -> None:
        self._room, self._rows, self._taken = room, rows, taken

    @classmethod
    def of(cls, rows: Sequence[Floats] | Floats, length: int) -> Growing:
        """Copy rows (rows, length) into an array of their own."""
        room = np.empty((len(rows) + SPARE, length))
        for own, row in zip(room, rows, strict=False):
            own[:] = row
        return cls(room, len(rows), [len(rows)])

    @property
    def values(self) -> Floats:
        """The rows (rows, length)."""
        return self._room[: self._rows]

    def grown(self) -> Growing:
        """The same with one more row at the end, which is still to be filled."""
        if self._taken[0] != self._rows or self._rows == len(self._room):
            return Growing.of(self.values, self._room.shape[1]).grown()
        self._taken[0] += 1
        return Growing(self._room, self._rows + 1, self._taken)
