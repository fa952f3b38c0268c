"""Any file whatever: `summarise` scores it or says in one message what is wrong, never more than that."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from commands import simtrial
from mutations import Mutant, mutants

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


def readable(mutant: Mutant) -> bool:
    """Whether the library that reads Parquet survives: at one damaged page in hundreds it ends the whole process.

    (It believes a page that claims exabytes, and an allocation that fails cannot be caught.)
    """
    damage = mutant.label.rsplit(", ", 1)[-1]
    return mutant.ending != ".parquet" or damage not in ("flipped", "overwritten", "cut_out")


def judged(folder: Path, first: int, last: int) -> tuple[list[str], dict[int, int]]:
    """Mutants that ended otherwise than they may, and how many ended how."""
    wrong, counts = [], {0: 0, 2: 0}
    kinds = bases()
    streams = [filter(readable, mutants(frame, 2 * last, SEED + at)) for at, frame in enumerate(kinds)]
    for at in range(last):
        mutant = next(streams[at % len(streams)])
        if at < first:
            continue
        file = folder / f"results{mutant.ending}"
        file.write_bytes(mutant.data)
        chosen = OPTIONS[at % len(OPTIONS)]
        found = simtrial("summarise", file, *chosen, "--format", FORMS[at % len(FORMS)])
        message = found.err.strip()
        refused = found.code == 2 and message.startswith("error: ") and len(message.splitlines()) == 1
        ends_well = (found.code == 0 and found.out) or (refused and len(message) < 2000 and not found.out)
        if not ends_well or "fault of simtrial" in message or "Traceback" in message or "Warning" in message:
            wrong.append(f"seed {SEED}, {mutant.label}, {chosen}: exit {found.code}: {message[:300]}")
        counts[found.code] = counts.get(found.code, 0) + 1
    return wrong, counts


def test_mutated_results_are_scored_or_refused_in_one_message(tmp_path: Path) -> None:
    wrong, counts = judged(tmp_path, 0, 300)
    print(f"seed {SEED}: {counts}")
    assert wrong == []
    assert min(counts[0], counts[2]) > 60


@pytest.mark.verify
def test_two_thousand_mutated_results_are_scored_or_refused_in_one_message(tmp_path: Path) -> None:
    wrong, counts = judged(tmp_path, 300, 2300)
    print(f"seed {SEED}: {counts}")
    assert wrong == []
    assert min(counts[0], counts[2]) > 400
