"""Covariates of people that use up what varies within practices, or are collinear there: limits of the mixed models."""

import numpy as np
import pytest
from cores import needs_compiled
from hard_designs import Criterion
from reference import method
from trials import batch, fit
from twins.fuzz import Tally, try_batch

from simtrial.flags import text
from simtrial.kernels import by_arm_fit, by_arm_starts, random_intercept_fit, ratio_search
from simtrial.moments.build import moments

PRACTICE = np.array([0, 0, 1, 2, 3, 4, 5, 5, 6, 7])  # two deviations within practices, one in each arm
ARM = np.array([0, 0, 0, 1, 0, 1, 1, 1, 0, 1])
SIZES = np.bincount(PRACTICE)


def saturated(seed):
    """A trial whose two covariates of people fit what varies within practices exactly."""
    rng = np.random.default_rng(seed)
    inner = rng.normal(size=(2, len(PRACTICE)))
    outcome = rng.choice([0.2, 3.0]) * rng.normal(size=8)[PRACTICE] + rng.normal(size=len(PRACTICE))
    return {"practice": PRACTICE, "arm": ARM, "inner": inner[0], "mansa_baseline": inner[1], "mansa_followup": outcome}


def limit(data):
    """Effect, its variance and df as residuals vanish: deviations give the coefficients of people, means the rest."""
    x = np.column_stack([np.ones(len(ARM)), data["inner"], data["mansa_baseline"], ARM])
    table = np.column_stack([x, data["mansa_followup"]])
    means = np.stack([np.bincount(PRACTICE, column) / SIZES for column in table.T], axis=1)
    inside = table - means[PRACTICE]
    inner = np.linalg.lstsq(inside[:, 1:3], inside[:, 4], rcond=None)[0]
    y, outer = means[:, 4] - means[:, 1:3] @ inner, means[:, [0, 3]]
    beta = np.linalg.lstsq(outer, y, rcond=None)[0]
    rest = y - outer @ beta
    return beta[1], rest @ rest * np.linalg.inv(outer.T @ outer)[1, 1], 8 - 2


def test_reml_comes_to_rest_at_infinity_where_that_is_lower_than_any_ratio():
    ended = {"limit": 0, "inside": 0}
    for seed in range(40):
        data = saturated(seed)
        adjust = ["inner", "mansa_baseline"]
        sums = moments(batch(data), method("lmm", adjust=adjust).spec()).size_sums()
        found, criterion = random_intercept_fit.fit(sums), Criterion.of(data, adjust, True)
        at_rest, lowest = float(criterion(1e7)[0]), criterion.lowest()[1]  # 1e-7 from its limit
        assert float(criterion(min(found.gamma[0], 1e7))[0]) <= min(at_rest, lowest) + 1e-5
        assert found.limit[0] == (found.gamma[0] > 1e10)
        ended["limit" if found.limit[0] else "inside"] += 1
    assert min(ended.values()) > 5


@needs_compiled
def test_a_criterion_that_comes_to_rest_is_not_searched_for_minima_of_rounding(monkeypatch):
    """Halved until F is known to 1e-11 of the rows, the way to the limit would leave 50,000 pieces and more a trial."""
    left, plain = [], ratio_search.isolate

    def counted(*given):
        left.append(len(pieces := plain(*given)))
        return pieces

    monkeypatch.setattr(ratio_search, "isolate", counted)
    for seed in range(20):
        fit(batch(saturated(seed)), method("lmm", adjust=["inner", "mansa_baseline"]))
    assert len(left) > 5
    assert max(left) < 20


@pytest.mark.parametrize("df", ["between-within", "satterthwaite", "satterthwaite-observed", "kenward-roger"])
def test_in_the_limit_people_decide_what_varies_within_and_practice_means_the_rest(df):
    seen = 0
    for seed in range(40):
        data = saturated(seed)
        found = fit(batch(data), method("lmm", adjust=["inner", "mansa_baseline"], df=df))
        if text(int(found.flags[0])) != "constant_within":
            continue
        effect, variance, degrees = limit(data)
        assert found.estimate[0, 0] == pytest.approx(effect, rel=1e-8)
        assert found.std_error[0, 0] == pytest.approx(np.sqrt(variance / degrees), rel=1e-8)
        assert found.df[0, 0] == pytest.approx(degrees, rel=1e-8)
        seen += 1
    assert seen > 5


