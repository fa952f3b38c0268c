"""Tables and draws of the exact imputation, compiled and by numpy, agree; so do whole analyses of imputed trials."""

import numpy as np
import pytest
from cores import needs_compiled

from simtrial import core
from simtrial.estimators import kinds
from simtrial.generate import simulate
from simtrial.kernels import posterior as kernel
from simtrial.kernels.random_intercept_grid import grid_parts
from simtrial.moments.build import moments
from simtrial.moments.rows import Spec
from simtrial.scenario import load
from simtrial.seeding import stream

pytestmark = needs_compiled

DESIGNS = {
    "partners": [],
    "few practices": ["mechanism.practices.number=5", "mechanism.practices.counts=random"],
    "large practices": ["mechanism.practices.cluster_size_mean=90.0"],
    "nothing between": ["mechanism.outcomes.mansa.icc=0.0"],
    "half between": ["mechanism.outcomes.mansa.icc=0.6"],
    "half lost": ["mechanism.dropout.rate=0.5", "mechanism.missingness.baseline=0.2"],
}


def observed(name, trials=30):
    cell = load("partners", DESIGNS[name])[1][0]
    return simulate(cell.scenario.mechanism, trials, 2, "", 0).observed()


@pytest.mark.parametrize("name", DESIGNS)
def test_the_fit_at_a_ratio_agrees(name):
    """Coefficients to 1e-12 of their standard errors; the factor of C^-1 and q relative to themselves."""
    found = moments(observed(name), Spec("mansa_followup", None, ("mansa_baseline", "region", "practice_size")))
    sums = found.size_sums()
    gamma = np.random.default_rng(1).exponential(0.5, len(sums.rows)) ** 2
    gamma[::5] = 0.0
    with core.using("numpy"):
        root, coefficients, rss = kernel.conditional(sums, gamma)
    with core.using("compiled"):
        own = kernel.conditional(sums, gamma)
    errors = np.sqrt((root**2).sum(axis=1) * rss / (sums.rows - sums.rank))
    kept = sums.dropped == 0
    assert np.abs((own[1] - coefficients) / errors)[kept].max() < 1e-12
    assert np.abs(own[0] - root).max() < 1e-12 * np.abs(root).max()
    np.testing.assert_allclose(own[2], rss, rtol=1e-12)


@pytest.mark.parametrize("name", DESIGNS)
def test_the_criterion_on_a_grid_agrees(name):
    sums = moments(observed(name), Spec("mansa_followup", None, ("mansa_baseline", "region"))).size_sums()
    grid = np.array([0.0, 1e-9, 0.01, 0.3, 7.0, 1e6])
    with core.using("numpy"):
        plain = grid_parts(sums, grid)
    with core.using("compiled"):
        own = grid_parts(sums, grid)
    for mine, theirs in zip(plain, own, strict=True):
        np.testing.assert_allclose(theirs, mine, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    "options", [{}, {"prior": "half-cauchy"}, {"prior": "inverse-gamma"}, {"by_arm": True}], ids=str
)
@pytest.mark.parametrize("name", DESIGNS)
def test_imputed_trials_have_the_same_estimates(name, options):
    """Draws are the same numbers; pooled estimates agree to 1e-11 of their standard errors, flags and status exactly.

    Tables of the posterior differ in their last digits, and draws move with them, the more the flatter it is.
    """
    batch = observed(name)
    method = kinds()["mi"].model_validate(
        {
            "name": "mi",
            "response": "mansa",
            "adjust": ["mansa_baseline"],
            "m": 5,
            "analysis": {"kind": "lmm"},
            **options,
        }
    )
    found = {}
    for each in core.CORES:
        with core.using(each):
            found[each] = method.fit(batch, moments(batch, method.spec()), stream(1, "", 0, "mi"))
    plain, own = found["numpy"], found["compiled"]
    assert np.array_equal(plain.flags, own.flags)
    assert np.array_equal(plain.failed, own.failed)
    ok = ~plain.failed
    assert ok.any()
    assert np.abs((plain.estimate - own.estimate) / plain.std_error)[:, ok].max() < 1e-11
    np.testing.assert_allclose(own.std_error[:, ok], plain.std_error[:, ok], rtol=1e-10)


@pytest.mark.parametrize("at", range(8))
@pytest.mark.parametrize(
    "wrong", [None, "text", np.zeros((1, 1)), np.zeros(0), np.zeros((2, 2, 2), np.float32)], ids=str
)
@pytest.mark.parametrize("function", ["grid_parts", "conditional"])
def test_wrong_arguments_are_refused(function, at, wrong):
    sums = moments(observed("few practices", 4), Spec("mansa_followup", None, ("mansa_baseline",))).size_sums()
    p, trials = sums.regressors, len(sums.rows)
    rest = {
        "grid_parts": [np.zeros(3), *np.zeros((3, 3, trials))],
        "conditional": [np.zeros(trials), np.zeros((p, p, trials)), np.zeros((p, trials)), np.zeros(trials)],
    }
    given = [*sums.plain, *rest[function]]
    given[at] = wrong
    if function == "grid_parts" and at == 4 and isinstance(wrong, np.ndarray) and wrong.ndim == 1:
        pytest.skip("a grid of no points has other results")
    with pytest.raises((TypeError, ValueError)):
        getattr(core.compiled(), function)(*given)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300, -1.0])
def test_strange_numbers_end_in_numbers_or_nan(value):
    sums = moments(observed("few practices", 4), Spec("mansa_followup", None, ("mansa_baseline",))).size_sums()
    p, trials = sums.regressors, len(sums.rows)
    for at in range(4):
        given = [values.copy() for values in sums.plain]
        given[at].flat[:] = value
        core.compiled().conditional(
            *given, np.full(trials, value), np.zeros((p, p, trials)), np.zeros((p, trials)), np.zeros(trials)
        )
        core.compiled().grid_parts(*given, np.array([0.0, value]), *np.zeros((3, 2, trials)))
