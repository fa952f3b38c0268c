"""Any file whatever: `analyse` reads it or says in one message what is wrong, never more than that."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from mutations import agrees, mutants, tally
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
    """`analyse` with mutants from one number to another."""
    methods = written(folder, METHODS, "methods.toml")
    chosen = ("--methods", methods, "--format", "csv")
    return tally(mutants(base(), last, SEED), folder, "analyse", lambda at: chosen, first)


def test_mutated_files_are_read_or_refused_in_one_message(tmp_path: Path) -> None:
    agrees(*judged(tmp_path, 0, 300), SEED, 60)


@pytest.mark.verify
@pytest.mark.slow
def test_two_thousand_mutated_files_are_read_or_refused_in_one_message(tmp_path: Path) -> None:
    agrees(*judged(tmp_path, 300, 2300), SEED, 400)
