"""Sums without a cluster by either core: the same to the last bit, and those of the clusters that are left."""

import numpy as np
import pytest
from cores import needs_compiled

from simtrial import core
from simtrial.kernels.random_intercept_criterion import SizeSums
from simtrial.kernels.slot_sums import slot_products
from simtrial.kernels.without_clusters import without_clusters

pytestmark = needs_compiled
SIZES = np.array([1.0, 2.0, 3.0, 7.0])
FIELDS = ("sizes", "counts", "between", "within", "rows", "rank", "dropped")


def drawn(rng: np.random.Generator, columns: int, by_trial: bool, left: bool) -> tuple[SizeSums, list[object]]:
    """Sums of trials of one to eight clusters, and what they were added up from.

    Some columns differ between clusters alone, some within them as well; in some trials one cluster alone has a column,
    or the only deviations in it. ``left``: one column is left out of every trial, as one that is collinear is.
    """
    clusters = rng.integers(1, 9, 12)
    trial = np.repeat(np.arange(12), clusters)
    slot = rng.integers(0, 4, len(trial))
    means = rng.normal(size=(columns, len(trial)))
    varying = sorted({columns - 1, *rng.choice(columns, columns // 2, replace=False).tolist()})
    inner = rng.normal(size=(len(varying), 3, len(trial))) * (SIZES[slot] > 1)
    first = np.append(True, np.diff(trial) > 0)
    alone = rng.random(12) < 0.5
    means[0, alone[trial] & ~first] = 0.0
    inner[0][:, alone[trial] & ~first] = 0.0
    if left:
        means[1] = 0.0
        inner[[k for k, column in enumerate(varying) if column == 1]] = 0.0
    within = np.einsum("ikc,jkc->ijc", inner, inner)
    between, pooled = slot_products(means, within, varying, slot, trial, 4, 12)
    dropped = np.zeros((columns - 1, 12))
    if left:
        dropped[1], pooled[2] = 1.0, 1.0
    counts = np.array([[np.sum((slot == s) & (trial == t)) for t in range(12)] for s in range(4)], dtype=float)
    sums = SizeSums(
        sizes=np.where(counts > 0, SIZES[:, None], 0.0) if by_trial else SIZES[:, None], counts=counts,
        between=between, within=pooled, regressors=columns - 1, rows=SIZES @ counts,
        rank=(columns - 1.0) - dropped.sum(axis=0), dropped=dropped,
    )  # fmt: skip
    return sums, [means, within, varying, slot, SIZES[slot], trial]


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("by_trial", [False, True])
@pytest.mark.parametrize("columns", [3, 4, 7])
def test_both_cores_agree(columns: int, by_trial: bool, left: bool) -> None:
    """Products at gamma = 0 are added in another order: what is dropped is at a distance from the bound."""
    rng, gone = np.random.default_rng(columns), []
    for turn in range(30):
        sums, given = drawn(rng, columns, by_trial, left)
        trial = np.asarray(given.pop())
        chosen = rng.permutation(len(trial))[: 1 if turn == 0 else None]
        found = []
        for name in core.CORES:
            with core.using(name):
                found.append(without_clusters(sums, *given, trial[chosen], chosen))  # type: ignore[arg-type]
        (one, of_one), (other, of_other) = found
        np.testing.assert_array_equal(of_one, of_other)
        for name in FIELDS:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
        gone.append(of_one)
    assert 0.1 < np.concatenate(gone).mean() < 0.9


@pytest.mark.parametrize("name", core.CORES)
def test_what_is_left_are_the_sums_of_the_other_clusters(name: str) -> None:
    rng = np.random.default_rng(2)
    sums, given = drawn(rng, 4, False, False)
    means, within, varying, slot, sizes, trial = map(np.asarray, given)
    chosen = np.arange(len(trial))
    with core.using(name):
        left, gone = without_clusters(sums, means, within, varying.tolist(), slot, sizes, trial, chosen)
    assert not gone.all()
    for fit in np.flatnonzero(~gone):
        others = (trial == trial[fit]) & (chosen != fit)
        between, pooled = slot_products(
            means[:, others], within[..., others], varying.tolist(), slot[others], np.zeros(others.sum(), int), 4, 1
        )
        np.testing.assert_allclose(left.between[..., fit], between[..., 0], rtol=0, atol=1e-13)
        np.testing.assert_allclose(left.within[:, fit], pooled[:, 0], rtol=0, atol=1e-13)
        assert left.rows[fit] == sizes[others].sum()
        assert left.counts[:, fit].tolist() == [np.sum(slot[others] == s) for s in range(4)]
