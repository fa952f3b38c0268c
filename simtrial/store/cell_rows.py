"""Rows of one cell of a run: which chunk each block and part is read from, and the rows in pieces or whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from simtrial.store.chunks import Stored, read_chunk
from simtrial.store.estimate_rows import bind
from simtrial.store.identity import Identity, Part

Holders = dict[int, dict[Part, Stored]]
"""The chunk that each part of each block is read from."""


@dataclass(frozen=True, kw_only=True)
class StoredCell:
    """Rows of a cell in a run directory, not read yet.

    ``replicates`` that are wanted, in blocks of ``block``; ``columns`` of the rows, all where it is None.
    """

    cell: str
    replicates: int
    holders: Holders
    identity: Identity
    block: int
    columns: Sequence[str] | None

    @property
    def parts(self) -> Sequence[Part]:
        """Methods and estimands, in the order of the request."""
        return list(self.identity.parts)

    @property
    def missing(self) -> int:
        """Blocks that are not there, or lack a method."""
        return sum(by_part.keys() != self.identity.parts.keys() for by_part in self.holders.values())

    def frames(self) -> Iterator[pl.DataFrame]:
        """Rows chunk by chunk, each block and part once."""
        uses: dict[Path, tuple[Stored, dict[frozenset[Part], list[int]]]] = {}
        for block, by_part in self.holders.items():
            from_chunk: dict[Path, list[Part]] = {}
            for part, chunk in by_part.items():
                uses.setdefault(chunk.file, (chunk, {}))
                from_chunk.setdefault(chunk.file, []).append(part)
            for file, its in from_chunk.items():
                uses[file][1].setdefault(frozenset(its), []).append(block)
        for chunk, wanted in uses.values():
            frame = read_chunk(chunk, self.columns)
            for parts, blocks in wanted.items():
                yield self._named(_only(frame, chunk, parts, blocks, self.block, self.replicates))

    def whole(self) -> pl.DataFrame:
        """All rows in one frame, those of a method in order of replicates."""
        rows = bind(list(self.frames()))
        return rows if _in_order(self.holders, self.identity) else _by_part(rows, self.identity)

    def among_others(self, name: str) -> StoredCell:
        """The same rows under a name that tells their cell apart from those of other runs."""
        return replace(self, cell=name)

    def _named(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows if rows.is_empty() or rows["cell"][0] == self.cell else rows.with_columns(cell=pl.lit(self.cell))


def _in_order(holders: Holders, identity: Identity) -> bool:
    """Whether every block is read from one chunk, which has all parts, in the order of the request."""
    one = all(len({chunk.file for chunk in by_part.values()}) <= 1 for by_part in holders.values())
    chunks = {chunk.file: chunk for by_part in holders.values() for chunk in by_part.values()}
    orders = ([part for part in chunk.parts if part in identity.parts] for chunk in chunks.values())
    return one and all(order == list(identity.parts) for order in orders)


def _by_part(rows: pl.DataFrame, identity: Identity) -> pl.DataFrame:
    """Rows part by part, as the request orders them, and in a part by replicate."""
    lines = [(*part, number) for number, part in enumerate(identity.parts)]
    kinds = {name: rows.schema[name] for name in ("method", "estimand")}
    order = pl.DataFrame(lines, schema={"method": pl.String, "estimand": pl.String, "_part": pl.Int64}, orient="row")
    joined = rows.join(order.cast(kinds), on=["method", "estimand"], how="left", maintain_order="left")  # type: ignore[arg-type]
    return joined.sort("_part", "replicate").drop("_part")


def _only(
    frame: pl.DataFrame, chunk: Stored, parts: frozenset[Part], blocks: list[int], size: int, replicates: int
) -> pl.DataFrame:
    """Leave out parts and blocks of a chunk that are read from others, and replicates beyond those wanted."""
    if parts != chunk.parts.keys():
        pairs = pl.DataFrame(sorted(parts), schema={"method": pl.String, "estimand": pl.String}, orient="row")
        kinds = {name: frame.schema[name] for name in ("method", "estimand")}
        frame = frame.join(pairs.cast(kinds), on=["method", "estimand"], how="semi", maintain_order="left")  # type: ignore[arg-type]
    if len(blocks) == len(chunk.blocks) and (blocks[-1] + 1) * size <= replicates:
        return frame
    return frame.filter(((pl.col("replicate") - 1) // size).is_in(blocks) & (pl.col("replicate") <= replicates))
