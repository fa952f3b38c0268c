"""PARTNERS with two to four practices: fits that cannot be made fail with their cause, and nothing leaks to stderr."""

import warnings
from pathlib import Path
from typing import Any

import pytest
from commands import simtrial
from cores import needs_compiled
from tomls import written

from simtrial.batch import ObservedBatch
from simtrial.estimators import Method, method_class
from simtrial.flags import BIT
from simtrial.generate import simulate
from simtrial.kernels import ratio_search
from simtrial.kernels.ratio_pieces import Pieces
from simtrial.moments.build import moments
from simtrial.run.block import block_rows
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


@pytest.fixture(scope="module")
def tiny() -> ObservedBatch:
    """250 trials of 3 practices with about 2 people."""
    cells = load("partners", ["mechanism.practices.number=3", "mechanism.practices.cluster_size_mean=2.0"])[1]
    return simulate(cells[0].scenario.mechanism, 250, 1, cells[0].key, 0).observed()


def mixed_model() -> Method:
    wanted = {"kind": "lmm", "name": "lmm", "response": "mansa", "adjust": ["mansa_baseline"]}
    return method_class("lmm").model_validate(wanted)


@needs_compiled
def test_trials_with_one_contrast_fail_without_a_search(tiny: ObservedBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """A criterion that is the same everywhere would leave some 97,000 pieces a trial that may hold its minimum."""
    left, plain = [0], ratio_search.isolate

    def counted(*given: Any) -> Pieces:
        pieces = plain(*given)
        left.append(len(pieces))
        return pieces

    monkeypatch.setattr(ratio_search, "isolate", counted)
    asked = mixed_model()
    made = moments(tiny, asked.spec())
    assert (~made.failed & (made.counts - made.rank == 1)).sum() > 20
    asked.fit(tiny, made, None)
    assert len(left) > 1
    assert max(left) < 250


def test_no_fit_of_a_tiny_trial_depends_on_its_neighbours(tiny: ObservedBatch) -> None:
    """One contrast left to REML tells no ratio of variances, and fails.

    With more contrasts a trial has the same numbers alone and in its batch.
    """
    batch, lmm = tiny, mixed_model()
    made = moments(batch, lmm.spec())
    together = lmm.fit(batch, made, None)
    one = ~made.failed & (made.counts - made.rank == 1) & (made.counts > made.clusters)
    assert one.sum() > 5
    assert together.failed[one].all()
    assert (together.flags[one] & BIT["tau2_not_identified"] > 0).all()
    for trial in range(0, 250, 3):
        own = batch.only(trial)
        alone = lmm.fit(own, moments(own, lmm.spec()), None)
        assert alone.failed[0] == together.failed[trial], trial
        if not alone.failed[0]:
            close = pytest.approx(alone.estimate[0, 0], abs=1e-6 * alone.std_error[0, 0])
            assert together.estimate[0, trial] == close, trial
            assert together.std_error[0, trial] == pytest.approx(alone.std_error[0, 0], rel=1e-6), trial
