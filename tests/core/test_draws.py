"""Trials drawn by either core are the same to the last bit."""

import numpy as np
import pytest
from cores import needs_compiled

from simtrial import core
from simtrial.generate import simulate
from simtrial.generate.allocation.minimisation import minimise
from simtrial.generate.distributions.tables import invert
from simtrial.scenario import load

pytestmark = needs_compiled


@pytest.mark.parametrize("name", ["partners", "verify/estimators", "verify/informative-size", "published/wang-2024"])
def test_every_column(name: str) -> None:
    cell, found = load(name)[1][-1], []
    for one in core.CORES:
        with core.using(one):
            found.append(simulate(cell.scenario.mechanism, 60, 3, cell.key, 0).columns)
    assert found[0].keys() == found[1].keys()
    for column, drawn in found[0].items():
        assert drawn.values.tobytes() == found[1][column].values.tobytes(), column


@pytest.mark.parametrize("imbalance", ["range", "variance", "marginal-sum"])
@pytest.mark.parametrize("ratio", [(1, 1), (2, 1), (1, 3)])
@pytest.mark.parametrize("weights", [None, (0.1, 0.2, 0.3)])
def test_minimisation(imbalance, ratio, weights) -> None:
    rng = np.random.default_rng([ratio[0], ratio[1], len(imbalance)])
    sizes = rng.integers(0, 60, 40)
    trial = np.repeat(np.arange(40), sizes)
    levels, coins, order = rng.integers(0, 4, (3, len(trial))), rng.random(len(trial)), rng.random(len(trial))
    arms = []
    for one in core.CORES:
        with core.using(one):
            arms += [
                minimise(levels, coins, trial, best=0.8, imbalance=imbalance, weights=weights, ratio=ratio, order=when)
                for when in (None, order)
            ]
    np.testing.assert_array_equal(arms[0], arms[2])
    np.testing.assert_array_equal(arms[1], arms[3])


def test_inversion() -> None:
    rng = np.random.default_rng(5)
    for entries in (1, 2, 40, 5000):
        table = np.cumsum(rng.dirichlet(np.full(entries, 0.05)))
        table[-1] = 1.0
        uniform = np.concatenate([rng.random(3000), table, np.nextafter(table, 2), np.nextafter(table, -1),
                                  np.arange(1025) / 1024])  # fmt: skip
        uniform = np.clip(uniform, 0.0, 1.0)
        found = []
        for one in core.CORES:
            with core.using(one):
                found.append(invert(table, uniform))
        np.testing.assert_array_equal(*found)