@pytest.mark.parametrize("seed", range(10))
def test_maximum_likelihood_has_no_bound_then_however_deep_a_minimum_inside(seed):
    data = saturated(seed)
    found = fit(batch(data), method("lmm", adjust=["inner", "mansa_baseline"], estimation="ml"))
    effect, variance, _ = limit(data)
    assert text(int(found.flags[0])) == "constant_within"
    assert found.estimate[0, 0] == pytest.approx(effect, rel=1e-8)
    assert found.std_error[0, 0] == pytest.approx(np.sqrt(variance / 8), rel=1e-8)


@pytest.mark.parametrize("residual", [0.0, 1e-4])
def test_collinear_covariates_in_one_trial_do_not_move_another(residual):
    rng, parts = np.random.default_rng(5), []
    practice = np.repeat(np.arange(12), 5)
    for share in (1.0, 1e-3, 1e-5):
        inner, outer = rng.normal(size=60), rng.normal(size=12)[practice]
        outcome = rng.normal(size=12)[practice] + residual * rng.normal(size=60)
        parts.append({"practice": practice, "arm": practice % 2, "inner": inner, "sum": inner + share * outer,
                      "mansa_followup": outcome})  # fmt: skip
    together = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    together["trial"] = np.repeat(np.arange(3), 60)
    options = method("lmm", adjust=["inner", "sum"], df="kenward-roger")
    every = fit(batch(together), options)
    for at, part in enumerate(parts):
        alone = fit(batch(part), options)
        for name in ("estimate", "std_error", "df"):
            assert getattr(every, name)[0, at] == pytest.approx(getattr(alone, name)[0, 0], rel=1e-7)


@pytest.mark.parametrize("by", ["residual", "cluster", "both"])
def test_variances_by_arm_are_searched_for_from_the_same_starts_in_any_batch(by):
    def grid_of(trials):
        parts = [saturated(0) | {"practice": PRACTICE}, {n: np.tile(v, 30) for n, v in saturated(1).items()}]
        data = {n: np.concatenate([p[n] for p in parts[:trials]]) for n in parts[0]}
        data["trial"] = np.repeat(np.arange(trials), [len(p["arm"]) for p in parts[:trials]])
        sums = moments(batch(data), method("lmm", adjust=[]).spec()).by_arm
        return by_arm_starts._grid(sums, by_arm_starts.COARSE)[:, :, 0]

    alone, among = grid_of(1), grid_of(2)
    assert len(among) > len(alone)
    assert np.array_equal(among[: len(alone)], alone)
    assert (among[len(alone) :] == alone[-1]).all()


@pytest.mark.parametrize(("by", "alone", "failed"), [
    ("residual", False, True), ("both", False, True), ("cluster", False, False),
    ("residual", True, True), ("both", True, True), ("cluster", True, False),
])  # fmt: skip
def test_an_arm_that_coefficients_fit_exactly_has_no_maximum_of_likelihood(by, alone, failed):
    rng = np.random.default_rng(8)
    practice = np.array(
        [0, 1, 2, *np.repeat(np.arange(3, 9), 4)] if alone else [0, 0, 1, *np.repeat(np.arange(2, 9), 4)]
    )
    arm = (practice >= (3 if alone else 2)) * 1.0
    data = {"practice": practice, "arm": arm, "inner": rng.normal(size=len(arm)), "outer": rng.normal(size=len(arm)),
            "mansa_followup": rng.normal(size=len(arm)) + rng.normal(size=9)[practice]}  # fmt: skip
    adjust = ["inner", "outer"]  # with the mean of the arm three coefficients for its three people, alone in practices
    sums = moments(batch(data), method("lmm", adjust=adjust).spec()).by_arm
    found = by_arm_fit.fit(sums, by, reml=False)
    assert bool(found.perfect[0] | ~found.identified[0]) == failed


@pytest.mark.parametrize(("seed", "number"), [
    (11, 8), (7000, 278), (7000, 621), (7000, 686), (7001, 56), (7002, 93), (7003, 470),  # saturated within
    (7000, 25), (7000, 462), (7000, 544), (7003, 42), (7003, 456), (7003, 478), (7003, 806),  # several optima by arm
    (7000, 222), (7000, 228), (7001, 73), (7001, 80), (7002, 16),  # an arm that is fitted exactly
    (7000, 227),  # a covariate that hardly varies within the practices left
    (7003, 296),  # a factor one of whose levels alone is constant in practices
    (7001, 120), (7001, 121),  # two visits that few share a practice at, and an outcome that is constant in practices
])  # fmt: skip
def test_designs_that_once_differed_from_their_twins(seed, number):
    tally = Tally()
    try_batch(seed, number, tally)
    assert tally.differences == []
