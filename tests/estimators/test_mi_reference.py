"""Reference-based imputation: what it adds to imputation at random, in closed form, and where its variants coincide."""

import numpy as np
import pytest
from reference import method
from test_mi_delta import OUTCOME, lacking, mi
from trials import batch, fit

from simtrial.estimators.imputation.incomplete import Incomplete
from simtrial.estimators.mi import MultipleImputation
from simtrial.flags import text
from simtrial.moments.build import moments

ENGINES = ("random-intercept", "single-level")


def completed(made: MultipleImputation, observed, seed=3, times=1):
    """Outcomes of a batch completed some times, each (participants,)."""
    incomplete = made.incomplete(observed, moments(observed, made.spec()))
    assert isinstance(incomplete, Incomplete)
    fitted, rng = made._fitted(incomplete), np.random.default_rng(seed)
    return [fitted.complete(rng).at(OUTCOME) for _ in range(times)]


@pytest.mark.parametrize("engine", ENGINES)
def test_from_both_arms_it_takes_the_drawn_effect_off_the_intervention_arm_and_nothing_else(engine):
    data, gone = lacking()
    observed = batch(data)
    plain, other = (
        completed(mi({"kind": "ols"}, imputation=engine, reference=r), observed, times=400) for r in ("none", "control")
    )
    taken = []
    for one, two in zip(plain, other, strict=True):
        moved = one - two
        assert np.abs(moved[~(gone & (data["arm"] == 1))]).max() == 0.0
        own = moved[gone & (data["arm"] == 1)]
        assert own == pytest.approx(np.full(len(own), own[0]), abs=1e-12)  # practices keep their effects
        taken.append(own[0])
    # draws of the coefficient of arm: normal about the estimate of a fit to those observed, with its error
    fitted = fit(observed, method("ols" if engine == "single-level" else "lmm", adjust=["mansa_baseline"]))
    error = np.std(taken, ddof=1) / 20
    assert np.mean(taken) == pytest.approx(
        fitted.estimate[0, 0], abs=4 * error + 0.02
    )  # 0.02: ICC drawn, not estimated
    assert error > 0


@pytest.mark.parametrize("analysis", [{"kind": "ols"}, {"kind": "cluster-means"}], ids=str)
def test_the_estimate_is_that_at_random_less_the_share_lost_of_the_effect(analysis):
    """Linear in the outcome: it moves by the mean drawn effect times what a unit shift of those lost would do."""
    data, gone = lacking()
    observed = batch(data)
    options = {"m": 200, "adjust": [], "imputation": "single-level"}
    plain, other = (fit(observed, mi(analysis, **options, reference=r)) for r in ("none", "control"))
    made = mi(analysis, **options)
    one, two = (
        completed(mi(analysis, **options, reference=r), observed, seed=1, times=200) for r in ("none", "control")
    )
    first = np.flatnonzero(gone & (data["arm"] == 1))[0]
    taken = np.mean([a[first] - b[first] for a, b in zip(one, two, strict=True)])
    unit = fit(batch({**data, OUTCOME: gone * data["arm"] * 1.0}), made.analysis).estimate[0, 0]
    assert plain.estimate[0, 0] - other.estimate[0, 0] == pytest.approx(taken * unit, rel=1e-9)


def test_from_control_alone_practices_of_the_other_arm_are_new_ones():
    # their effects are drawn from N(0, tau2) of control, whatever their people have who stayed
    data, gone = lacking()
    shifted = {**data, OUTCOME: np.where(data["arm"] == 1, data[OUTCOME] + 50.0, data[OUTCOME])}
    made = mi({"kind": "ols"}, by_arm=True, reference="control")
    (one,), (two,) = (completed(made, batch(d)) for d in (data, shifted))
    assert one[gone] == pytest.approx(two[gone], rel=1e-12)


@pytest.mark.parametrize("engine", ENGINES)
def test_jump_copy_and_copy_increments_are_one_with_a_common_baseline_mean(engine):
    """Carpenter, Roger and Kenward's three means of (X, Y), and what each makes of Y given X.

    With V the covariance in control, b = V_xy / V_xx, and means (m, y0) in control, (m, y1) in intervention: jump has
    (m_1, y0), copy (m_0, y0), copy increments (m_1, m_1 + y0 - m_0). Given X = x, E Y = its mean of Y + b (x - its mean
    of X): the same where m_0 = m_1, and then the regression of control, which is what is drawn.
    """
    data, gone = lacking(seed=4)
    at_control = data["arm"] == 0
    x, seen = data["mansa_baseline"], ~gone
    b, a = np.polyfit(x[at_control & seen], data[OUTCOME][at_control & seen], 1)
    common = x.mean()
    y0 = a + b * common
    own = gone & (data["arm"] == 1)
    jump = y0 + b * (x[own] - common)
    copy = y0 + b * (x[own] - common)
    increments = (common + y0 - common) + b * (x[own] - common)
    assert jump == pytest.approx(copy, rel=1e-12)
    assert increments == pytest.approx(copy, rel=1e-12)
    # with baseline means of their own they differ by b times, and by (1 - b) times, the difference
    m0, m1 = common, common + 0.3
    assert (y0 + b * (x[own] - m1)) - (y0 + b * (x[own] - m0)) == pytest.approx(np.full(own.sum(), -0.3 * b))
    assert (m1 + y0 - m0 + b * (x[own] - m1)) - (y0 + b * (x[own] - m0)) == pytest.approx(
        np.full(own.sum(), 0.3 * (1 - b))
    )
    made = mi({"kind": "ols"}, by_arm=True, reference="control", imputation=engine)
    draws = np.array([one[own] for one in completed(made, batch(data), times=600)])
    error = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
    slack = 0.0 if engine == "single-level" else 0.2  # the slope is then weighed within and between practices
    assert np.abs(draws.mean(axis=0) - copy).max() < 4.5 * error.max() + slack


def test_a_missing_baseline_is_drawn_as_well():
    data, _ = lacking()
    data["mansa_baseline"] = np.where(np.arange(len(data["arm"])) % 9 == 2, np.nan, data["mansa_baseline"])
    for by_arm in (False, True):
        found = fit(batch(data), mi({"kind": "ols"}, reference="control", by_arm=by_arm))
        assert not found.failed[0], text(int(found.flags[0]))


@pytest.mark.parametrize("engine", ["fixed-effects", "mean", "baseline"])
def test_engines_that_do_not_use_arm_are_refused(engine):
    with pytest.raises(ValueError, match="cannot impute people as if in control"):
        mi({"kind": "ols"}, reference="control", imputation=engine)


def test_a_control_arm_with_nobody_observed_has_a_status():
    data, _ = lacking()
    data[OUTCOME] = np.where(data["arm"] == 0, np.nan, data[OUTCOME])
    for by_arm in (False, True):
        found = fit(batch(data), mi({"kind": "ols"}, reference="control", by_arm=by_arm))
        assert found.failed[0]
        assert "imputation_failed" in text(int(found.flags[0]))
        assert "control" in str(found.notes["message"][0])
