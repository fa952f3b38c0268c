"""Tipping points against a direct search: an analysis with that delta, a little less and a little more."""

import numpy as np
import pytest
from test_mi_delta import LINEAR, OUTCOME, lacking, mi
from trials import batch, fit

from simtrial.estimators.imputation import tipping

ITERATED = ({"kind": "lmm"}, {"kind": "gee"}, {"kind": "cluster-means", "weights": "inverse-variance"})


def stacked(count, effect):
    """Some trials with an effect on top, in one batch."""
    every = []
    for seed in range(count):
        data, _ = lacking(seed)
        every.append({**data, OUTCOME: data[OUTCOME] + effect * data["arm"], "trial": np.full(len(data["arm"]), seed)})
    return {name: np.concatenate([one[name] for one in every]) for name in every[0]}


def rejected(observed, analysis, trial, arms, delta, **options):
    """Whether a trial's p-value is below 5% with imputed outcomes shifted."""
    shift = {arm: delta for arm in ("control", "intervention") if arms in (arm, "both")}
    return fit(observed, mi(analysis, delta=shift, **options)).p_value[0, trial] < 0.05


@pytest.mark.parametrize("effect", [0.0, 1.5])
@pytest.mark.parametrize("arms", ["intervention", "control"])
@pytest.mark.parametrize("analysis", [*LINEAR, *ITERATED], ids=str)
def test_it_is_where_a_direct_search_changes_its_conclusion(analysis, arms, effect):
    observed = batch(stacked(3, effect))
    found = fit(observed, mi(analysis, tipping=arms))
    plain = fit(observed, mi(analysis))
    assert np.array_equal(found.p_value, plain.p_value)  # the row is that without a search
    points, known = found.extras["tipping_delta"], 0
    for trial, point in enumerate(points):
        before = bool(plain.p_value[0, trial] < 0.05)
        if np.isnan(point):
            for delta in np.linspace(-10, 10, 9):
                assert rejected(observed, analysis, trial, arms, delta) == before
            continue
        known += 1
        assert rejected(observed, analysis, trial, arms, point * (1 - 1e-6)) == before
        assert rejected(observed, analysis, trial, arms, point * (1 + 1e-6)) != before
        for share in (-0.99, -0.6, -0.3, 0.3, 0.6, 0.99):  # none is nearer to 0, on either side
            assert rejected(observed, analysis, trial, arms, share * point) == before
    assert known or effect == 0.0


def test_both_arms_are_shifted_alike_and_delta_comes_first():
    observed = batch(stacked(2, 1.5))
    analysis = {"kind": "cluster-means", "adjust": []}
    found = fit(observed, mi(analysis, tipping="both"))
    for trial, point in enumerate(found.extras["tipping_delta"]):
        if not np.isnan(point):
            assert rejected(observed, analysis, trial, "both", point * (1 + 1e-6)) != (found.p_value[0, trial] < 0.05)
    alone = fit(observed, mi(analysis, tipping="intervention")).extras["tipping_delta"]
    part = fit(observed, mi(analysis, tipping="intervention", delta={"intervention": 0.25 * alone[0]}))
    assert part.extras["tipping_delta"][0] == pytest.approx(0.75 * alone[0], rel=1e-6)


def test_means_without_covariates_tip_where_a_quadratic_says():
    # Q + c delta is t standard errors from 0, T = W(delta) + (1 + 1/m) B: with z in place of t a quadratic in delta
    data, _ = lacking(2)
    data[OUTCOME] = data[OUTCOME] + 1.5 * data["arm"]
    observed = batch(data)
    analysis = {"kind": "ols", "adjust": [], "se": "classical", "df": "normal"}
    fits = [fit(observed, mi(analysis, df="barnard-rubin", delta={"intervention": d})) for d in (-1.0, 0.0, 1.0)]
    q = [one.estimate[0, 0] for one in fits]
    t = [one.std_error[0, 0] ** 2 for one in fits]
    c, slope, curve = (q[2] - q[0]) / 2, (t[2] - t[0]) / 2, (t[2] + t[0] - 2 * t[1]) / 2
    point = fit(observed, mi(analysis, tipping="intervention")).extras["tipping_delta"][0]
    total = fit(observed, mi(analysis, delta={"intervention": point}))
    assert total.std_error[0, 0] ** 2 == pytest.approx(t[1] + slope * point + curve * point**2, rel=1e-9)
    assert total.estimate[0, 0] == pytest.approx(q[1] + c * point, rel=1e-9)
    assert total.p_value[0, 0] == pytest.approx(0.05, abs=1e-6)


def test_linear_analyses_are_not_repeated_beyond_four_shifts(monkeypatch):
    shifts = []
    original = tipping.tipping_points

    def counted(analyse, *rest):
        return original(lambda shift: (shifts.append(shift), analyse(shift))[1], *rest)

    monkeypatch.setattr("simtrial.estimators.mi.tipping_points", counted)
    fit(batch(stacked(3, 1.5)), mi({"kind": "ols"}, tipping="intervention"))
    assert len(shifts) == 4


def test_with_nobody_imputed_nothing_tips():
    data, _ = lacking()
    data[OUTCOME] = np.nan_to_num(data[OUTCOME])
    found = fit(batch(data), mi({"kind": "lmm"}, tipping="both"))
    assert np.isnan(found.extras["tipping_delta"][0])


def test_a_trial_that_failed_has_no_tipping_point():
    data, _ = lacking()
    data[OUTCOME] = np.where(data["arm"] == 1, np.nan, data[OUTCOME])
    found = fit(batch(data), mi({"kind": "ols"}, tipping="both"))
    assert found.failed[0]
    assert np.isnan(found.extras["tipping_delta"][0])
