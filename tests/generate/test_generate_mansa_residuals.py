"""Residuals of MANSA: their shapes, the variances of either arm, and how practices carry over from baseline."""

from math import sqrt
from typing import Any

import numpy as np
import pytest
from simulated import CONTINUOUS, assert_mean, assert_pair_mean, assert_person_mean, draw, drawn_by, partners

from simtrial.batch import TrialBatch
from simtrial.generate.distributions.shapes import Shape, shaped, skewed_quantiles, t_quantiles
from simtrial.generate.distributions.tables import record
from simtrial.generate.outcomes.residuals import implied

WITHIN = 0.701 * sqrt(1 - 0.18)
BETWEEN = 0.701 * sqrt(0.18)


def exact(trials: int = 1000, baseline: dict[str, Any] | None = None, **options: Any) -> TrialBatch:
    """Draw trials whose scores are neither rounded nor clipped."""
    changes = {"baseline": {**CONTINUOUS, **(baseline or {})}, "outcomes.mansa": {**CONTINUOUS, **options}}
    return draw(changes, trials, seed=4)


def left(batch: TrialBatch, arm: str = "control") -> np.ndarray:
    """Deviation of a potential outcome from mean + slope (baseline - 4.31) (participants,)."""
    return batch.at(f"mansa_if_{arm}") - (4.53 + 0.615 * (batch.at("mansa_baseline") - 4.31))


def individual(batch: TrialBatch) -> np.ndarray:
    """Individual residuals in control, variance 1 (participants,)."""
    return (left(batch) - batch.at("practice_effect")) / WITHIN


@pytest.mark.parametrize(
    ("table", "skewness", "excess"),
    [
        (t_quantiles(10.0), 0.0, 1.0),
        (t_quantiles(30.0), 0.0, 6 / 26),
        (skewed_quantiles(1.0), 1.0, 1.5),
        (skewed_quantiles(-2.0), -2.0, 6.0),
        (skewed_quantiles(5.0), 5.0, 37.5),
    ],
)
def test_moments_of_the_shapes_by_quadrature(table: Any, skewness: float, excess: float) -> None:
    """Excess kurtosis: 6/(df - 4) for t, 1.5 skewness^2 for a gamma."""
    scores, values = table
    weight = np.exp(-0.5 * scores**2)
    moment = [float(weight @ values**k / weight.sum()) for k in (1, 2, 3, 4)]
    assert moment[0] == pytest.approx(0, abs=1e-6)
    assert moment[1] == pytest.approx(1, abs=1e-4)
    assert moment[2] == pytest.approx(skewness, abs=1e-3 + 1e-3 * abs(skewness))
    assert moment[3] == pytest.approx(3 + excess, rel=2e-3)


@pytest.mark.parametrize("df", [2.5, 3.0, 5.0])
def test_heavy_tails_keep_the_variance(df: float) -> None:
    """E X^2 = 1; beyond scores of 8 lies p = 6e-16 on either side, with p^(1 - 2/df) of the variance or so."""
    scores, values = t_quantiles(df)
    density = np.exp(-0.5 * scores**2) / sqrt(2 * np.pi)
    variance = float(np.trapezoid(density * values**2, scores))
    assert variance == pytest.approx(1, abs=3 * (6e-16) ** (1 - 2 / df) + 1e-6)


def test_quantiles_are_those_of_scipy() -> None:
    from scipy import stats

    z = np.array([-3.0, -0.7, 0.0, 0.3, 2.0, 4.0])
    p = stats.norm.cdf(z)
    assert np.allclose(shaped(z, "t", 5.0, 1.0), stats.t.ppf(p, 5) * sqrt(3 / 5), atol=1e-5)
    assert np.allclose(shaped(z, "skewed", 5.0, 1.5), stats.pearson3.ppf(p, 1.5), atol=1e-5)
    assert np.allclose(shaped(z, "skewed", 5.0, -1.5), stats.pearson3.ppf(p, -1.5), atol=1e-5)
    assert shaped(z, "normal", 5.0, 1.0) is z


