"""A combination of covariates that lie next to each other is found, and they are not taken for one themselves."""

import numpy as np
import pytest
from reference import method
from trials import batch, fit, ragged

from simtrial.flags import text
from simtrial.kernels.small_matrices import independent_columns

APART = (1e-2, 1e-3, 3e-4, 1e-4, 3e-5)  # of their length; 1e-5 is where two covariates count as one


def trial(seed: int, apart: float, *, exact: bool) -> dict:
    """Two covariates that differ by ``apart``, and a third: their exact combination, or one that differs by 1e-3."""
    data = ragged(seed, practices=14, most=9)
    rng = np.random.default_rng(seed)
    people = len(data["arm"])
    data["one"] = rng.normal(size=people)
    data["two"] = data["one"] + apart * rng.normal(size=people)
    a, b = rng.normal(size=2)
    data["three"] = a * data["one"] + b * data["two"] + (0.0 if exact else 1e-3) * rng.normal(size=people)
    return data


@pytest.mark.parametrize("kind", ["ols", "lmm", "gee"])
@pytest.mark.parametrize("apart", APART)
def test_an_exact_combination_is_dropped_and_flagged(kind: str, apart: float) -> None:
    for seed in range(12):
        data = trial(seed, apart, exact=True)
        with_it = fit(batch(data), method(kind, adjust=["one", "two", "three"]))
        without = fit(batch(data), method(kind, adjust=["one", "two"]))
        assert "aliased" in text(int(with_it.flags[0])), seed
        # coefficients of columns this close have a relative error of eps / apart^2 in cross-products
        rounding = 1e-12 + 20 * np.finfo(float).eps / apart**2
        assert abs(with_it.estimate[0, 0] - without.estimate[0, 0]) <= rounding * without.std_error[0, 0]
        assert with_it.std_error[0, 0] == pytest.approx(without.std_error[0, 0], rel=rounding)
        assert with_it.df[0, 0] == pytest.approx(without.df[0, 0], rel=rounding)


@pytest.mark.parametrize("apart", APART)
def test_what_differs_is_kept(apart: float) -> None:
    for seed in range(12):
        found = fit(batch(trial(seed, apart, exact=False)), method("ols", adjust=["one", "two", "three"]))
        assert text(int(found.flags[0])) == "", seed


def test_the_order_decides_and_a_batch_does_not_matter() -> None:
    every = [trial(seed, 1e-4, exact=bool(seed % 2)) for seed in range(6)]
    joined = {name: np.concatenate([own[name] for own in every]) for name in every[0]}
    joined["trial"] = np.repeat(np.arange(6), [len(own["arm"]) for own in every])
    together = fit(batch(joined), method("ols", adjust=["three", "two", "one"]))
    assert [text(int(f)) for f in together.flags] == ["", "aliased"] * 3


def test_columns_are_judged_as_numpy_judges_their_rank() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        rows, wanted = int(rng.integers(6, 40)), int(rng.integers(1, 6))
        basis = rng.normal(size=(wanted, rows))
        columns = rng.normal(size=(6, wanted)) @ basis
        columns[rng.random(6) < 0.2] = 0.0
        assert independent_columns(columns).sum() == np.linalg.matrix_rank(columns, tol=1e-9)
