"""Secondary outcomes: recorded margins, ICCs, correlations over time and with MANSA, effects, and what is refused."""

import numpy as np
import pytest
from pydantic import ValidationError
from simulated import assert_mean, assert_pair_mean, assert_person_mean, draw, partners, published

from simtrial.batch import TrialBatch
from simtrial.generate.distributions.margins import correlation_before, margin
from simtrial.generate.distributions.tables import gamma_quantiles
from simtrial.generate.outcomes.wemwbs import METRIC, metric, seven_items

STAGES = [s for s in published() if s.startswith("outcomes.") and s != "outcomes.mansa"]
WIDE = {"grid": 0.0, "lowest": -1e9, "highest": 1e9}
MANSA_WIDE = {"items": 0, "lowest": -1e9, "highest": 1e9}


@pytest.fixture(scope="module")
def batch() -> TrialBatch:
    return draw({"outcomes.tus": {"outlier_probability": 0.0}}, trials=400)


def centred(batch: TrialBatch, stage: str) -> tuple[np.ndarray, np.ndarray]:
    """Standardised recorded scores at baseline and at follow-up in control."""
    name, o = stage.removeprefix("outcomes."), published()[stage]
    before = (batch.at(f"{name}_baseline") - o["baseline_mean"]) / o["baseline_sd"]
    after = (batch.at(f"{name}_if_control") - o["baseline_mean"] - o["change"]) / o["followup_sd"]
    return before, after


@pytest.mark.parametrize("stage", STAGES)
def test_recorded_scores_have_the_mean_sd_and_correlation_asked_for(stage: str, batch: TrialBatch) -> None:
    before, after = centred(batch, stage)
    for score in (before, after):
        assert_person_mean(score, batch.index, 0.0, sharp=0.035)
        assert_person_mean(score**2, batch.index, 1.0, sharp=0.06)
    assert_person_mean(before * after, batch.index, published()[stage]["rho"], sharp=0.06)


@pytest.mark.parametrize("stage", STAGES)
def test_recorded_scores_lie_on_the_grid_within_the_scale(stage: str, batch: TrialBatch) -> None:
    o, name = published()[stage], stage.removeprefix("outcomes.")
    for column in ("baseline", "followup"):
        score = batch.at(f"{name}_{column}")
        assert score.min() >= o["lowest"]
        assert score.max() <= o["highest"]
        assert np.allclose(score / o["grid"], np.round(score / o["grid"]), atol=1e-6)


@pytest.mark.parametrize("loading", [0.0, 0.6])
def test_iccs_slope_and_ties_to_mansa(loading: float) -> None:
    """Everything in closed form where nothing is rounded or clipped."""
    options = {**WIDE, "loading": loading, "icc_baseline": 0.2, "icc": 0.3, "rho": 0.7}
    changes = {"outcomes.qpr15": options, "baseline": MANSA_WIDE, "outcomes.mansa": MANSA_WIDE}
    batch = draw(changes, trials=1500)
    index = batch.index
    z0, z1 = centred(batch, "outcomes.qpr15")
    new = (z1 - 0.7 * z0) / np.sqrt(1 - 0.49)
    m0 = (batch.at("mansa_baseline") - 4.31) / 0.93
    v = batch.at("mansa_if_control") - 4.53 - 0.615 * (batch.at("mansa_baseline") - 4.31) - batch.at("practice_effect")
    assert_pair_mean(z0, index, 0.2, sharp=0.03)
    assert_pair_mean(new, index, 0.3, sharp=0.03)
    assert_person_mean(new**2, index, 1.0, sharp=0.03)
    assert_person_mean(new * z0, index, 0.0, sharp=0.03)
    assert_person_mean(z0 * m0, index, loading, sharp=0.03)
    assert_person_mean(new * v / (0.701 * np.sqrt(0.82)), index, loading * np.sqrt(0.7), sharp=0.03)
    assert_person_mean(new * batch.at("practice_effect"), index, 0.0, sharp=0.03)


def test_the_effect_is_added_for_whoever_is_allocated() -> None:
    batch = draw({"outcomes.qpr15": {**WIDE, "effect": 3.0}}, trials=50)
    control, treated = batch.at("qpr15_if_control"), batch.at("qpr15_if_intervention")
    assert np.allclose(treated - control, 3.0)
    assert np.array_equal(batch.at("qpr15_followup"), np.where(batch.at("arm") == 1, treated, control))
    clipped = draw({"outcomes.qpr15": {"effect": 100.0}}, trials=5)
    assert (clipped.at("qpr15_if_intervention") == 60).all()


