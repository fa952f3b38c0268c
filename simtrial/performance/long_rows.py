"""Rows of a cell that are too many to be held: columns in a file without a name, from which measures read tiles.

Every column has a place for each replicate, so that methods are beside each other whatever order their rows come in,
and replicates that a method lacks are known. The file is among temporary files (``TMPDIR``), and goes with the rows.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol, cast

import numpy as np
import polars as pl

from simtrial.errors import EnvironmentFailure
from simtrial.kernels.interval_sets import EMPTY, TWO_RAYS
from simtrial.performance.groups import NUMBERS, Group, Judged, Truth, failed, numbers, own_true_values
from simtrial.performance.sample import Sample
from simtrial.performance.tiled import TILE, Array, Known, Tiled

Part = tuple[str, str]
"""A method and an estimand."""


class Pieces(Protocol):
    """Rows of one cell, in frames that come one after another."""

    @property
    def cell(self) -> str:
        """Name of the cell."""
        ...

    @property
    def replicates(self) -> int:
        """The largest number of a replicate."""
        ...

    @property
    def parts(self) -> Sequence[Part]:
        """Methods and estimands in order; some may have no rows."""
        ...

    def frames(self) -> Iterator[pl.DataFrame]:
        """Rows as `simtrial.performance.performance` takes them, each replicate of a part once."""
        ...


_KINDS = {**dict.fromkeys((*NUMBERS, "own_true_value"), np.float64), **dict.fromkeys(("flags", "ci_type"), np.int32),
          "failed": np.bool_, "there": np.bool_}  # fmt: skip
"""Columns in the file; a file is made of zeros, so that ``there`` is false where a part has no row."""


class LongRows:
    """Rows of one cell, written to a file piece by piece; for one thread, for the file has one place to read from.

    Raises
    ------
    EnvironmentFailure
        When the disk of temporary files cannot hold them.
    """

    def __init__(self, pieces: Pieces) -> None:
        self.cell, self.replicates = pieces.cell, pieces.replicates
        self._failed: dict[str, int] = {}
        with _room():
            self._file = tempfile.TemporaryFile(buffering=0)
        weakref.finalize(self, self._file.close)
        self._parts = {part: number for number, part in enumerate(pieces.parts)}
        self._seen, self.with_sets = set[Part](), False
        self._codes = {"flags": {"": 0}, "ci_type": {"": 0}}
        starts = np.cumsum([0, *(self.replicates * np.dtype(kind).itemsize for kind in _KINDS.values())])
        self._starts, self._part_size = dict(zip(_KINDS, starts.tolist(), strict=False)), int(starts[-1])
        for frame in _together(pieces.frames()):
            self.with_sets |= "ci_type" in frame.columns
            for (method, estimand), rows in frame.partition_by("method", "estimand", as_dict=True).items():
                self._write((str(method), str(estimand)), rows)
        with _room():
            self._file.truncate(self._part_size * len(self._parts))  # to its end, so that no place is beyond it

    @property
    def first_failures(self) -> list[tuple[str, int]]:
        """Number of the first replicate in which each method failed, by that number, then as methods are ordered."""
        methods = list(dict.fromkeys(method for method, _ in self._parts))
        return sorted(self._failed.items(), key=lambda found: (found[1], methods.index(found[0])))

    def groups(self, common: bool) -> Iterator[Group]:
        """Rows by estimand; ``common`` as in `simtrial.performance.Options`."""
        for estimand in dict.fromkeys(estimand for _, estimand in self._parts):
            methods = [method for method, other in self._parts if other == estimand and (method, other) in self._seen]
            if methods:
                yield _LongGroup(self, estimand, methods, common)

    def column(self, part: Part, name: str) -> Tiled:
        """A column of a part, a value for each replicate, read tile by tile."""
        kind = np.dtype(_KINDS[name])

        def read(tile: int, known: Known) -> Array:
            values = np.empty(min(TILE, self.replicates - tile * TILE), dtype=kind)
            self._get(self._place(part, name, tile * TILE), values.data.cast("B"))
            return values

        return Tiled(-(-self.replicates // TILE), read, self, self.replicates)

    def texts(self, name: str) -> dict[str, int]:
        """Texts of a column by the numbers that stand for them."""
        return self._codes[name]

    def _write(self, part: Part, rows: pl.DataFrame) -> None:
        """Put rows of a part into their places."""
        replicates = rows["replicate"].to_numpy()
        gone = failed(rows)
        if gone.any():
            first = int(replicates[gone].min())
            self._failed[part[0]] = min(first, self._failed.get(part[0], first))
        columns: dict[str, Array] = {"failed": gone, "there": np.ones(rows.height, dtype=bool), **numbers(rows, gone)}
        columns["own_true_value"] = own_true_values(rows)
        columns |= {name: _coded(rows[name], codes) for name, codes in self._codes.items() if name in rows.columns}
        ends = (np.flatnonzero(np.diff(replicates) != 1) + 1).tolist()  # rows of a chunk mostly follow each other
        for start, stop in zip([0, *ends], [*ends, len(replicates)], strict=True):
            for name, values in columns.items():
                content = values[start:stop].astype(_KINDS[name]).tobytes()
                self._put(self._place(part, name, int(replicates[start]) - 1), content)
        self._seen.add(part)

    def _place(self, part: Part, column: str, row: int) -> int:
        inside: int = self._starts[column] + row * np.dtype(_KINDS[column]).itemsize
        return self._parts[part] * self._part_size + inside

    def _get(self, place: int, into: memoryview) -> None:
        with _room():
            self._file.seek(place)
            while into:
                read = self._file.readinto(into)
                if not read:
                    raise OSError(None, "it is shorter than what was written")
                into = into[read:]

    def _put(self, place: int, content: bytes) -> None:
        with _room():
            self._file.seek(place)
            while content:
                content = content[self._file.write(content) :]


@contextmanager
def _room() -> Iterator[None]:
    """Say what to do where the disk of temporary files refuses."""
    try:
        yield
    except OSError as error:
        reason = f"cannot hold the rows that are summarised ({error.strerror or error}); TMPDIR may name another folder"
        raise EnvironmentFailure(f"temporary files: {reason}") from None


def _together(frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Frames of a tile of rows or more: small ones would each cost what a large one does."""
    held: list[pl.DataFrame] = []
    for frame in frames:
        held.append(frame)
        if sum(each.height for each in held) >= TILE:
            yield pl.concat(held, how="diagonal")
            held = []
    if held:
        yield pl.concat(held, how="diagonal")


