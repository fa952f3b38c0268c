"""Arrays of more replicates than are held in memory at once, computed tile by tile.

A `Tiled` stands for an array (replicates,) in the formulas of measures. Arithmetic, comparisons and numpy's functions
of single values make another one and compute nothing yet; sums, extremes and order statistics run through the tiles, of
which one is in memory. So formulas are written once, for arrays, and memory does not grow with the replicates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial, wraps
from math import sqrt
from typing import Any, ParamSpec, cast

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

from simtrial.arrays import Bools, Floats

TILE = 1 << 15
"""Replicates in a tile: a quarter of a megabyte of numbers, which stay in a core's own memory from step to step."""

Array = NDArray[Any]
Known = dict[int, Array]
"""Arrays of the tile at hand by the `Tiled` that they belong to: what two steps share is computed once."""


class Tiled(NDArrayOperatorsMixin):
    """Values of replicates, tile by tile.

    ``count`` tiles, each made by ``make(number, known)``. ``replicates`` is one object for all arrays of the same
    replicates in the same order; others are not combined.
    """

    __array_priority__ = 1
    __iter__ = None  # an array whose values somebody wants one by one has to be held

    def __init__(
        self, count: int, make: Callable[[int, Known], Array], replicates: object, length: int | None = None
    ) -> None:
        self.count, self.replicates, self._make = count, replicates, make
        self._length = length
        self._has_missing: bool | None = None

    def at(self, tile: int, known: Known) -> Array:
        """Return the array of a tile, from ``known`` if another step has made it."""
        if id(self) not in known:
            known[id(self)] = self._make(tile, known)
        return known[id(self)]

    def tiles(self) -> Iterator[Array]:
        """Compute the tiles one after another."""
        return (self.at(tile, {}) for tile in range(self.count))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **keywords: Any) -> Any:
        return NotImplemented if method != "__call__" or keywords else _applied(ufunc, inputs)

    def __array__(self, *_: Any, **__: Any) -> Array:
        raise TypeError("an array of more replicates than fit in memory is never held whole")

    def __len__(self) -> int:
        if self._length is None:
            self._length = sum(map(len, self.tiles()))
        return self._length

    @property
    def has_missing(self) -> bool:
        """Whether any value is NaN."""
        if self._has_missing is None:
            self._has_missing = any(np.isnan(tile).any() for tile in self.tiles())
        return self._has_missing

    def __getitem__(self, chosen: Any) -> Any:
        """Values where a mask is true, or the first of all (place 0)."""
        if isinstance(chosen, Tiled):
            _same([self, chosen])
            return Tiled(self.count, lambda tile, known: self.at(tile, known)[chosen.at(tile, known)], chosen)
        if chosen != 0:
            raise IndexError("only the first value is taken by its place")
        return next(tile[0] for tile in self.tiles() if len(tile))

    def astype(self, dtype: Any) -> Tiled:
        """Values as another type."""
        return _applied(lambda values: values.astype(dtype), (self,))

    def clip(self, low: float, high: float) -> Tiled:
        """Values, those beyond two bounds pulled in to them."""
        return _applied(np.clip, (self, low, high))

    def sum(self) -> Any:
        """Sum of all values, tile by tile."""
        return np.array([tile.sum() for tile in self.tiles()], dtype=np.float64).sum()

    def mean(self) -> Any:
        """Mean of all values."""
        return self.sum() / np.float64(len(self))

    def var(self, ddof: int = 0) -> Any:
        """Mean square of the deviations from the mean, over n - ddof."""
        return ((self - self.mean()) ** 2).sum() / np.float64(len(self) - ddof)

    def std(self, ddof: int = 0) -> Any:
        """Square root of the variance."""
        return sqrt(self.var(ddof))

    def max(self) -> Any:
        """Largest value, NaN if one is."""
        return np.max([tile.max() for tile in self.tiles() if len(tile)])

    def min(self) -> Any:
        """Least value, NaN if one is."""
        return np.min([tile.min() for tile in self.tiles() if len(tile)])

    def any(self) -> np.bool_:
        """Whether any value is true."""
        return np.bool_(any(tile.any() for tile in self.tiles()))

    def all(self) -> np.bool_:
        """Whether every value is true."""
        return np.bool_(all(tile.all() for tile in self.tiles()))


def _applied(function: Callable[..., Array], inputs: Sequence[Any]) -> Tiled:
    """What a function of single values makes of each tile."""
    one = _same([value for value in inputs if isinstance(value, Tiled) or np.ndim(value)])

    def make(tile: int, known: Known) -> Array:
        return function(*(value.at(tile, known) if isinstance(value, Tiled) else value for value in inputs))

    return Tiled(one.count, make, one.replicates, one._length)


def _same(arrays: Sequence[Any]) -> Tiled:
    """One of some arrays, which must be of the same replicates."""
    if not all(isinstance(each, Tiled) and each.replicates is arrays[0].replicates for each in arrays):
        raise ValueError("arrays of different replicates are not combined")
    return cast(Tiled, arrays[0])


