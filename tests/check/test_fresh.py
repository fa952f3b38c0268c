"""check --fresh: new seeds, printed; what fails is run again four times as large, and fails if it fails twice."""

import io
import re

import polars as pl
import pytest
from commands import simtrial
from tomls import head

from simtrial.check.fresh import second_seed, to_try_again

SMALL = (
    head("small", 8, 3.0, 0.0)
    + """\
[[methods]]
name = "means"
kind = "cluster-means"
adjust = []
[run]
replicates = 100
block = 50
[vary.cross]
"mechanism.outcomes.mansa.icc" = [0.0, 0.2]
"""
)
HOLDS = '[[expect]]\nmeasure = "coverage"\nmethod = "means"\nvalue = 0.95\n'
FAILS = '[[expect]]\nmeasure = "bias"\nmethod = "means"\nvalue = 3.0\ncell = { "mechanism.outcomes.mansa.icc" = 0.2 }\n'


def checked(tmp_path, expect, *options):
    file = tmp_path / "s.toml"
    file.write_text(SMALL + expect)
    return simtrial("check", file, "--format", "csv", *options)


def test_a_check_that_holds_prints_a_seed_that_repeats_it(tmp_path):
    first = checked(tmp_path, HOLDS, "--fresh")
    assert first.code == 0, first.err
    seed = re.search(r"--fresh --seed (\d+)", first.err)[1]
    assert checked(tmp_path, HOLDS, "--fresh", "--seed", seed).out == first.out
    assert re.search(r"--seed (\d+)", checked(tmp_path, HOLDS, "--fresh").err)[1] != seed


def test_what_fails_twice_fails_and_the_second_run_is_four_times_as_large_and_of_that_cell_only(tmp_path):
    done = checked(tmp_path, HOLDS + FAILS, "--fresh", "--seed", "5", "-o", tmp_path / "run")
    assert done.code == 1
    assert f"1 failed: again with 400 replicates and seed {second_seed(5)}" in done.err
    found = pl.read_csv(io.StringIO(done.out))
    assert found.select("n", "verdict").rows() == [(100, "ok"), (100, "ok"), (400, "FAIL")]
    assert found["expectation"].to_list() == [1, 1, 2]
    assert found["replicates"].to_list() == [100, 100, 400]
    # of three rows each may fail with a third of 0.001, and the one of the second run with 0.001
    assert found["false_alarm"].to_list() == pytest.approx([1e-6 / 3] * 3)
    assert (
        pl.read_csv(io.StringIO(simtrial("summarise", tmp_path / "run-again", "--format", "csv").out))[
            "cell"
        ].n_unique()
        == 1
    )


def test_what_fails_by_chance_passes_the_second_time(tmp_path):
    """An expectation with a z of 0.1 fails in 92% of runs of a correct program: 9 pairs of runs do not all fail."""
    strict = HOLDS + "z = 0.9\n"
    codes = [checked(tmp_path, strict, "--fresh", "--seed", str(seed)) for seed in range(12)]
    assert {done.code for done in codes} == {0, 1}
    assert any(done.code == 0 and "again with" in done.err for done in codes)


def test_expectations_are_run_again_where_they_failed():
    frame = pl.DataFrame({"expectation": [1, 1, 2], "cell": ["a", "b", "b"], "estimand": ["e", "e", "f"],
                          "verdict": ["ok", "FAIL", "FAIL"]})  # fmt: skip
    cells = pl.DataFrame({"cell": ["a", "b"], "factors": ['{"k": 1}', '{"k": 2.0}']})
    wanted = [{"measure": "bias", "value": 0.0}, {"measure": "coverage", "lower": 0.9, "estimand": ""}]
    assert to_try_again(frame, cells, wanted) == [
        {"measure": "bias", "value": 0.0, "estimand": "e", "cell": {"k": 2.0}},
        {"measure": "coverage", "lower": 0.9, "estimand": "f", "cell": {"k": 2.0}},
    ]


@pytest.mark.parametrize("first", [0, 1, 2**62])
def test_the_second_seed_follows_from_the_first_and_differs(first):
    assert second_seed(first) == second_seed(first) != first
    assert second_seed(first) != second_seed(first + 1)


def test_a_run_directory_cannot_be_checked_afresh(tmp_path):
    done = simtrial("check", tmp_path, "--fresh")
    assert (done.code, "give the scenario" in done.err) == (2, True)