def test_time_use_is_gamma() -> None:
    """Quantiles against scipy's own; a share below a quantile p has a standard error of sqrt(p (1 - p)/n)."""
    from scipy.stats import gamma

    hours = draw({"outcomes.tus": {"outlier_probability": 0.0, "loading": 0.0, "icc_baseline": 0.0}}).at("tus_baseline")
    shape = (31.96 / 24.80) ** 2
    for p in (0.05, 0.25, 0.5, 0.75, 0.95):
        assert_mean(hours <= gamma.ppf(p, shape, scale=31.96 / shape), p, sharp=0.006)
    scores, quantiles = gamma_quantiles(1.66)
    assert np.interp(0.5, scores, quantiles) == pytest.approx(gamma.ppf(0.6914624612740131, 1.66), rel=1e-6)


@pytest.mark.parametrize("keep", [True, False])
def test_implausible_hours_are_flagged_and_kept_or_blank(keep: bool) -> None:
    options = {"outlier_probability": 0.01, "keep_outliers": keep}
    batch = draw({"outcomes.tus": options, "missingness": {"instruments": {}}}, trials=200)
    flag, hours = batch.at("tus_outlier") == 1, batch.at("tus_baseline")
    assert_mean(flag, 0.01, sharp=0.003)
    assert hours[flag].min() >= 150
    assert hours[flag].max() <= 250
    seen = batch.observed()
    for name in ("tus_baseline", "tus_followup"):
        assert not np.isnan(seen.at(name)[~flag & (batch.at("followed_up") == 1)]).any()
    assert np.isnan(seen.at("tus_baseline")[flag]).all() == (not keep)


def test_short_scale_conversion() -> None:
    """All 29 values, as in the published conversion table."""
    table = (
        "7.00 9.51 11.25 12.40 13.33 14.08 14.75 15.32 15.84 16.36 16.88 17.43 17.98 18.59 19.25 19.98 20.73 21.54 "
        "22.35 23.21 24.11 25.03 26.02 27.03 28.13 29.31 30.70 32.55 35.00"
    )
    assert metric(np.arange(7.0, 36)).tolist() == [float(x) for x in table.split()]


def test_both_halves_of_the_long_scale_are_possible() -> None:
    total, difference = (a.ravel() for a in np.meshgrid(np.arange(14.0, 71), np.arange(-20, 20.5, 0.5)))
    raw = seven_items(total, difference)
    for half in (raw, total - raw):
        assert half.min() >= 7
        assert half.max() <= 35
    inside = np.abs(difference) + 1 <= np.minimum(total / 2 - 7, 35 - total / 2)
    assert np.abs(raw - total / 2 - difference)[inside].max() <= 0.5


def test_short_scale_resembles_the_published_one(batch: TrialBatch) -> None:
    """Printed 18.98 (4.44) and 20.13 (4.70), correlation 0.64; two parameters for five numbers."""
    before, after = batch.at("swemwbs_baseline"), batch.at("swemwbs_if_control")
    assert set(np.round(before, 2)) <= set(METRIC)
    assert_person_mean(before, batch.index, 19.09, sharp=0.15)
    assert_person_mean(after, batch.index, 19.98, sharp=0.15)
    assert before.std() == pytest.approx(4.44, abs=0.3)
    assert after.std() == pytest.approx(4.70, abs=0.3)
    assert np.corrcoef(before, after)[0, 1] == pytest.approx(0.64, abs=0.06)


def test_margins_where_nothing_is_clipped_are_what_they_were() -> None:
    exact = margin("normal", 30.0, 5.0, -1e9, 1e9, 0.0)
    assert (exact.mean, exact.sd) == (30.0, 5.0)
    assert exact.moments() == pytest.approx((30, 5))
    assert correlation_before(exact, exact, 0.6) == pytest.approx(0.6, abs=1e-9)
    rounded = margin("normal", 30.0, 5.0, -1e9, 1e9, 5.0)
    assert rounded.sd**2 == pytest.approx(25 - 25 / 12, rel=0.02)  # Sheppard's correction


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"baseline_mean": 70.0}, "does not lie between"),
        ({"baseline_sd": 31.0}, "have an SD below"),
        ({"baseline_sd": 29.999}, "too near the largest possible"),
        ({"loading": 0.9, "icc_baseline": 0.0}, r"icc_baseline lies between 0.0648 and 0.2548"),
        ({"rho": -0.9999}, "have a correlation between"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, float], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        partners({"outcomes.qpr15": options})


def test_outlier_bounds_in_order() -> None:
    with pytest.raises(ValidationError, match="outlier_lowest must not exceed"):
        partners({"outcomes.tus": {"outlier_lowest": 300.0}})
