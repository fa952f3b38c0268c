"""Logistic regression in batches: against a maximiser, and where data are separated against linear programming."""

import numpy as np
import pytest
from scipy.optimize import linprog, minimize

from simtrial.kernels import logistic


def drawn(seed, groups=60, kinds=("normal", "binary", "binary")):
    """Small groups, of which many are separated, some by one column and some by several together."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(6, 40, groups)
    group = np.repeat(np.arange(groups), sizes)
    columns = [np.ones(len(group))]
    for kind in kinds:
        columns.append(rng.normal(size=len(group)) if kind == "normal" else (rng.random(len(group)) < 0.3) * 1.0)
    x = np.array(columns)
    slope = rng.normal(0, 2.5, (len(x), groups))
    happened = rng.random(len(group)) < 1 / (1 + np.exp(-(x * slope[:, group]).sum(axis=0)))
    shuffled = rng.permutation(len(group))  # rows of a group need not stand together
    return x[:, shuffled], happened[shuffled], group[shuffled], groups


def certain_rows(x, happened):
    """Rows that some direction separates: the most rows with s z'd > 0 where all have s z'd >= 0."""
    sign = np.where(happened, 1.0, -1.0)
    q, n = x.shape
    cost = np.concatenate([np.zeros(q), -np.ones(n)])
    rows = np.hstack([-(sign * x).T, np.eye(n)])
    found = linprog(cost, A_ub=rows, b_ub=np.zeros(n), bounds=[(None, None)] * q + [(0, 1)] * n, method="highs")
    assert found.status == 0
    return found.x[q:] > 1e-6


def limit(x, happened):
    """Probabilities in the limit of the likelihood: 0 and 1 for certain rows, a maximum for the others."""
    certain = certain_rows(x, happened)
    probability = happened * 1.0
    rest = ~certain
    if rest.any():
        basis = np.linalg.svd(x[:, rest].T, full_matrices=False)
        own = basis[0][:, basis[1] > 1e-9 * basis[1][0]]
        sign = np.where(happened[rest], 1.0, -1.0)
        beta = minimize(lambda b: np.logaddexp(0, -sign * (own @ b)).sum(), np.zeros(own.shape[1])).x
        for _ in range(30):
            p = 1 / (1 + np.exp(-own @ beta))
            beta = beta + np.linalg.solve((own.T * (p * (1 - p))) @ own, own.T @ (happened[rest] - p))
        probability[rest] = 1 / (1 + np.exp(-own @ beta))
    return probability, certain


@pytest.mark.parametrize("seed", range(6))
def test_probabilities_are_those_of_the_limit_in_every_group(seed):
    x, happened, group, groups = drawn(seed)
    found = logistic.fit(x, happened, group, groups)
    assert found.converged.all()
    separated = 0
    for g in range(groups):
        rows = group == g
        probability, certain = limit(x[:, rows], happened[rows])
        both = 0 < happened[rows].sum() < rows.sum()
        assert found.separated[g] == (both and certain.any())
        assert found.certain[rows][certain].all()
        # others count as certain only where a maximum, which separated ones beside them delay, is as good as certain
        rest = found.certain[rows] & ~certain
        assert np.abs(probability - happened[rows])[rest] == pytest.approx(0.0, abs=1e-6)
        separated += found.separated[g]
        assert found.probability[rows] == pytest.approx(probability, abs=2e-6)
    assert 5 < separated < groups - 5


def test_the_inverse_information_is_that_of_those_who_are_not_certain():
    x, happened, group, groups = drawn(9)
    found = logistic.fit(x, happened, group, groups)
    for g in range(groups):
        rows = (group == g) & ~found.certain
        kept = np.einsum("iig->ig", found.inverse)[:, g] > 0
        if not rows.any():
            assert not found.inverse[:, :, g].any()
            continue
        p, z = found.probability[rows], x[:, rows][kept]
        inverse = np.linalg.inv((z * (p * (1 - p))) @ z.T)
        assert found.inverse[np.ix_(kept, kept, [g])][..., 0] == pytest.approx(inverse, rel=1e-6)
        assert np.abs(z @ (happened[rows] - p)).max() < 1e-6  # the score is 0


def test_groups_do_not_know_of_each_other():
    x, happened, group, groups = drawn(3)
    together = logistic.fit(x, happened, group, groups)
    for g in range(groups):
        rows = group == g
        alone = logistic.fit(x[:, rows], happened[rows], np.zeros(rows.sum(), dtype=int), 1)
        assert together.probability[rows] == pytest.approx(alone.probability, rel=1e-12)
        assert together.separated[g] == alone.separated[0]


def test_a_column_twice_is_dropped():
    x, happened, group, groups = drawn(4)
    twice = np.vstack([x, 2 * x[1] - 3])
    one, two = (logistic.fit(each, happened, group, groups) for each in (x, twice))
    assert two.probability == pytest.approx(one.probability, abs=1e-9)


@pytest.mark.parametrize("value", [True, False])
def test_where_everybody_is_alike_nothing_is_fitted_and_nothing_separated(value):
    found = logistic.fit(np.ones((1, 5)), np.full(5, value), np.zeros(5, dtype=int), 2)
    assert found.probability.tolist() == [float(value)] * 5
    assert found.converged.all()
    assert not found.separated.any()
    assert not found.inverse.any()


def test_a_large_group_and_a_covariate_that_nearly_separates():
    rng = np.random.default_rng(1)
    x = np.array([np.ones(20_000), rng.normal(size=20_000)])
    happened = rng.random(20_000) < 1 / (1 + np.exp(-8 * x[1]))
    found = logistic.fit(x, happened, np.zeros(20_000, dtype=int), 1)
    assert not found.separated[0]
    assert found.coefficients[1, 0] == pytest.approx(8, abs=4 * np.sqrt(found.inverse[1, 1, 0]))


def test_steps_that_leave_nothing_to_gain_are_no_maximum():
    """Three columns tell seven people apart, and after few steps the likelihood is 1 to the last digit."""
    x = np.ones((4, 7))
    x[1] = np.where([0, 1, 0, 1, 1, 0, 1], 0.8660254037844387, -1.1547005383792515)
    x[2, :4] = [-0.4192309925586534, -0.8825915632813757, 0.9708507196095133, 1.588664813906476]
    x[2, 4:] = [-1.5004056575783389, -0.26477746898441273, 0.507490148886791]
    x[3] = np.where(np.arange(7) == 0, 2.449489742783178, -0.40824829046386313)
    happened = np.array([True, True, True, True, False, False, True])
    assert certain_rows(x, happened).all()
    found = logistic.fit(x, happened, np.zeros(7, dtype=int), 1)
    assert found.separated[0]
    assert found.certain.all()
    assert not found.inverse.any()
