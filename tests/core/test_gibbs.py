"""The compiled sweep of the sampler of two outcomes is that of numpy."""

import numpy as np
import pytest
from cores import needs_compiled

from simtrial import core
from simtrial.kernels import two_normals_gibbs as kernel
from simtrial.kernels.two_normals_gibbs import InverseWishart, State
from simtrial.kernels.two_normals_layout import layout

pytestmark = needs_compiled


def chain(rng, trials, places, columns, most, missing):
    """A layout of random trials, some practices empty and one column dropped in some, and where its chain begins."""
    sizes = rng.integers(0, most + 1, (trials, places))
    sizes[:, 0] = np.maximum(sizes[:, 0], 1)
    practice_trial = np.repeat(np.arange(trials), places)
    practice = np.repeat(np.arange(trials * places), sizes.ravel())
    x = rng.standard_normal((columns, len(practice)))
    x[0] = 1.0
    if columns > 2:
        x[1] = rng.standard_normal(trials * places)[practice]
    kept = np.ones((columns, trials))
    if columns > 3:
        kept[-1, ::3] = 0.0
        x[-1, (practice_trial[practice] % 3) == 0] = 0.0
    own = practice_trial[practice]
    gram = np.zeros((columns, columns, trials))
    for i in range(columns):
        for j in range(columns):
            gram[i, j] = np.bincount(own, x[i] * x[j], trials) + (i == j) * (1.0 - kept[i] + 1e-3)
    y = rng.standard_normal((2, len(practice)))
    y[rng.random(y.shape) < missing] = np.nan
    lasting, rows = layout(x, gram, kept, y, practice, practice_trial, np.arange(2, columns))
    covariance = np.broadcast_to(np.array([[1.0, 0.3], [0.3, 0.7]]), (trials, 2, 2)).copy()
    cells = np.where(lasting.missing, rng.standard_normal((2, len(rows))), np.nan_to_num(y[:, rows]))
    return lasting, State(np.zeros_like(lasting.seen_sums), covariance, 0.2 * covariance, cells)


SHAPES = [
    (1, 1, 1, 1, 0.5),
    (3, 1, 2, 6, 0.3),
    (2, 39, 8, 9, 0.2),
    (40, 5, 4, 3, 0.9),
    (5, 12, 3, 4, 0.0),
    (7, 6, 1, 1, 1.0),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_forty_sweeps_agree(shape):
    """From the same random numbers: to 1e-9 of the SDs, as rounding is carried on from sweep to sweep."""
    own, start = chain(np.random.default_rng(shape[0]), *shape)
    residual, between = InverseWishart(df=2.0, scale=1.0), InverseWishart(df=3.0, scale=0.5)
    found = []
    for name in core.CORES:
        state, rng = start, np.random.default_rng(5)
        with core.using(name):
            for _ in range(40):
                state = kernel.one_sweep(own, state, residual, between, rng)
        found.append(state)
    for mine, theirs in zip(vars(found[0]).values(), vars(found[1]).values(), strict=True):
        assert np.isfinite(mine).all()
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-9 * max(1.0, np.abs(mine).max(initial=0.0)))
    assert np.array_equal(found[1].cells[~own.missing], start.cells[~own.missing])


def arguments():
    """Arguments of the compiled kernel."""
    own, state = chain(np.random.default_rng(1), 3, 4, 3, 3, 0.4)
    numbers = kernel.Numbers.drawn(
        own, InverseWishart(df=2.0, scale=1.0), InverseWishart(df=2.0, scale=1.0), np.random.default_rng(2)
    )
    return [
        own.inverse, own.root, own.kept, own.x_means, own.sizes, own.place, own.trial, own.missing, own.varying,
        own.inner, own.seen_inside, own.seen_sums, own.seen_squares, numbers.beta, numbers.residual, numbers.between,
        numbers.effects, *numbers.cells, state.effects, state.residual, state.between, state.cells, 1.0, 1.0,
    ]  # fmt: skip


def spoilt(given, how):
    """An array that is not what the kernel wants."""
    if how == "shape":
        return np.zeros((*given.shape[:-1], given.shape[-1] + 1), dtype=given.dtype)
    if how == "dimensions":
        return np.zeros((2, *given.shape), dtype=given.dtype)
    if how == "type":
        return given.astype(np.complex64)
    if how == "order":
        return np.zeros((*given.shape[:-1], 2 * max(given.shape[-1], 1)), dtype=given.dtype)[..., ::2]
    return None


@pytest.mark.parametrize("how", ["shape", "dimensions", "type", "order", "none"])
@pytest.mark.parametrize("at", range(23))
def test_wrong_arrays_are_refused(at, how):
    given = arguments()
    if how == "order" and given[at].ndim < 2 and given[at].size < 2:
        pytest.skip("one number is always in order")
    given[at] = spoilt(given[at], how)
    with pytest.raises((TypeError, ValueError, IndexError)):
        core.compiled().one_sweep(*given)


@pytest.mark.parametrize(("at", "value"), [(5, -1), (5, 12), (5, 10**12), (6, -1), (6, 3), (8, -1), (8, 3)])
def test_places_outside_are_refused(at, value):
    given = arguments()
    given[at] = given[at].copy()
    given[at][-1] = value
    with pytest.raises((IndexError, ValueError)):
        core.compiled().one_sweep(*given)


def test_nan_anywhere_ends_in_numbers_or_nan():
    for at, each in enumerate(arguments()):
        if isinstance(each, np.ndarray) and each.dtype == float:
            given = arguments()
            given[at] = np.full_like(each, np.nan)
            core.compiled().one_sweep(*given)
