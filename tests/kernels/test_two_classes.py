"""The likelihood of two classes with a shared practice effect, by dense integration and by differences."""

import numpy as np
import pytest

from simtrial.kernels.two_classes import People, point

V = np.linspace(-9, 9, 6001)
P = 3  # coefficients of the outcome
AT = np.array([1.0, 0.2, 0.4, 0.5, np.log(0.9), 0.3, 0.5])


def people(known, seed=5, trials=3, most=7, apart=1.2):
    """People of six practices in every trial."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, most, 6 * trials)
    practice = np.repeat(np.arange(len(sizes)), sizes)
    n, x = len(practice), rng.normal(size=len(practice))
    one, other = np.zeros((2, n, P))
    one[:, 0] = other[:, 1] = 1.0
    one[:, 2] = other[:, 2] = x
    c = (rng.random(n) < 0.6) * 1.0
    y = rng.normal(size=n) + apart * c + 0.5 * x + 0.4 * rng.normal(size=len(sizes))[practice]
    trial = np.repeat(np.arange(trials), 6)
    return People(
        outcome=y, first=one, other=other, predictors=np.column_stack([np.ones(n), x]), in_first=c if known else None,
        trial=trial[practice], practice=practice, practice_trial=trial, sizes=sizes.astype(float),
    )  # fmt: skip


def dense(made, at):
    """Sum over practices of the log of a trapezoid sum over 6,001 points of v."""
    total = np.zeros(len(at))
    for j, trial in enumerate(made.practice_trial):
        rows, b = made.practice == j, at[trial]
        prior = 1 / (1 + np.exp(-made.predictors[rows] @ b[P + 2 :]))
        sigma = np.exp(b[P + 1])

        def density(mean, rows=rows, b=b, sigma=sigma):
            left = (made.outcome[rows] - mean)[:, None] - b[P] * V
            return np.exp(-0.5 * left**2 / sigma**2) / sigma / np.sqrt(2 * np.pi)

        first = prior[:, None] * density(made.first[rows] @ b[:P])
        other = (1 - prior)[:, None] * density(made.other[rows] @ b[:P])
        given = first + other
        if made.in_first is not None:
            given = np.where(made.in_first[rows][:, None] == 1, first, other)
        values = given.prod(axis=0) * np.exp(-0.5 * V**2) / np.sqrt(2 * np.pi)
        total[trial] += np.log(values.sum() * (V[1] - V[0]))
    return total


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("apart", [0.0, 1.2, 4.0])
def test_likelihood_by_dense_integration(known, apart):
    """To 1e-9 with 15 nodes; with classes four SDs apart in practices of six, to 1e-5."""
    made = people(known, apart=apart)
    at = np.tile(AT, (3, 1))
    at[:, 0] = 0.2 + apart
    error = np.abs(point(made, at, 15).loglik - dense(made, at)).max()
    assert error < (1e-5 if apart == 4.0 and not known else 1e-9)
    assert np.abs(point(made, at, 61).loglik - dense(made, at)).max() < 1e-9


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("tau", [0.0, 0.5])
def test_score_and_information_by_differences(known, tau):
    made = people(known)
    at = np.tile(AT, (3, 1)) + 0.05 * np.random.default_rng(1).normal(size=(3, len(AT)))
    at[:, P] = tau
    here = point(made, at, 31)
    for k in range(len(AT)):
        step = np.zeros(len(AT))
        step[k] = 1e-5
        up, down = point(made, at + step, 31), point(made, at - step, 31)
        assert here.score[:, k] == pytest.approx((up.loglik - down.loglik) / 2e-5, abs=1e-7)
        slope = -(up.score - down.score) / 2e-5
        np.testing.assert_allclose((here.complete - here.missing)[:, k], slope, atol=1e-7)


def test_without_a_practice_effect_it_is_even_in_its_sd():
    made = people(False)
    at = np.tile(AT, (3, 1))
    mirrored = at.copy()
    mirrored[:, P] *= -1
    one, other = point(made, at, 15), point(made, mirrored, 15)
    assert one.loglik == pytest.approx(other.loglik, rel=1e-13)
    at[:, P] = 0.0
    assert np.abs(point(made, at, 15).score[:, P]).max() < 1e-12


def test_some_of_the_trials_are_these_trials():
    made, at = people(False, trials=4), np.tile(AT, (4, 1))
    whole, part = point(made, at, 15), point(made.take(np.array([1, 3])), at[:2], 15)
    for name in ("loglik", "score", "complete", "missing"):
        np.testing.assert_allclose(getattr(part, name), getattr(whole, name)[[1, 3]], rtol=1e-12)
