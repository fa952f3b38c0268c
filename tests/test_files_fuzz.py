"""Any file whatever: `analyse` reads it or says in one message what is wrong, never more than that."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from commands import simtrial
from mutations import mutants
from tomls import written

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of estimators on numbers such as 1e308

SEED = 20261128
METHODS = """\
[[methods]]
name = "mixed model"
kind = "lmm"
response = "y"
adjust = ["y_baseline", "region", "edu"]

[[methods]]
name = "received"
kind = "iv"
response = "y"
adjust = ["y_baseline"]
received = "received == 1"
"""


def base() -> pl.DataFrame:
    """A trial of 10 practices."""
    rng = np.random.default_rng(1)
    practice = np.repeat(np.arange(1, 11), 4)
    arm = practice % 2
    baseline = np.round(4 + rng.standard_normal(40), 2)
    return pl.DataFrame(
        {
            "practice": practice,
            "arm": arm,
            "region": np.array(["North", "South", "West"])[practice % 3],
            "y_baseline": baseline,
            "y_followup": np.round(baseline + 0.3 * arm + rng.standard_normal(40), 2),
            "edu": rng.integers(1, 4, 40),
            "received": arm * (rng.random(40) < 0.8),
            "note": ["free text, and more"] * 40,
        }
    )


def judged(folder: Path, first: int, last: int) -> tuple[list[str], dict[int, int]]:
    """Mutants that ended otherwise than they may, and how many ended how."""
    methods = written(folder, METHODS, "methods.toml")
    wrong, counts = [], {0: 0, 2: 0}
    for at, mutant in enumerate(mutants(base(), last, SEED)):
        if at < first:
            continue
        file = folder / f"data{mutant.ending}"
        file.write_bytes(mutant.data)
        found = simtrial("analyse", file, "--methods", methods, "--format", "csv")
        said = found.err.strip()
        clear = said.startswith("error: ") and len(said.splitlines()) == 1 and len(said) < 2000
        ends_well = found.code == 0 or (found.code == 2 and clear and not found.out)
        if not ends_well or "fault of simtrial" in said or "Traceback" in said or "panick" in said:
            wrong.append(f"seed {SEED}, {mutant.label}: exit {found.code}: {said[:300]}")
        counts[found.code] = counts.get(found.code, 0) + 1
    return wrong, counts


def test_mutated_files_are_read_or_refused_in_one_message(tmp_path: Path) -> None:
    wrong, counts = judged(tmp_path, 0, 300)
    print(f"seed {SEED}: {counts}")
    assert wrong == []
    assert min(counts[0], counts[2]) > 60


@pytest.mark.verify
def test_two_thousand_mutated_files_are_read_or_refused_in_one_message(tmp_path: Path) -> None:
    wrong, counts = judged(tmp_path, 300, 2300)
    print(f"seed {SEED}: {counts}")
    assert wrong == []
    assert min(counts[0], counts[2]) > 400
