"""doctor: what to paste into a report, and a check of one number."""

import json

import pytest
from commands import simtrial

import simtrial as package
from simtrial.run import doctor


def test_the_machine_is_described_and_a_trial_is_as_elsewhere() -> None:
    found = simtrial("doctor", "--format", "json")
    assert found.code == 0, found.out
    facts = {row["what"]: row["found"] for row in json.loads(found.out)["rows"]}
    assert facts["simtrial"].startswith(package.__version__)
    assert {"Python", "system", "numpy", "polars", "BLAS", "cores", "memory", "disk here", "threads"} <= set(facts)
    assert facts["a small trial"].endswith("as it should be")
    assert "This machine" in simtrial("doctor").out


def test_another_number_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_first_estimate", lambda: 0.5)
    found = simtrial("doctor")
    assert found.code == 5
    assert "0.50000 in place of" in found.out
