"""Arms by minimisation are the same whichever core allocates."""

import numpy as np
import pytest
from cores import needs_compiled

from simtrial import core
from simtrial.generate.allocation.minimisation import minimise

pytestmark = needs_compiled


@pytest.mark.parametrize("case", range(60))
def test_arms_are_equal(case):
    rng = np.random.default_rng(case)
    trial = np.repeat(np.arange(case % 12 + 1), rng.integers(1, 40, case % 12 + 1))
    factors, practices = int(rng.integers(1, 4)), len(trial)
    levels, coins = rng.integers(0, 5, (factors, practices)), rng.random(practices)
    options = {
        "best": float(rng.choice([0.5, 0.8, 1.0])),
        "imbalance": str(rng.choice(["range", "variance", "marginal-sum"])),
        "weights": [None, [0.1] * factors, rng.random(factors).tolist()][case % 3],
        "ratio": [(1, 1), (1, 2), (3, 2)][case // 3 % 3],
        "order": rng.random(practices) if case % 2 else None,
    }
    arms = []
    for name in core.CORES:
        with core.using(name):
            arms.append(minimise(levels, coins, trial, **options))
    assert np.array_equal(*arms)


def arguments():
    trial = np.array([0, 0, 0, 1, 1])
    arrays = [np.zeros((2, 5), int), np.full(5, 0.5), trial, np.arange(5), np.ones(2), np.zeros(5, int)]
    return [*arrays, 0, 1, 1, 0.8, 0.2, 0.5, 1e-9]


@pytest.mark.parametrize(
    "wrong", [None, "text", np.zeros((1, 1)), np.zeros(0), np.zeros((2, 2, 2), np.float32)], ids=str
)
@pytest.mark.parametrize("at", range(13))
def test_wrong_arguments_are_refused(at, wrong):
    given = arguments()
    given[at] = wrong
    with pytest.raises((TypeError, ValueError)):
        core.compiled().minimise(*given)


@pytest.mark.parametrize(
    ("at", "values"),
    [(0, [[0, 0, 0, 0, -1]] * 2), (3, [0, 1, 2, 3, 5]), (3, [0, 1, 2, 3, -1]), (3, [3, 4, 0, 1, 2]), (6, 3)],
)
def test_places_that_are_none_are_refused(at, values):
    given = arguments()
    given[at] = np.array(values) if isinstance(values, list) else values
    with pytest.raises((IndexError, ValueError)):
        core.compiled().minimise(*given)


def test_not_a_number_ends_in_an_arm():
    given = arguments()
    given[1], given[4] = np.full(5, np.nan), np.full(2, np.nan)
    core.compiled().minimise(*given)
    assert set(given[5]) <= {0, 1}
