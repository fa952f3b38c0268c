"""Checksums of the data in the records of a run: the same however it was run, others for other trials."""

import json
from dataclasses import replace

import numpy as np
import pytest
from cores import needs_compiled
from runs import chunks, go, quick, record
from tomls import written

from simtrial import core
from simtrial.generate import simulate
from simtrial.scenario import load
from simtrial.store.data_checks import MEMBERS, _check, _digest, _weights, alike, checks_of, stored_checks
from simtrial.store.directory import read_run
from simtrial.store.identity import from_json

__all__ = ["quick"]


def checks(folder):
    return stored_checks(folder, ["base"], from_json(read_run(folder)))["base"]


def test_checks_do_not_depend_on_how_a_run_is_made(tmp_path, quick):
    go(tmp_path / "one", 40, chunk_replicates=20)
    go(tmp_path / "two", 40, chunk_replicates=40)
    found = checks(tmp_path / "one")
    assert found == checks(tmp_path / "two")
    assert all({"arm", "mansa_followup", MEMBERS} <= set(block) for block in found.values())
    assert len({block["mansa_followup"] for block in found.values()}) == len(found)
    assert json.loads(record(chunks(tmp_path / "one")[0]).read_text())["data"]


def test_columns_of_fewer_methods_have_the_same_checks(tmp_path):
    """A method that is added may need more columns; those that were there are as they were."""
    text = 'schema = 1\nname = "p"\nextends = "partners"\n[[methods]]\nname = "m"\nkind = "lmm"\nadjust = []\n'
    more = '[[methods]]\nname = "more"\nkind = "lmm"\nadjust = ["age", "wemwbs_baseline"]\n'
    cells = [load(written(tmp_path, part))[1][0] for part in (text, text + more)]
    found = [checks_of(simulate(cell.scenario.needed, 20, 1, cell.key, 0).observed()) for cell in cells]
    assert set(found[0]) < set(found[1])
    assert {name: found[1][name] for name in found[0]} == found[0]


@pytest.fixture(scope="module")
def observed():
    _, (cell, *_) = load("partners")
    return simulate(cell.scenario.needed, 20, 1, cell.key, 0).observed()


def moved(batch, name, change):
    column = batch.column(name)
    return checks_of(batch.with_columns({name: replace(column, values=change(column.values.copy()))}))[name]


def swapped(values):
    values[[3, 17]] = values[[17, 3]]
    return values


def blanked(values):
    values[5] = np.nan
    return values


@pytest.mark.parametrize(("change", "state"), [
    (lambda v: v, "equal"), (lambda v: v * (1 + 2e-16), "rounded"), (lambda v: v + 1e-13, "rounded"),
    (lambda v: v * (1 + 1e-8), "other"), (swapped, "other"), (blanked, "other"), (lambda v: v[::-1], "other"),
])  # fmt: skip
def test_what_a_check_tells_apart(observed, change, state):
    before = checks_of(observed)["mansa_baseline"]
    assert len(np.unique(observed.column("mansa_baseline").values[[3, 17]])) == 2
    assert alike(before, moved(observed, "mansa_baseline", change)) == state


@needs_compiled
@pytest.mark.parametrize("kind", [np.float64, np.int64, np.bool_, np.int32, np.float32])
@pytest.mark.parametrize("size", [0, 1, 2, 5, 1000])
def test_either_core_makes_the_same_check_but_for_rounding(kind, size):
    """Digests are equal; sums of n terms differ by n rounding errors of their sizes at most, printed to 12 digits."""
    rng = np.random.default_rng(size)
    values = (rng.normal(0, 1e6, size)).astype(kind)
    for odd in (np.nan, -np.inf, -0.0, 5e-324) if np.issubdtype(kind, np.floating) and size > 4 else (values[:1],):
        values[size // 2 : size // 2 + 1] = odd
        found = []
        for name in core.CORES:
            with core.using(name), np.errstate(invalid="ignore"):
                found.append(_check(values, _weights(size), "a"))
        digests, sums = zip(*((check.split()[0], np.array(check.split()[1:], float)) for check in found), strict=True)
        assert digests[0] == digests[1]
        np.testing.assert_allclose(
            sums[0], sums[1], rtol=2e-11, atol=1e-15 * size * np.nan_to_num(sums[0][1], posinf=0.0)
        )


def test_one_value_in_a_block_of_thousands_is_noticed(observed):
    def one(values):
        values[100] += 0.01
        return values

    assert alike(checks_of(observed)["mansa_followup"], moved(observed, "mansa_followup", one)) == "other"


def test_digests_tell_any_two_values_that_change_places():
    """Of whole numbers as floats, whose bits differ at their upper end alone, and of numbers of few digits."""
    rng = np.random.default_rng(1)
    for values in (rng.integers(0, 2, 400).astype(float), rng.integers(0, 2, 400), np.round(rng.random(400), 2)):
        seen = {_digest(values)}
        pairs = [(i, j) for i, j in rng.integers(0, 400, (2000, 2)).tolist() if values[i] != values[j]]
        for i, j in {(min(p), max(p)) for p in pairs}:
            other = values.copy()
            other[[i, j]] = other[[j, i]]
            seen.add(_digest(other))
        assert len(seen) == len({(min(p), max(p)) for p in pairs}) + 1
