"""False alarms over all expectations of a check are as rare as stated, and what is wrong is found."""

import json
import math

import numpy as np
import polars as pl
import pytest
from scipy import stats

from simtrial.check.expectations import check
from simtrial.report.false_alarms import alarms


def frames(measure, values, mcse, n):
    """One method in as many cells as there are values."""
    names = [f"c{k}" for k in range(len(values))]
    frame = pl.DataFrame({"cell": names, "method": "m", "estimand": "e", "measure": measure, "value": values,
                          "mcse": mcse, "n": n})  # fmt: skip
    return frame, pl.DataFrame({"cell": names, "factors": [json.dumps({"k": k}) for k in range(len(values))]})


def expected(value, **more):
    return {"method": "m", "measure": "bias", "value": value, **more}


@pytest.mark.parametrize("judged", [1, 2, 54, 300])
def test_all_expectations_share_the_rate(judged):
    found = check(*frames("coverage", [0.95] * judged, 0.0, 10**6), [expected(0.95, measure="coverage")])
    assert found["allowed"].to_list() == [pytest.approx(stats.norm.isf(0.0005 / judged))] * judged
    assert found["false_alarm"].sum() == pytest.approx(0.001)
    assert "with probability 0.001 at most" in alarms(found)


def test_errors_estimated_from_few_replicates_are_judged_by_t():
    found = check(*frames("bias", [0.0] * 4, 1.0, 12), [expected(0.0)], rate=0.01)
    assert found["allowed"].to_list() == [pytest.approx(stats.t.isf(0.01 / 8, 11))] * 4


def test_a_stated_z_is_kept_and_its_rate_is_added():
    rows = [expected(0.0, z=2.0, cell={"k": 0}), expected(0.0, cell={"k": 1}), expected(0.0, cell={"k": 2})]
    found = check(*frames("bias", [0.0] * 3, 1.0, 10**9), rows)
    assert found["allowed"].to_list() == [2.0, *[pytest.approx(stats.norm.isf(0.00025), rel=1e-6)] * 2]
    assert found["false_alarm"].to_list() == [pytest.approx(2 * stats.norm.sf(2.0)), 0.0005, 0.0005]
    assert found["expectation"].to_list() == [1, 2, 3]


def test_values_beyond_1_96_are_counted_and_bounds_are_not():
    rows = [expected(0.0), {"method": "m", "measure": "bias", "lower": 5.0}]
    found = check(*frames("bias", [0.0, 2.5, -2.1, 1.0], 1.0, 10**6), rows)
    assert "Values more than 1.96 errors off: 2 of 4 (0.2 due to chance)" in alarms(found)


def families(count, draw):
    """Number of checks of correct programs that fail, at a family rate of 0.05."""
    failed = 0
    for _ in range(count):
        frame, wanted = draw()
        failed += (check(*frame, wanted, rate=0.05)["verdict"] == "FAIL").any()
    return failed


def test_means_of_25_replicates_alarm_falsely_as_often_as_stated():
    """20 independent means: 1 - (1 - 0.05/20)^20 = 0.0488 of the checks fail; 10^-5 on either side."""
    rng = np.random.default_rng(1)

    def draw():
        x = rng.normal(size=(20, 25))
        return frames("bias", x.mean(1), x.std(1, ddof=1) / 5, 25), [expected(0.0)]

    low, high = stats.binom.ppf([1e-5, 1 - 1e-5], 300, 0.0488)
    assert low <= families(300, draw) <= high


@pytest.mark.parametrize("share", [0.05, 0.002])
def test_shares_alarm_falsely_no_more_often_than_stated(share):
    rng = np.random.default_rng(2)

    def draw():
        seen = rng.binomial(400, share, 20) / 400
        return frames("rejection_rate", seen, 0.0, 400), [expected(share, measure="rejection_rate")]

    assert families(300, draw) <= stats.binom.ppf(1 - 1e-5, 300, 0.05)


def test_published_values_with_errors_of_their_own_alarm_falsely_no_more_often_than_stated():
    """Both shares of 1,000 replicates; the published error is the printed one."""
    rng = np.random.default_rng(3)

    def draw():
        printed, seen = rng.binomial(1000, 0.1, (2, 20)) / 1000
        wanted = [expected(p, measure="coverage", mcse=math.sqrt(p * (1 - p) / 1000), cell={"k": k})
                  for k, p in enumerate(printed)]  # fmt: skip
        return frames("coverage", seen, 0.0, 1000), wanted

    assert families(200, draw) <= stats.binom.ppf(1 - 1e-5, 200, 0.05)


def test_a_coverage_of_093_in_place_of_095_is_found():
    """10,000 replicates, 50 judged: 0.02 is 8.9 standard errors, 4.3 are allowed."""
    rng = np.random.default_rng(4)
    values = rng.binomial(10_000, [0.93] + [0.95] * 49) / 10_000
    found = check(*frames("coverage", values, 0.0, 10_000), [expected(0.95, measure="coverage")])
    assert found.filter(verdict="FAIL")["cell"].to_list() == ["c0"]
