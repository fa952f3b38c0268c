"""The joint model of baseline and follow-up: what it fills, how its chain moves, and where it has no posterior."""

import numpy as np
import pytest
from odd_shapes import SHAPES, oddly_shaped
from reference import method
from trials import batch, fit, ragged

from simtrial.estimators.imputation.joint import TwoOutcomes
from simtrial.flags import text
from simtrial.kernels import two_normals_gibbs as kernel
from simtrial.kernels.two_normals_gibbs import InverseWishart
from simtrial.moments.build import moments

Z = 4.0  # two-sided standard errors: a false alarm in 16,000 comparisons


def lacking(seed=8, practices=20, lost=0.2):
    data, rng = ragged(seed, practices=practices), np.random.default_rng(seed)
    for name in ("mansa_followup", "mansa_baseline"):
        data[name] = np.where(rng.random(len(data["arm"])) < lost, np.nan, data[name])
    return data


def imputer(data, **options):
    observed = batch(data)
    mi = method("mi", analysis={"kind": "lmm"}, imputation="joint", **{"adjust": ["mansa_baseline"], **options})
    return observed, mi.engine().fit(mi.incomplete(observed, moments(observed, mi.spec())))


def test_both_columns_are_filled_and_nothing_else_is_touched():
    observed, engine = imputer(lacking(), burn_in=20)
    filled = engine.complete(np.random.default_rng(1))
    for name in ("mansa_baseline", "mansa_followup"):
        before, after = observed.at(name), filled.at(name)
        gone = np.isnan(before)
        assert gone.any()
        assert np.array_equal(before[~gone], after[~gone])
        assert np.isfinite(after).all()


def test_nobody_lacks_an_outcome_and_the_numbers_say_so():
    found = fit(batch(lacking()), method("mi", analysis={"kind": "lmm"}, imputation="joint", adjust=["mansa_baseline"]))
    assert not found.failed[0]
    assert found.n_used[0] == len(lacking()["arm"])
    assert 0.8 < found.extras["rhat"][0] < 1.2


def test_it_models_the_baseline_where_the_analysis_does_not_read_it():
    _, engine = imputer(lacking(), adjust=["age"])
    assert isinstance(engine, TwoOutcomes)
    assert engine.names == ("mansa_baseline", "mansa_followup")


def dense(own, data, state):
    """Sums of people one by one: X, Y with the cells, U."""
    practice = data["practice"]
    y = np.stack([data["mansa_baseline"], data["mansa_followup"]]) - own.center[:, [0]]
    y = y / own.unit[:, [0]]
    y[:, own.rows] = state.cells
    return own.x.design, y, state.effects[0][:, practice]


def test_sums_of_a_sweep_are_those_of_people_one_by_one(monkeypatch):
    """X'D, E'E and U'U, which everything is drawn from, after a few sweeps; covariates of people and of practices."""
    data = lacking()
    _, own = imputer(data, adjust=["mansa_baseline", "age", "list_size"], burn_in=5, thin=1)
    own.complete(np.random.default_rng(1))
    state, seen = own.state, []
    plain = kernel._inverse_wishart

    def kept(squares, *rest):
        seen.append(squares[0])
        return plain(squares, *rest)

    monkeypatch.setattr(kernel, "_inverse_wishart", kept)
    monkeypatch.setattr(kernel, "compiled", lambda: None)
    rng, again = np.random.default_rng(2), np.random.default_rng(2)
    prior = InverseWishart(df=2.0, scale=1.0)
    kernel.one_sweep(own.layout, state, prior, prior, rng)
    x, y, u = dense(own, data, state)
    noise = again.standard_normal((1, len(x), 2))[0] @ np.linalg.cholesky(state.residual[0]).T
    inverse = np.linalg.inv(x @ x.T)
    beta = inverse @ x @ (y - u).T + np.linalg.cholesky(inverse) @ noise
    e = y - u - beta.T @ x
    # sums of a hundred products, in another order
    assert seen[0] == pytest.approx(e @ e.T, rel=1e-10)
    assert seen[1] == pytest.approx(state.effects[0] @ state.effects[0].T, rel=1e-12)


