"""Any file whatever: `summarise` scores it or says in one message what is wrong, never more than that."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from mutations import Mutant, agrees, flipped, mutants, overwritten, tally

SEED = 20261129
OPTIONS = (
    (), ("--true", "0.5"), ("--true", "theta"), ("--by", "dgm"), ("--reference", "A"), ("--common",),
    ("--mcse", "jackknife", "--reference", "B"), ("--mcse", "normal", "--true", "0"), ("--df", "3", "--level", "0.9"),
    ("--map", "estimate=b", "--by", "dgm", "--by", "p"),
)  # fmt: skip
FORMS = ("csv", "table", "json")


def bases() -> list[pl.DataFrame]:
    """Results of two methods in two cells: long with all that there can be, long with little, and wide."""
    rng = np.random.default_rng(1)
    n = 24
    e, s = rng.normal(0.5, 0.2, n).round(4), rng.uniform(0.1, 0.3, n).round(4)
    full = pl.DataFrame({
        "rep": np.repeat(np.arange(1, 7), 4), "dgm": np.tile(["x", "x", "y", "y"], 6), "method": ["A", "B"] * 12,
        "estimand": ["itt"] * n, "est": e, "se": s, "df": np.full(n, 8.5), "lci": (e - 2.3 * s).round(4),
        "uci": (e + 2.3 * s).round(4), "p": rng.random(n).round(4), "theta": np.full(n, 0.5),
        "status": ["ok"] * (n - 1) + ["failed"], "flags": ["", "boundary"] * 12, "note": ["free text, and more"] * n,
    })  # fmt: skip
    wide = pl.DataFrame({
        "id": np.arange(1, 25), "dgm": [1, 2] * 12, "b_1": e, "se_b_1": s, "b_2": e[::-1], "se_b_2": s,
        "true": [0.5] * n,
    })  # fmt: skip
    return [full, full.select("rep", "dgm", "method", b="est", se_b="se"), full.select("method", "dgm", "est"), wide]


def drawn(last: int) -> Iterator[Mutant]:
    """Mutants of all kinds of results in turn."""
    kinds = bases()
    streams = [mutants(frame, last, SEED + at) for at, frame in enumerate(kinds)]
    return (next(streams[at % len(streams)]) for at in range(last))


def options(at: int) -> tuple[str, ...]:
    """Options for one of them."""
    return (*OPTIONS[at % len(OPTIONS)], "--format", FORMS[at % len(FORMS)])


def test_mutated_results_are_scored_or_refused_in_one_message(tmp_path: Path) -> None:
    agrees(*tally(drawn(300), tmp_path, "summarise", options), SEED, 60)


@pytest.mark.verify
@pytest.mark.slow
def test_two_thousand_mutated_results_are_scored_or_refused_in_one_message(tmp_path: Path) -> None:
    agrees(*tally(drawn(2300), tmp_path, "summarise", options, first=300), SEED, 400)


def damaged(number: int) -> Iterator[Mutant]:
    """Parquet files of results whose pages are damaged, the rest of the file being sound."""
    for at in range(number):
        rng = np.random.default_rng([SEED, 1, at])
        compression = ("zstd", "snappy", "uncompressed", "lz4", "gzip")[at % 5]
        buffer = io.BytesIO()
        bases()[at % 4].write_parquet(buffer, compression=compression, statistics=bool(at % 2))  # type: ignore[arg-type]
        data = buffer.getvalue()
        end = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
        pages = (flipped, overwritten)[at % 2](data[4:end], rng)[: end - 4].ljust(end - 4, b"\0")
        yield Mutant(f"{at}: damaged pages, {compression}", ".parquet", data[:4] + pages + data[end:])


@pytest.mark.verify
def test_two_hundred_files_with_damaged_pages_are_scored_or_refused_in_one_message(tmp_path: Path) -> None:
    agrees(*tally(damaged(200), tmp_path, "summarise", lambda at: ("--format", "csv")), SEED, 40)


@pytest.mark.verify
@pytest.mark.slow
@pytest.mark.fuzz
def test_two_thousand_files_with_damaged_pages_are_scored_or_refused_in_one_message(tmp_path: Path) -> None:
    agrees(*tally(damaged(2000), tmp_path, "summarise", lambda at: ("--format", "csv")), SEED, 400)