def _coded(texts: pl.Series, codes: dict[str, int]) -> Array:
    """Numbers that stand for texts; null is the empty text."""
    texts = texts.cast(pl.String).fill_null("")
    found = texts.unique().to_list()
    for text in found:
        codes.setdefault(text, len(codes))
    if len(found) == 1:
        return np.full(len(texts), codes[found[0]])
    return texts.replace_strict(found, [codes[text] for text in found], return_dtype=pl.Int64).to_numpy()


@dataclass(frozen=True)
class _LongJudged(Judged):
    """Results whose sample can be made again ``within`` other replicates."""

    within: Callable[[Tiled], Sample]


class _LongGroup:
    """Rows of one estimand; methods are paired by the places of their replicates."""

    def __init__(self, rows: LongRows, estimand: str, methods: Sequence[str], common: bool) -> None:
        self.cell, self.estimand, self.methods = rows.cell, estimand, methods
        self._rows = rows
        self._common = reduce(np.logical_and, map(self._complete, methods)) if common else None

    def _column(self, method: str, name: str) -> Any:
        return self._rows.column((method, self.estimand), name)

    def _complete(self, method: str) -> Any:
        """Replicates of a method that count where all methods must have an estimate, as in `Held`."""
        e, s, p, gone, there = (
            self._column(method, name) for name in ("estimate", "std_error", "p_value", "failed", "there")
        )
        ever = bool((there & ~np.isnan(s)).any())
        has = (~np.isnan(e) & (~np.isnan(s) if ever else there)) | (np.isnan(e) & ~np.isnan(p))
        return has & there & ~gone

    def judged(self, method: str, truth: Truth) -> Judged:
        """Results of a method, whose numbers are not read yet."""
        mask = self._column(method, "there")
        there = None if mask.all() else mask
        chosen = there if self._common is None else self._common
        codes, kinds, gone = (_of(self._column(method, name), there) for name in ("flags", "ci_type", "failed"))

        def sample(chosen: Tiled | None) -> Sample:
            return self._sample(method, truth, chosen, gone)

        return _LongJudged(
            sample(chosen), _times(codes, self._rows.texts("flags")),
            _times(kinds[~gone], self._rows.texts("ci_type")), chosen, sample,
        )  # fmt: skip

    def beside(self, one: Judged, other: Judged) -> tuple[Sample, Sample]:
        """Results of two methods in the replicates that both have."""
        if one.replicates is other.replicates:
            return one.sample, other.sample
        both = reduce(np.logical_and, [each.replicates for each in (one, other) if each.replicates is not None])
        return cast(_LongJudged, one).within(both), cast(_LongJudged, other).within(both)

    def _sample(self, method: str, truth: Truth, chosen: Tiled | None, gone: Any) -> Sample:
        names = (*NUMBERS, "own_true_value") if truth.own else NUMBERS
        arrays = {name.removesuffix("_true_value"): self._column(method, name) for name in names}
        if self._rows.with_sets:
            kinds, code = self._column(method, "ci_type"), self._rows.texts("ci_type")
            empty = (kinds == code.get(EMPTY, -1)) & ~self._column(method, "failed")
            arrays |= {"apart": kinds == code.get(TWO_RAYS, -1), "empty": empty}
        kept = {name: _of(values, chosen) for name, values in arrays.items()}
        return Sample(**kept, failed=gone, truth=truth.value, truth_mcse=truth.mcse, alpha=truth.alpha)


def _of(values: Any, chosen: Tiled | None) -> Any:
    """Values of some replicates, or of all."""
    return values if chosen is None else values[chosen]


def _times(codes: Tiled, texts: Mapping[str, int]) -> dict[str, int]:
    """How often each text is there."""
    counts = sum(
        (np.bincount(tile, minlength=len(texts)) for tile in codes.tiles()), np.zeros(len(texts), dtype=np.int64)
    )
    return {text: int(counts[code]) for text, code in texts.items() if counts[code]}
