"""Columns, their products and small matrices by either core: the same to the last bit where sums have one order."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from cores import needs_compiled

from simtrial import core
from simtrial.batch import Index
from simtrial.kernels.cluster_basis import Direction, InBases, bases
from simtrial.kernels.imputed_values import Gaps, Practices, imputed_values
from simtrial.kernels.random_intercept_criterion import SizeSums
from simtrial.kernels.random_intercept_grid import XGrids, grid_parts
from simtrial.kernels.ratio_search import compiled_search
from simtrial.kernels.sandwich import Leverage, hats, leverage, leverage_in_bases, variance, variance_in_bases
from simtrial.kernels.slot_sums import gram, slot_products
from simtrial.kernels.small_matrices import remaining, sweep
from simtrial.moments.analysis_set import AnalysisSet, who_stands_where
from simtrial.moments.columns import centred

pytestmark = needs_compiled
EPS = np.finfo(np.float64).eps


def by_both(function, *given, **options):
    """What a function returns with either core."""
    found = []
    for name in core.CORES:
        with core.using(name):
            found.append(function(*given, **options))
    return found


FEW, MANY = (0, 1, 1, 2, 3, 5, 12), (1, 2, 61, 62, 63, 64, 64, 65, 66, 130)
"""Sizes of practices: ordinary ones, and those about the largest that are sorted by their size."""


def people(rng, trials=9, sizes=FEW) -> AnalysisSet:
    """Practices of some sizes, some trials of one practice and one trial without anybody."""
    practices = rng.integers(1, 9, trials)
    trial = np.repeat(np.arange(trials), practices)
    members = rng.choice(sizes, len(trial))
    members[trial == 2] = 0
    index = Index(trials, trial, np.repeat(np.arange(len(trial)), members))
    return AnalysisSet.of(index, rng.random(index.participants) < (0.9 if sizes is FEW else 1.0))


def test_who_stands_where_is_the_same():
    rng = np.random.default_rng(5)
    for trials, share in ((1, 1.0), (9, 0.5), (9, 0.0), (40, 0.97)):
        trial = np.repeat(np.arange(trials), rng.integers(1, 9, trials))
        index = Index(trials, trial, np.sort(rng.integers(0, len(trial), 5 * len(trial))))
        one, other = by_both(who_stands_where, index, rng.random(index.participants) < share)
        assert one.keys() == other.keys()
        for name, values in one.items():
            np.testing.assert_array_equal(values, other[name], err_msg=name, strict=True)


def test_trials_without_anybody():
    """All sums are 0, whatever the number of columns and directions."""
    index = Index(3, np.array([0, 1, 1, 2]), np.array([0, 0, 1, 3]))
    rows, places = AnalysisSet.of(index, np.zeros(4, dtype=bool)), np.empty(0, dtype=np.intp)
    for along in range(3):
        found = [Direction(np.empty(0), np.empty(0)) for _ in range(along)]
        for varies in (places, np.array([0]), np.array([0, 1])):
            products = np.empty((along, len(varies), 0))
            one, other = by_both(bases, np.empty((2, 0)), products, varies, found, rows.sizes, places, 3)
            np.testing.assert_array_equal(one, np.zeros((3, 1 + along, 2)))
            np.testing.assert_array_equal(other, one)
            within, groups = np.empty((len(varies), len(varies), 0)), (rows.cluster_trial, places, 1, 3)
            for total in by_both(gram, np.empty((2, 0)), within, list(varies), rows.sizes, *groups):
                np.testing.assert_array_equal(total, np.zeros((2, 2, 3)))
            for between, pooled in by_both(slot_products, np.empty((2, 0)), within, list(varies), places, places, 1, 3):
                np.testing.assert_array_equal(between, np.zeros((1, 3, 3)))
                np.testing.assert_array_equal(pooled, np.zeros((3, 3)))
    for column in by_both(centred, rows, np.arange(4.0), True, "participant", np.empty((1, 0)), rows.rows):
        assert column.means.shape == (0,)
        assert column.products.shape == (2, 0)
        np.testing.assert_array_equal(column.center, np.zeros(3))
        assert not column.out_of_range.any()


VALUES = {
    "plain": lambda rng, n: rng.normal(4.0, 1.0, n),
    "one number": lambda rng, n: np.full(n, 0.1),
    "rounding about a number": lambda rng, n: 0.1 + 1e-17 * rng.integers(-3, 4, n),
    "whole": lambda rng, n: rng.integers(0, 3, n).astype(float),
    "far from zero": lambda rng, n: 1e9 + rng.normal(0.0, 1e-6, n),
    "too large": lambda rng, n: np.where(rng.random(n) < 0.05, 1e60, rng.normal(size=n)),
    "too small": lambda rng, n: np.full(n, 1e-60),
    "no numbers among them": lambda rng, n: np.where(rng.random(n) < 0.05, np.nan, rng.normal(size=n)),
    "infinite": lambda rng, n: np.where(rng.random(n) < 0.05, -np.inf, rng.normal(size=n)),
}


@pytest.mark.parametrize("measured", [True, False])
@pytest.mark.parametrize("others", [0, 1, 3])
@pytest.mark.parametrize("name", VALUES)
def test_centring_is_the_same_to_the_last_bit(name, others, measured):
    rng = np.random.default_rng(17)
    for turn in range(10):
        rows = people(rng, sizes=MANY) if turn % 2 else people(rng, 9 if turn % 4 else 60)
        values, beside = VALUES[name](rng, len(rows.rows)), rng.normal(size=(others, len(rows.rows)))
        one, other = by_both(centred, rows, values, measured, "participant", beside)
        for field in ("means", "center", "out_of_range", "products"):
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field), err_msg=field)
        np.testing.assert_array_equal(one.inner[0], other.inner[0])


def test_laying_out_and_adding_up_are_the_same_to_the_last_bit():
    rng = np.random.default_rng(3)
    for columns, varying in ((1, [0]), (4, [1, 3]), (5, [])):
        rows = people(rng)
        clusters, trials = len(rows.cluster), rows.index.trials
        for along in range(3):
            found = [Direction(np.empty(0), rng.normal(size=clusters)) for _ in range(along)]
            products, varies = rng.normal(size=(along, len(varying), clusters)), np.array(varying, dtype=np.intp)
            given = rng.normal(size=(columns, clusters)), products, varies, found, rows.sizes, rows.place
            np.testing.assert_array_equal(*by_both(bases, *given, trials * rows.most))
        slot, sizes = rows.slots
        means, inner = rng.normal(size=(columns, clusters)), rng.normal(size=(6, len(varying), clusters))
        within = np.einsum("nic,njc->ijc", inner, inner)
        given = means, within, varying, slot, rows.cluster_trial, len(sizes), trials
        whole = by_both(slot_products, *given)
        for one, other in zip(*whole, strict=True):
            np.testing.assert_array_equal(one, other)
        if columns > 1:  # the last column added to what is there
            old = [v for v in varying if v < columns - 1]
            before = slot_products(means[:-1], within[: len(old), : len(old)], old, *given[3:])
            for added in by_both(slot_products, *given, before):
                for one, other in zip(added, whole[0], strict=True):
                    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("varying", [[], [1, 3], [0, 1, 2, 3]])
@pytest.mark.parametrize("trials", [1, 9, 21])
def test_gram_matrices_agree(trials, varying):
    rng = np.random.default_rng(11)
    rows = people(rng, trials)
    clusters, q = len(rows.cluster), 4
    means, inner = rng.normal(size=(q, clusters)), rng.normal(size=(6, len(varying), clusters))
    within = np.einsum("nic,njc->ijc", inner, inner)
    given = rows.sizes, rows.cluster_trial, rows.place, rows.most, trials
    one, other = by_both(gram, means, within, varying, *given)
    # the sum of the sizes of all terms; a term is rounded three times at most, and a sum of up to 8 once for each
    size = np.array([np.bincount(rows.cluster_trial, row, trials) for row in (rows.sizes * means**2)]) ** 0.5
    size = size[:, None] * size
    for a, i in enumerate(varying):
        for b, j in enumerate(varying):
            size[i, j] += np.bincount(rows.cluster_trial, np.abs(within[a, b]), trials)
    assert (np.abs(one - other) <= 12 * EPS * size).all()
    np.testing.assert_array_equal(one, one.transpose(1, 0, 2))
    np.testing.assert_array_equal(other, other.transpose(1, 0, 2))
    old = [v for v in varying if v < q - 1]
    for name, whole in zip(core.CORES, (one, other), strict=True):  # the last column added to what is there
        with core.using(name):
            before = gram(means[:-1], within[: len(old), : len(old)], old, *given)
            np.testing.assert_array_less(
                np.abs(gram(means, within, varying, *given, before) - whole), 12 * EPS * size + 1e-300
            )


@pytest.mark.parametrize("trials", [1, 3, 4, 21])
@pytest.mark.parametrize(("size", "count"), [(1, 0), (2, 1), (6, 4), (9, 9)])
def test_sweeping_agrees(trials, size, count):
    x = np.random.default_rng(size).normal(size=(60, size, trials))
    (*swept, logs), (*others, other_logs) = by_both(sweep, np.einsum("nir,njr->ijr", x, x), count)
    for first, second in zip(swept, others, strict=True):
        np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(logs, other_logs, rtol=9 * 4 * EPS, atol=9 * 4 * EPS)  # nine logarithms near 4, rounded


@pytest.mark.parametrize("trials", [1, 3, 4, 21])
@pytest.mark.parametrize("size", [1, 2, 7])
def test_what_others_leave_is_the_same_to_the_last_bit(size, trials):
    rng = np.random.default_rng(size)
    x = rng.normal(size=(30, size, trials))
    x[:, -1] = np.where(rng.random(trials) < 0.5, x[:, 0], x[:, -1])  # a copy of another, or not
    x[:, 0] *= rng.random(trials) < 0.8
    total = np.einsum("nir,njr->ijr", x, x)
    one, other = by_both(remaining, total, np.einsum("iir->ir", total))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("k", "p", "responses"), [(1, 1, 1), (2, 7, 2), (3, 4, 3)])
def test_variances_of_scores_agree(k, p, responses):
    rng = np.random.default_rng(k)
    trials, positions = 6, 13
    weights, rows = rng.normal(size=(trials, positions, k)), rng.normal(size=(trials, positions, k, p))
    y, beta = rng.normal(size=(trials, positions, k, responses)), rng.normal(size=(p, responses, trials))
    found = Leverage(weights, np.empty(trials), np.empty(trials, dtype=bool))
    one, other = by_both(variance, found, rows, y, beta)
    scores = np.einsum(
        "tck,tckr->tcr", np.abs(weights), np.abs(y) + np.einsum("tckp,prt->tckr", np.abs(rows), np.abs(beta))
    )
    # a score is a sum of k (p + 1) products of three, and the variance one of 13 products of two scores
    allowed = (2 * (k * (p + 1) + 3) + positions) * EPS * np.einsum("tcr,tcs->rst", scores, scores)
    assert (np.abs(one - other) <= allowed).all()


@pytest.mark.parametrize("correction", ["CR0", "CR2", "CR3"])
@pytest.mark.parametrize("varying", [[], [2], [0]])
def test_sandwiches_of_columns_as_they_stand_are_those_of_columns_laid_out(varying, correction):
    """Trials of one practice and of none, practices where nothing varies, and some that are the whole of a column."""
    rng = np.random.default_rng(6)
    for turn in range(12):
        rows = people(rng, 9 if turn % 2 else 30)
        clusters, trials, p, v = len(rows.cluster), rows.index.trials, 3, len(varying)
        found = tuple(Direction(np.empty(0), np.where(rng.random(clusters) < 0.2, 0.0, 0.4)) for _ in varying)
        products, varies = rng.normal(size=(v, v, clusters)), np.array(varying, dtype=np.int64)
        x = InBases(rows, trials, rng.normal(size=(p, clusters)), products, varies, found)
        y = InBases(
            rows, trials, rng.normal(size=(2, clusters)), rng.normal(size=(v, 2, clusters)), np.arange(2), found
        )
        flat = x.laid_out.reshape(trials, -1, p)
        gram = flat.transpose(0, 2, 1) @ flat + np.eye(p)  # so that all trials have an inverse
        inverse, contrast = np.linalg.inv(gram).transpose(1, 2, 0), rng.normal(size=(p, trials))
        beta = rng.normal(size=(p, 2, trials))
        one, other = by_both(leverage_in_bases, x, inverse, contrast, correction)
        # some forty products and sums round, and so does I - K, whose inverse (CR3 at the worst) moves by 1 / left^2
        rest = np.moveaxis(hats(x.laid_out, inverse)[1], (0, 1), (-2, -1))
        allowed = 40 * EPS / np.linalg.eigvalsh(rest).min() ** 2
        largest = np.abs(other.weights).max(axis=(1, 2), keepdims=True)
        assert (np.abs(one.weights - other.weights) <= allowed * largest).all()
        np.testing.assert_allclose(one.df, other.df, rtol=100 * allowed)  # of sums of fourth powers of weights
        np.testing.assert_array_equal(one.singular, other.singular)
        first, second = by_both(variance_in_bases, one, x, y, beta)
        scores = np.abs(one.weights)[..., None] * (
            np.abs(y.laid_out) + np.einsum("tckp,prt->tckr", np.abs(x.laid_out), np.abs(beta))
        )
        squares = scores.sum(axis=2).transpose(0, 2, 1) @ scores.sum(axis=2)
        assert (np.abs(first - second) <= 40 * EPS * squares.transpose(1, 2, 0)).all()
        with core.using("compiled"):
            dense = leverage(x.laid_out, inverse, contrast, correction)
        assert (np.abs(dense.weights - other.weights) <= allowed * largest).all()


@pytest.mark.parametrize(("trials", "slots"), [(13, 5), (13, 1), (1, 5), (1, 1)])
def test_sums_of_some_trials_are_theirs_in_any_order_of_memory(trials, slots):
    """Those of the compiled kernels stand together by trial, and stay so; kernels take all of them."""
    sums = random_sums(np.random.default_rng(9), trials, True, slots)
    some, grid = np.array([trials - 1, 0, 0]), np.array([0.0, 0.5])
    with core.using("compiled"):
        expected = grid_parts(sums, grid)
    for order in itertools.permutations(range(3)):
        moved = np.ascontiguousarray(sums.between.transpose(order)).transpose(np.argsort(order))
        own = replace(sums, between=moved)
        taken = own.take(some)
        np.testing.assert_array_equal(taken.between, sums.between[:, :, some])
        np.testing.assert_array_equal(
            taken.plain[2], sums.between[:, :, some].transpose(2, 0, 1).reshape(3 * slots, -1)
        )
        with core.using("compiled"):
            np.testing.assert_array_equal(grid_parts(own, grid), expected)
            np.testing.assert_array_equal(grid_parts(taken, grid), np.asarray(expected)[..., some])
    together = replace(sums, between=np.ascontiguousarray(sums.between.transpose(2, 0, 1)).transpose(1, 2, 0))
    assert np.shares_memory(together.plain[2], together.between)


def test_sums_over_the_clusters_of_a_trial():
    rng = np.random.default_rng(2)
    for trials in (1, 9, 40):
        rows = people(rng, trials)
        values = rng.integers(-9, 9, len(rows.cluster)) / 8.0  # whose sums are exact in any order
        expected = np.bincount(rows.cluster_trial, weights=values, minlength=trials)
        np.testing.assert_array_equal(rows.by_trial(values), expected)
        np.testing.assert_array_equal(
            rows.by_trial(values > 0), np.bincount(rows.cluster_trial[values > 0], minlength=trials)
        )
    nobody = AnalysisSet.of(rows.index, np.zeros(rows.index.participants, dtype=bool))
    np.testing.assert_array_equal(nobody.by_trial(np.empty(0)), np.zeros(40))


def random_sums(rng, trials: int, by_trial: bool, slots: int = 5) -> SizeSums:
    """Sums of two columns and a response, where every trial has its own sizes or all have the same."""
    q = 3
    z = rng.normal(size=(slots, 4, q, trials))
    z[:, :, 0] = 1.0
    between = np.einsum("snir,snjr->sijr", z, z)
    rows, columns = np.tril_indices(q)[::-1]
    inner = rng.normal(size=(20, q, trials)) * np.array([0.0, 1.0, 1.0])[:, None]
    within = np.einsum("nir,njr->ijr", inner, inner)
    sizes = rng.integers(1, 9, (slots, trials)) if by_trial else np.arange(1, slots + 1)[:, None]
    counts = np.full((slots, trials), 4.0)
    return SizeSums(
        sizes=sizes.astype(float), counts=counts, between=between[:, rows, columns], within=within[rows, columns],
        regressors=q - 1, rows=(counts * sizes).sum(axis=0) + 20.0, rank=np.full(trials, 2.0),
        dropped=np.zeros((q - 1, trials)),
    )  # fmt: skip


@pytest.mark.parametrize("by_trial", [False, True])
def test_logarithms_are_right_to_the_last_places(by_trial):
    sums, grid = random_sums(np.random.default_rng(8), 21, by_trial), np.array([0.0, 1e-9, 0.3, 50.0, 1e14])
    with core.using("compiled"):
        _, logs, log_determinant = grid_parts(sums, grid)
    n = np.broadcast_to(sums.sizes, sums.counts.shape).astype(np.longdouble)
    exact = (sums.counts * np.log1p(n * grid.astype(np.longdouble)[:, None, None])).sum(axis=1)
    # each 1 + n gamma is rounded, and its logarithm right to two units of the last place
    allowed = EPS * (sums.counts.sum(axis=0) + 4.0 * exact + 1e-300)
    assert (np.abs(logs - exact) <= allowed).all()
    with core.using("numpy"):
        pivots = grid_parts(sums, grid)[2]
    # two pivots, each a difference that leaves 1e-3 of what it is taken from at the least
    np.testing.assert_allclose(log_determinant, pivots, rtol=4e3 * EPS, atol=4e3 * EPS)


@pytest.mark.parametrize("by_trial", [False, True])
def test_what_is_kept_of_x_changes_no_bit(by_trial):
    rng = np.random.default_rng(2)
    sums, kept = random_sums(rng, 22, by_trial), XGrids()
    nu = sums.rows - sums.rank
    with core.using("compiled"):
        fresh = compiled_search(sums, nu, True)
        for _ in range(2):  # the first keeps, the second reads
            again = compiled_search(sums, nu, True, kept)
            np.testing.assert_array_equal(again.optimum.gamma, fresh.optimum.gamma)
            np.testing.assert_array_equal(again.at.value, fresh.at.value)
            np.testing.assert_array_equal(again.at_zero, fresh.at_zero)
    assert len(kept.compiled) == 1


def test_values_of_people_to_be_imputed_agree():
    rng = np.random.default_rng(4)
    trials, practices, people, p = 5, 17, 60, 3
    trial = np.sort(rng.integers(0, trials, practices))
    place = rng.integers(0, practices, people)
    own = Practices(trial, np.where(rng.random(practices) < 0.2, 0.0, 4.0), rng.normal(size=(p + 1, practices)))
    gaps = Gaps(place, trial[place], rng.normal(size=people))
    gamma, sigma2 = np.array([0.0, 1e-9, 0.2, 5.0, 1e6]), np.array([0.0, 1.0, 2.0, 0.5, 1e-6])
    given = rng.normal(size=(p, people)), gamma, sigma2, rng.normal(size=(p, trials)), rng.normal(size=practices)
    one, other = by_both(imputed_values, own, gaps, *given, rng.normal(size=people))
    # sums of some ten products of numbers near 1, of which beta, means and effects may be a hundred times as large
    np.testing.assert_allclose(one, other, rtol=1000 * EPS, atol=1000 * EPS)
