"""Statistics of re-allocations and of bootstrap samples, compiled and by numpy, agree."""

import numpy as np
import pytest
from cores import needs_compiled

from simtrial import core
from simtrial.estimators import randomisation_test, wild_bootstrap
from simtrial.estimators.wild_bootstrap import Bootstrap

pytestmark = needs_compiled

NOT_WANTED = [None, "text", np.zeros((1, 1)), np.zeros(0), np.zeros((2, 2, 2), np.float16)]


def by_both(work):
    """What some work gives by numpy and compiled."""
    found = []
    for name in core.CORES:
        with core.using(name):
            found.append(work())
    return found


@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("trials", [1, 7])
def test_differences_of_arms_agree(trials, summed):
    """Sums of a few dozen numbers, in another order; who is there, and which schemes are alike, exactly."""
    rng = np.random.default_rng(trials)
    sizes = rng.integers(1, 40, trials)
    starts, clusters = np.concatenate([[0], np.cumsum(sizes)[:-1]]), int(sizes.sum())
    arm, y, a = rng.random((50, clusters)) < 0.4, *rng.standard_normal((2, clusters))
    marks = rng.integers(1, 2**63, clusters, dtype=np.uint64)
    plain, own = by_both(lambda: randomisation_test._difference(arm, y, a, marks, starts, summed))
    for name in ("y", "a"):
        np.testing.assert_allclose(getattr(own, name), getattr(plain, name), rtol=0, atol=1e-12 * np.sqrt(clusters))
    assert np.array_equal(own.there, plain.there)
    assert np.array_equal(own.scheme, plain.scheme)


def samples(rng, draws, trials, positions, columns):
    """Multipliers and scores, with a last position that some trials do not have."""
    drawn = wild_bootstrap.multipliers(rng, (draws, trials, positions), "webb")
    scores, side = (
        rng.standard_normal((trials, 2, positions, columns)),
        0.1 * rng.standard_normal((trials, positions, columns)),
    )
    scores[::2, :, -1], side[::2, -1] = 0.0, 0.0
    return drawn, scores, side


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (19, 3, 5, 2), (70, 2, 39, 8), (33, 9, 12, 4)], ids=str)
def test_refitted_samples_agree(shape):
    """To 1e-12 of the largest sample."""
    drawn, scores, side = samples(np.random.default_rng(shape[0]), *shape)
    parts = wild_bootstrap._refit(drawn, scores, side)
    own = np.empty((5, *drawn.shape[:2]))
    core.compiled().refit(drawn, scores, side, *own)
    for plain, found in zip(parts, own, strict=True):
        np.testing.assert_allclose(found, plain, rtol=0, atol=1e-12 * max(1.0, np.abs(plain).max()))


def test_what_is_only_rounding_is_nothing():
    """Scores that the multipliers leave exactly as they are: the residuals are rounding, and 0."""
    scores = np.full((1, 2, 3, 1), 0.1)
    side = np.full((1, 3, 1), 1 / 3)
    for work in (wild_bootstrap._refit, core.compiled().refit):
        out = np.empty((5, 4, 1))
        drawn = np.ones((4, 1, 3), dtype=np.float32)
        found = (
            work(drawn, scores, side) if work is wild_bootstrap._refit else (work(drawn, scores, side, *out), out)[1]
        )
        assert all((np.asarray(each) == 0.0).all() for each in found[2:])


@pytest.mark.parametrize("equal_tailed", [False, True])
def test_ends_of_intervals_agree(equal_tailed):
    """The same steps of bisection, so the same ends but for rounding; unbounded ones alike."""
    rng = np.random.default_rng(3)
    drawn, scores, side = samples(rng, 99, 30, 8, 3)
    boot = Bootstrap(*(np.array(each) for each in wild_bootstrap._refit(drawn, scores, side)))
    boot.ya[:, :10], boot.aa[:, :10] = 0.0, 0.0  # all practices of an arm alike: effects far out are not rejected
    test = wild_bootstrap.Test(boot, rng.standard_normal(30), rng.exponential(20.0, 30), equal_tailed)
    plain, own = by_both(lambda: test.interval(0.05))
    assert np.isinf(plain).any()
    assert np.array_equal(np.isinf(own), np.isinf(plain))
    bounded = np.isfinite(plain)
    np.testing.assert_allclose(own[bounded], plain[bounded], rtol=1e-9, atol=1e-9)


def arguments(function):
    rng = np.random.default_rng(1)
    if function == "difference":
        there, marks = np.zeros((4, 2), dtype=bool), np.arange(5)
        return [rng.random((4, 5)) < 0.5, *rng.standard_normal((2, 5)), marks, np.array([0, 2]), False,
                *np.zeros((2, 4, 2)), there, np.zeros((4, 2), dtype=int)]  # fmt: skip
    if function == "refit":
        return [*samples(rng, 6, 2, 3, 2), *np.zeros((5, 6, 2))]
    return [*rng.standard_normal((5, 6, 2)), *np.ones((2, 2)), np.zeros((2, 2)), 0.05, False]


@pytest.mark.parametrize("wrong", NOT_WANTED, ids=str)
@pytest.mark.parametrize(
    ("function", "at"),
    [(f, at) for f, count in (("difference", 10), ("refit", 8), ("interval", 9)) for at in range(count)],
)
def test_wrong_arguments_are_refused(function, at, wrong):
    if function == "difference" and at == 5:
        pytest.skip("whatever is true or false")
    given = arguments(function)
    given[at] = wrong
    with pytest.raises((TypeError, ValueError, IndexError)):
        getattr(core.compiled(), function)(*given)


@pytest.mark.parametrize("starts", [[0, 0], [0, 5], [1, 2], [-1, 2], [2, 0]])
def test_starts_that_are_none_are_refused(starts):
    given = arguments("difference")
    given[4] = np.array(starts)
    with pytest.raises((IndexError, ValueError)):
        core.compiled().difference(*given)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e308])
@pytest.mark.parametrize("function", ["difference", "refit", "interval"])
def test_strange_numbers_end_in_numbers_or_nan(function, value):
    for at, each in enumerate(arguments(function)):
        if isinstance(each, np.ndarray) and each.dtype.kind == "f":
            given = arguments(function)
            given[at] = np.full_like(each, min(value, 3e38) if each.dtype == np.float32 else value)
            getattr(core.compiled(), function)(*given)