P = ParamSpec("P")


def by_tile(function: Callable[P, Floats]) -> Callable[P, Floats]:
    """Let a function of single values, one result for each, take arrays by tile as well."""

    @wraps(function)
    def applied(*inputs: P.args, **keywords: P.kwargs) -> Floats:
        if any(isinstance(value, Tiled) for value in inputs):
            return cast(Floats, _applied(partial(function, **keywords), inputs))
        return function(*inputs, **keywords)

    return applied


@by_tile
def where(chosen: Bools, values: Floats | float, others: Floats | float) -> Floats:
    """Values where a mask is true, others where not."""
    return np.where(chosen, values, others)


def has_missing(values: Floats | Tiled) -> bool:
    """Whether any value is NaN."""
    return values.has_missing if isinstance(values, Tiled) else bool(np.isnan(values).any())


def tiles_of(values: Floats | Tiled | float) -> Iterator[Floats]:
    """Tiles of an array: one, if it is held whole."""
    return values.tiles() if isinstance(values, Tiled) else iter((np.asarray(values),))


def ordered(values: Floats | Tiled, places: Sequence[int]) -> Floats:
    """Order statistics at some places, 0 the least; NaN comes last."""
    if not isinstance(values, Tiled):
        return np.partition(values, places)[list(places)]
    found = _of_prefix(values, 0, 0, places)
    return np.array([found[place] for place in places])


def quantiles(values: Floats | Tiled, shares: Sequence[float]) -> Floats:
    """Quantiles, between two order statistics by a straight line; values may be infinite.

    Rounded as numpy rounds them, from the nearer of the two.
    """
    last = len(values) - 1
    spots = np.array([last * share for share in shares])
    lower = spots.astype(np.intp)
    low, high = ordered(values, [*lower, *np.minimum(lower + 1, last)]).reshape(2, -1)
    part = spots - lower
    with np.errstate(invalid="ignore"):
        gap = high - low
        between = np.where(part < 0.5, low + gap * part, high - gap * (1 - part))
        between = np.where(np.isfinite(gap), between, low * (1 - part) + high * part)
    return np.where((part == 0) | (low == high), low, between)


DIGIT = 16
"""Bits by which values are sorted into bins, the first ones of those that the bits so far leave together."""


def _of_prefix(values: Tiled, prefix: int, known_bits: int, places: Sequence[int]) -> dict[int, float]:
    """Order statistics among the values whose keys begin with some bits, by place among them.

    Values are counted by their next digit, which tells the bin of each place. A bin that a tile can hold is sorted, and
    one that it cannot is taken apart further: after four digits all of its values are one and the same.
    """
    rest = 64 - known_bits - DIGIT
    counts = np.zeros(1 << DIGIT, dtype=np.int64)
    for tile in values.tiles():
        keys = _with_prefix(_keys(tile), prefix, known_bits) >> np.uint64(rest)
        counts += np.bincount((keys & np.uint64((1 << DIGIT) - 1)).astype(np.int64), minlength=1 << DIGIT)
    until = np.cumsum(counts)
    bins = np.searchsorted(until, places, side="right")
    found: dict[int, float] = {}
    for digit in np.unique(bins).tolist():
        before, longer = int(until[digit] - counts[digit]), prefix << DIGIT | digit
        inside = {place: place - before for place, its in zip(places, bins, strict=True) if its == digit}
        if counts[digit] <= TILE:
            kept = [_with_prefix(_keys(tile), longer, 64 - rest) for tile in values.tiles()]
            of_bin = np.sort(_values(np.concatenate(kept)))
            found |= {place: float(of_bin[at]) for place, at in inside.items()}
        elif rest == 0:
            found |= dict.fromkeys(inside, float(_values(np.array([longer], dtype=np.uint64))[0]))
        else:
            deeper = _of_prefix(values, longer, 64 - rest, list(inside.values()))
            found |= {place: deeper[at] for place, at in inside.items()}
    return found


_SIGN = np.uint64(1 << 63)


def _keys(values: Floats) -> NDArray[np.uint64]:
    """Whole numbers in the order of the values: their bits, all turned where negative, else the sign alone.

    NaN comes last, as numpy sorts it.
    """
    bits = np.ascontiguousarray(values, dtype=np.float64).view(np.uint64)
    keys = bits ^ np.where(bits & _SIGN, ~np.uint64(0), _SIGN)
    return np.where(np.isnan(values), ~np.uint64(0), keys)


def _values(keys: NDArray[np.uint64]) -> Floats:
    """Values of keys."""
    return (keys ^ np.where(keys & _SIGN, _SIGN, ~np.uint64(0))).view(np.float64)


def _with_prefix(keys: NDArray[np.uint64], prefix: int, known_bits: int) -> NDArray[np.uint64]:
    """Keys that begin with some bits."""
    return keys[keys >> np.uint64(64 - known_bits) == np.uint64(prefix)] if known_bits else keys
