"""Known mistakes: the mean, or the baseline, in place of a missing outcome, and a single imputation. By closed forms.

1,000 trials of 20 practices an arm, ten people, effect 1, baseline mean -0.5; outcomes are missing completely at
random, 14% in control and 30% in intervention. Differences from the expectation, given who is observed, are judged by
their Monte Carlo standard errors: 4 of them, a false alarm in 16,000.
"""

from functools import cache

import numpy as np
import pytest
from imputed_variance import fixed_effects, single_level
from pydantic import ValidationError
from reference import method
from trials import batch, fit, ragged

from simtrial.kernels.rubin import pool

TRIALS, K, N, ICC, EFFECT, BEFORE, Z = 1000, 20, 10, 0.05, 1.0, -0.5, 4.0
LOST = np.array([0.14, 0.30])


@cache
def incomplete():
    """Trials with gaps, and how many are observed in every practice (trials, arms, practices)."""
    rng, shape = np.random.default_rng(4), (TRIALS, 2, K, N)
    trial, arm, practice, _ = np.indices(shape)
    y = EFFECT * arm + np.sqrt(ICC) * rng.standard_normal(shape[:3])[..., None]
    y += np.sqrt(1 - ICC) * rng.standard_normal(shape)
    gone = rng.random(shape) < LOST[None, :, None, None]
    while (empty := gone.all(axis=3)).any():
        gone[empty] = rng.random((empty.sum(), N)) < 0.3
    columns = {
        "trial": trial.ravel(), "arm": arm.ravel().astype(float), "practice": (practice + K * arm).ravel(),
        "mansa_baseline": BEFORE + rng.standard_normal(y.size), "mansa_followup": np.where(gone, np.nan, y).ravel(),
    }  # fmt: skip
    return batch(columns), (~gone).sum(axis=3)


@cache
def fitted(engine, by_arm=False, se="classical"):
    mi = method(
        "mi", imputation=engine, m=1, adjust=[], by_arm=by_arm, analysis={"kind": "ols", "se": se, "df": "residual"}
    )
    found = fit(incomplete()[0], mi)
    assert not found.failed.any()
    return found


def z(values):
    """Mean in standard errors."""
    return abs(values.mean()) / (values.std(ddof=1) / np.sqrt(len(values)))


def observed():
    """Share observed in each arm (trials, 2)."""
    return incomplete()[1].sum(axis=2) / (K * N)


def test_the_mean_of_all_pulls_the_effect_towards_none():
    q = observed()
    expected = EFFECT * 2 * q[:, 0] * q[:, 1] / q.sum(axis=1)  # the harmonic mean of the shares
    assert z(fitted("mean").estimate[0] - expected) < Z
    assert z(fitted("mean").estimate[0] - EFFECT) > 10 * Z


def test_the_mean_of_the_arm_is_unbiased_and_far_too_narrow():
    found, q = fitted("mean", by_arm=True), observed()
    seen = incomplete()[1]
    assert z(found.estimate[0] - EFFECT) < Z
    # the sum of squares of those observed, over everybody
    total = seen.sum(axis=2)
    own = (ICC * (seen**2).sum(axis=2) + (1 - ICC) * total) / total**2  # variance of the mean of an arm
    squares = (total * (1 - own)).sum(axis=1)
    assert z(found.std_error[0] ** 2 - squares / (2 * K * N - 2) * 2 / (K * N)) < Z
    true = own.sum(axis=1)
    assert z((found.estimate[0] - EFFECT) ** 2 - true) < Z
    assert (found.std_error[0] ** 2).mean() < q.mean() ** 2 * true.mean()  # the share observed, squared, were the ICC 0


def test_the_baseline_carried_forward_takes_the_lost_for_unchanged():
    q = observed()
    expected = q[:, 1] * EFFECT + (1 - q[:, 1]) * BEFORE - (1 - q[:, 0]) * BEFORE
    assert z(fitted("baseline").estimate[0] - expected) < Z
    assert z(fitted("baseline").estimate[0] - EFFECT) > 10 * Z


def test_the_baseline_itself_is_carried_and_without_one_nobody_is_imputed():
    data = ragged(3, 20)
    gone = np.random.default_rng(3).random(len(data["arm"])) < 0.3
    blank = gone & (np.random.default_rng(4).random(len(gone)) < 0.3)
    data = {**data, "mansa_followup": np.where(gone, np.nan, data["mansa_followup"])}
    data["mansa_baseline"] = np.where(blank, np.nan, data["mansa_baseline"])
    carried = {**data, "mansa_followup": np.where(gone, data["mansa_baseline"], data["mansa_followup"])}
    for adjust in ([], ["age"]):
        mi = method("mi", imputation="baseline", m=1, adjust=adjust, analysis={"kind": "lmm"})
        assert "mansa_baseline" in mi.reads()
        found, complete = fit(batch(data), mi), fit(batch(carried), mi.analysis)
        for name in ("estimate", "std_error", "df", "p_value", "n_used"):
            assert np.array_equal(getattr(found, name), getattr(complete, name))
        assert found.n_used[0] == (~blank).sum()


@pytest.mark.parametrize(("engine", "form"), [("single-level", single_level), ("fixed-effects", fixed_effects)])
def test_one_imputation_leaves_out_the_variance_between_imputations(engine, form):
    mi = method("mi", imputation=engine, m=1, adjust=[], analysis={"kind": "cluster-means"})
    found = fit(incomplete()[0], mi)
    within, between, true = form(incomplete()[1], N, ICC, 1 - ICC)
    assert z(found.std_error[0] ** 2 - within) < Z
    assert z((found.estimate[0] - EFFECT) ** 2 - true - between) < Z
    assert np.isnan(found.extras["fmi"]).all()
    assert (found.df[0] == 2 * K - 2).all()


def test_a_single_imputation_is_taken_for_complete_data():
    one = pool(np.array([[0.3]]), np.array([[0.04]]), np.array([12.0]))
    assert (one.estimate[0], one.variance[0], one.df[0]) == (0.3, 0.04, 12.0)
    assert np.isinf(pool(np.array([[0.3]]), np.array([[0.04]]), np.array([12.0]), "rubin").df[0])
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        method("mi", m=0, analysis={"kind": "lmm"})


def test_nobody_observed_in_a_trial_ends_in_a_status():
    data = ragged(3, 20)
    data = {**data, "mansa_followup": np.full(len(data["arm"]), np.nan)}
    for engine in ("mean", "baseline"):
        found = fit(batch(data), method("mi", imputation=engine, m=1, adjust=[], analysis={"kind": "ols"}))
        assert found.failed[0]
        assert "is blank throughout both arms" in str(found.notes["message"][0])
