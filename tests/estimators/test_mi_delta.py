"""Imputed outcomes shifted by delta: the estimate moves as linear analyses say, and by nothing without a shift."""

import numpy as np
import pytest
from pydantic import ValidationError
from reference import method
from tomls import SMALL, changed, complaint
from trials import batch, fit, ragged

from simtrial.scenario import load

OUTCOME = "mansa_followup"
ENGINES = ("random-intercept", "single-level")
LINEAR = (
    {"kind": "ols"}, {"kind": "ols", "se": "classical", "outcome": "change"}, {"kind": "cluster-means"},
    {"kind": "cluster-means", "adjust": []}, {"kind": "g-computation"},
    {"kind": "per-protocol", "keep": "age >= 30", "analysis": {"kind": "ols"}},
)  # fmt: skip


def lacking(seed=8):
    data = ragged(seed, 24)
    gone = np.random.default_rng(seed).random(len(data["arm"])) < 0.3
    return {**data, OUTCOME: np.where(gone, np.nan, data[OUTCOME])}, gone


def mi(analysis, **options):
    return method("mi", **{"adjust": ["mansa_baseline"], "m": 4, "analysis": analysis, **options})


@pytest.mark.parametrize("delta", [0, 0.0, {}, {"control": 0.0, "intervention": 0.0}], ids=str)
def test_no_shift_changes_no_digit(delta):
    observed = batch(lacking()[0])
    one, other = (fit(observed, mi({"kind": "lmm"}, **options)) for options in ({}, {"delta": delta}))
    for name in ("estimate", "std_error", "df", "ci_lower", "ci_upper", "p_value"):
        assert np.array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("analysis", LINEAR, ids=str)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_linear_analysis_moves_by_that_of_the_shifts(analysis, engine):
    """Its estimate is c'y with c free of y: it moves by c'(delta of those imputed), the same in every imputation."""
    data, gone = lacking()
    observed, delta = batch(data), {"control": 0.4, "intervention": -1.1}
    plain, shifted = (fit(observed, mi(analysis, imputation=engine, delta=d)) for d in (0.0, delta))
    shift = gone * np.where(data["arm"] == 1, -1.1, 0.4)
    inner = mi(analysis).analysis
    if inner.outcome == "change":
        shift = shift + data["mansa_baseline"]
    # of a shift alone, within practices it is no outcome that an analysis would refuse
    expected = fit(batch({**data, OUTCOME: shift}), inner).estimate[0, 0]
    assert shifted.estimate[0, 0] - plain.estimate[0, 0] == pytest.approx(expected, rel=1e-9)
    assert shifted.extras["fmi"][0] < 1
    within = plain.std_error[0] ** 2 * plain.extras["riv"] / (1 + plain.extras["riv"])
    moved = shifted.std_error[0] ** 2 * shifted.extras["riv"] / (1 + shifted.extras["riv"])
    assert moved == pytest.approx(within, rel=1e-9)  # the variance between imputations stays


def test_means_move_by_delta_times_the_share_that_is_missing():
    data, gone = lacking()
    options = {"adjust": [], "imputation": "single-level"}
    analysis = {"kind": "ols", "se": "classical"}
    both, plain = (fit(batch(data), mi(analysis, delta=d, **options)) for d in (0.5, 0.0))
    treated = data["arm"] == 1
    expected = 0.5 * (gone[treated].mean() - gone[~treated].mean())
    assert both.estimate[0, 0] - plain.estimate[0, 0] == pytest.approx(expected, rel=1e-9)
    one = fit(batch(data), mi(analysis, delta={"intervention": -2.0}, **options))
    assert one.estimate[0, 0] - plain.estimate[0, 0] == pytest.approx(-2.0 * gone[treated].mean(), rel=1e-9)


def test_by_arm_and_with_a_baseline_that_is_missing():
    data, gone = lacking()
    blank = np.random.default_rng(3).random(len(gone)) < 0.1
    data = {**data, "mansa_baseline": np.where(blank, np.nan, data["mansa_baseline"])}
    for by_arm in (False, True):
        plain, moved = (
            fit(batch(data), mi({"kind": "cluster-means", "adjust": []}, by_arm=by_arm, delta=d)) for d in (0.0, 1.0)
        )
        treated = data["arm"] == 1
        practices = [gone[data["practice"] == p].mean() for p in range(24)]
        arms = [treated[data["practice"] == p][0] for p in range(24)]
        expected = np.mean([s for s, a in zip(practices, arms, strict=True) if a])
        expected -= np.mean([s for s, a in zip(practices, arms, strict=True) if not a])
        assert moved.estimate[0, 0] - plain.estimate[0, 0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("delta", "said"), [
    ("0.5", "delta must be a number, or a table such as"),
    (True, "delta must be a number, or a table such as"),
    ({"contrl": 1.0}, "contrl"),
    (float("nan"), "finite"),
])  # fmt: skip
def test_what_is_no_shift_is_refused(delta, said):
    with pytest.raises(ValidationError, match=said):
        mi({"kind": "lmm"}, delta=delta)


ROW = '[[methods]]\nname = "shifted"\nkind = "mi"\nanalysis = {{ kind = "ols" }}\nadjust = []\ndelta = {}\n\n[run]\n'


def test_a_scenario_names_shifts_by_arm(tmp_path):
    file = tmp_path / "small.toml"
    file.write_text(changed("[run]\n", ROW.format("{ intervention = -0.5 }"), SMALL))
    made = load(file)[0].methods[-1]
    assert (made.delta.control, made.delta.intervention) == (0.0, -0.5)
    file.write_text(changed("[run]\n", ROW.format("1"), SMALL))
    assert load(file)[0].methods[-1].delta.control == 1.0
    told = complaint(tmp_path, changed("[run]\n", ROW.format("{ intervetion = -0.5 }"), SMALL))
    assert "did you mean 'intervention'" in told