def test_inverse_wishart_draws_have_their_mean_and_their_variances():
    scale, size = np.array([[2.0, 0.7], [0.7, 1.5]]), 40_000
    squares, rows = np.tile(scale - np.eye(2) * 0.5, (size, 1, 1)), np.full(size, 9.0)
    prior, rng = InverseWishart(df=3.0, scale=0.5), np.random.default_rng(4)
    drawn = kernel._inverse_wishart(squares, prior, kernel._for_inverse_wishart(prior.df + rows, rng))
    df = 12.0  # E = S/(df - 3), var of a diagonal 2 s^2/((df - 3)^2 (df - 5))
    for i in range(2):
        for j in range(2):
            own = drawn[:, i, j]
            assert abs(own.mean() - scale[i, j] / (df - 3)) < Z * own.std() / np.sqrt(size)
    spread = (drawn[:, 0, 0] - scale[0, 0] / (df - 3)) ** 2
    assert abs(spread.mean() - 2 * scale[0, 0] ** 2 / ((df - 3) ** 2 * (df - 5))) < Z * spread.std() / np.sqrt(size)


def test_practice_effects_have_the_moments_of_their_conditional():
    data = lacking()
    _, own = imputer(data)
    places, size = own.layout.sizes.shape[2], 20_000
    sigma, psi = np.array([[[0.8, 0.3], [0.3, 0.6]]]), np.array([[[0.2, -0.05], [-0.05, 0.1]]])
    left = np.random.default_rng(1).normal(size=(1, 2, places))
    rng = np.random.default_rng(6)
    normals = (rng.standard_normal(left.shape) for _ in range(size))
    drawn = np.stack([kernel._effects(own.layout, left, sigma, psi, each)[0, :, 3] for each in normals])
    n = own.layout.sizes[0, 0, 3]
    variance = np.linalg.inv(n * np.linalg.inv(sigma[0]) + np.linalg.inv(psi[0]))
    mean = variance @ np.linalg.inv(sigma[0]) @ left[0, :, 3]
    assert (np.abs(drawn.mean(axis=0) - mean) < Z * np.sqrt(np.diag(variance) / size)).all()
    assert np.cov(drawn.T) == pytest.approx(variance, abs=Z * variance.max() * np.sqrt(2 / size))


@pytest.mark.parametrize("shape", [*SHAPES, "untold"])
def test_odd_shapes_end_in_numbers_or_a_status(shape):
    data, adjust = lacking(practices=14), ["mansa_baseline"]
    if shape == "untold":
        data["other"], adjust = 1.0 * np.isnan(data["mansa_followup"]), ["mansa_baseline", "other"]
    else:
        data, adjust = oddly_shaped(data, adjust, shape)
    found = fit(batch(data), method("mi", analysis={"kind": "lmm"}, imputation="joint", adjust=adjust, m=4, burn_in=20))
    assert found.failed[0] == np.isnan(found.std_error[0, 0])
    assert not found.failed[0] or str(found.notes["message"][0])
    assert found.failed[0] == (shape in ("nobody", "collinear", "untold", "one practice an arm"))
    if shape == "untold":
        assert "do not tell the effect of 'other', by which others differ" in str(found.notes["message"][0])


def test_a_chain_that_starts_far_off_and_is_short_can_be_flagged(monkeypatch):
    from simtrial.estimators.imputation import chain

    monkeypatch.setattr(chain, "UNSETTLED", 0.5)
    found = fit(batch(lacking()), method("mi", analysis={"kind": "lmm"}, imputation="joint", adjust=["mansa_baseline"]))
    assert "chain_unsettled" in text(int(found.flags[0]))


def test_more_missing_costs_information():
    few, many = (
        fit(
            batch(lacking(lost=lost)),
            method("mi", analysis={"kind": "lmm"}, imputation="joint", adjust=["mansa_baseline"]),
        )
        for lost in (0.05, 0.4)
    )
    assert few.extras["fmi"][0] < many.extras["fmi"][0]
