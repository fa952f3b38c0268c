"""PARTNERS with two to four practices: fits that cannot be made fail with their cause, and nothing leaks to stderr."""

import warnings
from pathlib import Path

import pytest
from commands import simtrial
from tomls import written

from simtrial.run.loop import block_rows
from simtrial.scenario import load

FEW = """\
schema = 1
name = "few"
title = "Few practices"
extends = "partners"
"""
METHODS = """
[[methods]]
name = "mixed"
kind = "lmm"
adjust = ["mansa_baseline"]

[[methods]]
name = "crude"
kind = "lmm"
adjust = []

[[methods]]
name = "equations"
kind = "gee"
adjust = ["mansa_baseline"]
"""


@pytest.mark.parametrize("sizes", [[], ["mechanism.practices.cluster_size_mean=2.0"]], ids=["as it is", "pairs"])
@pytest.mark.parametrize("practices", [2, 3, 4])
def test_trials_too_small_to_fit_emit_no_warning(tmp_path: Path, practices: int, sizes: list[str]) -> None:
    sets = [f"mechanism.practices.number={practices}", *sizes, "run.block=250"]
    cell = load(written(tmp_path, FEW + METHODS), sets)[1][0]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        rows = block_rows(cell, 1)
    assert (rows["status"] == "failed").any()
    assert [str(warning.message) for warning in seen] == []


def test_show_warns_of_methods_that_fail_in_its_probe(tmp_path: Path) -> None:
    file = written(tmp_path, FEW + METHODS)
    found = simtrial("show", file, "--set", "mechanism.practices.number=2")
    told = [line for line in found.err.splitlines() if line.startswith("warning: ")]
    assert found.code == 0
    assert sorted(line.split(" fails in ")[0] for line in told) == [
        "warning: 'crude'", "warning: 'equations'", "warning: 'mixed'",
    ]  # fmt: skip
    assert all(" of 25 probe trials: " in line for line in told)
    assert "fails in" not in simtrial("show", file).err