@pytest.mark.parametrize(
    ("options", "third", "fourth"),
    [
        ({"residuals": "t", "residual_df": 12.0}, 0.0, 3 + 6 / 8),
        ({"residuals": "skewed", "residual_skewness": -1.2}, -1.2, 3 + 1.5 * 1.2**2),
    ],
)
def test_individual_residuals_have_the_shape_and_the_sd_stated(
    options: dict[str, Any], third: float, fourth: float
) -> None:
    batch = exact(trials=2500, **options)
    own = individual(batch)
    assert_person_mean(own, batch.index, 0.0, sharp=0.01)
    assert_person_mean(own**2, batch.index, 1.0, sharp=0.02)
    assert_person_mean(own**3, batch.index, third, sharp=0.1)
    assert_person_mean(own**4, batch.index, fourth, sharp=0.4)
    assert_pair_mean(left(batch), batch.index, BETWEEN**2, sharp=0.006)


@pytest.mark.parametrize(
    ("options", "third", "fourth"),
    [
        ({"practice_effects": "t", "practice_df": 12.0}, 0.0, 3 + 6 / 8),
        ({"practice_effects": "skewed", "practice_skewness": 1.0}, 1.0, 4.5),
    ],
)
def test_practice_effects_have_the_shape_and_the_icc_stated(
    options: dict[str, Any], third: float, fourth: float
) -> None:
    batch = exact(trials=5000, **options)
    u = batch.at("practice_effect", "practice") / BETWEEN
    assert_mean(u, 0.0, sharp=0.02)
    assert_mean(u**2, 1.0, sharp=0.03)
    assert_mean(u**3, third, sharp=0.15)
    assert_mean(u**4, fourth, sharp=0.5)


@pytest.mark.parametrize("shape", ["t", "skewed"])
def test_a_shape_keeps_the_ranks_of_the_normal_draws(shape: Shape) -> None:
    """The same normals are used, so that scenarios of different shape are compared on the same trials."""
    plain, other = individual(exact(trials=5)), individual(exact(trials=5, residuals=shape))
    assert np.array_equal(np.argsort(plain), np.argsort(other))


def test_shapes_at_baseline_leave_mean_sd_and_icc() -> None:
    baseline = {"residuals": "skewed", "residual_skewness": 1.0, "practice_effects": "t", "practice_df": 12.0}
    batch = exact(trials=2500, baseline=baseline)
    score = batch.at("mansa_baseline") - 4.31
    assert_person_mean(score, batch.index, 0.0, sharp=0.02)
    assert_person_mean(score**2, batch.index, 0.93**2, sharp=0.025)
    assert_pair_mean(score, batch.index, 0.08 * 0.93**2, sharp=0.03)
    own = (score - batch.at("baseline_practice_effect")) / (0.93 * sqrt(0.92))
    assert_person_mean(own**3, batch.index, 1.0, sharp=0.05)


def test_the_baseline_practice_effect_is_what_people_share_in_points_and_in_sds() -> None:
    batch = exact(trials=50, baseline={"icc": 0.999999})
    shared = batch.at("baseline_practice_effect")
    assert np.allclose(batch.at("mansa_baseline") - 4.31, shared, atol=0.01)
    assert np.allclose(shared, 0.93 * sqrt(0.999999) * batch.at("baseline_practice_score"), atol=1e-12)


def test_each_arm_has_its_own_sd_and_icc() -> None:
    batch = exact(trials=2500, residual_sd_intervention=0.5, icc_intervention=0.4, effect=0.2, effect_among="")
    control, treated = left(batch), left(batch, "intervention") - 0.2
    assert_person_mean(treated, batch.index, 0.0, sharp=0.015)
    assert_person_mean(treated**2, batch.index, 0.25, sharp=0.008)
    assert_pair_mean(treated, batch.index, 0.4 * 0.25, sharp=0.008)
    assert_person_mean(control**2, batch.index, 0.701**2, sharp=0.015)
    plain = exact(trials=2500, effect=0.2, effect_among="")
    assert np.array_equal(plain.at("mansa_if_control"), batch.at("mansa_if_control"))


def test_an_icc_of_its_own_leaves_the_sd_of_the_arm() -> None:
    batch = exact(trials=2500, icc_intervention=0.0, effect=0.0)
    treated = left(batch, "intervention")
    assert_person_mean(treated**2, batch.index, 0.701**2, sharp=0.015)
    assert_pair_mean(treated, batch.index, 0.0, sharp=0.01)


@pytest.mark.parametrize("r", [-0.6, 0.5, 1.0])
def test_cluster_autocorrelation(r: float) -> None:
    """corr(u_j, baseline practice effect) = r, var(u) unmoved; SD, ICC and correlations as in closed form."""
    batch = exact(trials=2500, baseline={"icc": 0.2}, cluster_autocorrelation=r)
    u, b = (batch.at(name, "practice") for name in ("practice_effect", "baseline_practice_effect"))
    b_sd = 0.93 * sqrt(0.2)
    assert_mean(u * b, r * BETWEEN * b_sd, sharp=0.003)
    assert_mean(u**2, BETWEEN**2, sharp=0.003)
    theory = implied(0.615, 0.93, 0.2, 0.701, 0.18, r)
    before, after = batch.at("mansa_baseline") - 4.31, batch.at("mansa_if_control") - 4.53
    assert_person_mean(after**2, batch.index, theory.sd**2, sharp=0.03)
    assert_pair_mean(after, batch.index, theory.icc * theory.sd**2, sharp=0.03)
    assert_person_mean(before * after, batch.index, theory.correlation * 0.93 * theory.sd, sharp=0.03)
    between = 0.615 * b + u
    expected = theory.practice_correlation * b_sd * sqrt(theory.icc) * theory.sd
    assert_mean(between * b, expected, sharp=0.008)


def test_autocorrelation_leaves_all_but_the_practice_effects_alone() -> None:
    plain, other = exact(trials=20), exact(trials=20, cluster_autocorrelation=0.5)
    assert np.allclose(individual(plain), individual(other), atol=1e-12)
    assert np.array_equal(plain.at("followup_months"), other.at("followup_months"))
    assert not np.array_equal(plain.at("practice_effect"), other.at("practice_effect"))


def test_what_is_shared_with_baseline_dilutes_the_shape() -> None:
    """Skewness (1 - r^2)^1.5 of that of the part not shared."""
    batch = exact(trials=5000, cluster_autocorrelation=0.5, practice_effects="skewed", practice_skewness=1.5)
    u = batch.at("practice_effect", "practice") / BETWEEN
    assert_mean(u**2, 1.0, sharp=0.03)
    assert_mean(u**3, 1.5 * 0.75**1.5, sharp=0.12)


def test_implied_by_hand() -> None:
    """b 0.3, u 0.4, slope 0.5, r = 0.5: between .0225 + .16 + .06 = .2425, total .25 + .25 + .06."""
    found = implied(0.5, 1.0, 0.09, 0.5, 0.64, 0.5)
    assert found.sd == pytest.approx(sqrt(0.56))
    assert found.icc == pytest.approx(0.2425 / 0.56)
    assert found.practice_correlation == pytest.approx((0.5 * 0.09 + 0.06) / (0.3 * sqrt(0.2425)))
    assert found.correlation == pytest.approx((0.5 + 0.06) / sqrt(0.56))


def test_implied_for_the_trial_as_published() -> None:
    """Without autocorrelation SD 0.90 and correlation 0.63; ICC (0.615^2 0.08 0.865 + 0.18 0.491)/0.819."""
    found = implied(0.615, 0.93, 0.08, 0.701, 0.18)
    assert found.sd == pytest.approx(0.905, abs=0.001)
    assert found.icc == pytest.approx(0.140, abs=0.001)
    assert found.correlation == pytest.approx(0.632, abs=0.001)
    assert found.practice_correlation == pytest.approx(0.478, abs=0.001)


def test_with_the_new_options_left_out_the_draws_are_practices_people_and_months_to_the_last_bit() -> None:
    step = partners({"outcomes.mansa": {"effect": 0.3, "effect_among": ""}})["outcomes.mansa"]
    batch = draw(trials=20)
    batch = TrialBatch(batch.index, {n: c for n, c in batch.columns.items() if n not in step.adds()})
    found = drawn_by(step, batch, seed=5)
    rng = np.random.default_rng(5)
    u = 0.701 * np.sqrt(0.18) * rng.standard_normal(batch.index.practices)
    v = 0.701 * np.sqrt(1 - 0.18) * rng.standard_normal(batch.index.participants)
    untreated = 4.53 + 0.615 * (batch.at("mansa_baseline") - 4.31) + u[batch.index.participant_practice] + v
    assert np.array_equal(found["practice_effect"], u)
    assert np.array_equal(found["mansa_if_control"], record(untreated, 11, 1, 7))
    assert np.array_equal(found["mansa_if_intervention"], record(untreated + 0.3, 11, 1, 7))
    assert np.array_equal(found["followup_months"], 10.0 + 1.35 * rng.standard_normal(batch.index.participants))
