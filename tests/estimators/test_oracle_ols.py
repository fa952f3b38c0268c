"""Least squares with classical, robust and cluster-robust inference against stats, sandwich and clubSandwich."""

import math

import pytest
from reference import OLS, Key, Tolerance, disagreements, ours, reference

ROWS = {
    "ols.classical": 448,
    "ols.HC1": 448,
    **{f"ols.{se}.t_m1": 369 for se in ("CR0", "CR1", "CR1S", "CR2")},
    "ols.CR3.t_m1": 343,
    **{f"ols.{se}.satterthwaite": 135 for se in ("CR0", "CR1", "CR1S")},
    "ols.CR2.satterthwaite": 369,
    "ols.CR3.satterthwaite": 128,
}
# clubSandwich takes the CR2 root from matrices of the scale of the data: 1.4e-8 off on D15 (outcome and baseline in
# units of 1e-4), 1e-9 elsewhere, as all the others.
EXACT = Tolerance(1e-9, 1e-9, 1e-9)
CR2 = Tolerance(1e-9, 1e-7, 1e-7)


@pytest.mark.parametrize("name", OLS)
def test_every_coefficient_has_the_reference_inference(name):
    count, off = disagreements("ols", name, CR2 if "CR2" in name else EXACT)
    assert count == ROWS[name]
    assert off == []


def test_residual_variance_is_the_reference():
    rows = {k: r for k, r in reference("ols").items() if k.term == "sigma2"}
    mine = {k: ours("ols")[Key(k.trial, "ols.classical", k.model, k.outcome, "arm")]["extra"]["sigma2"] for k in rows}
    assert len(rows) == 135
    assert mine == pytest.approx({k: r["estimate"] for k, r in rows.items()}, rel=1e-9, abs=0)


@pytest.mark.parametrize("se", ["CR0", "CR1", "CR1S", "CR2", "CR3"])
def test_leverage_one_is_flagged_exactly_where_a_cluster_has_it(se):
    rows = {k: r["estimate"] for k, r in reference("ols").items() if k.term == "max_cluster_leverage"}
    flagged = {k for k in rows if "leverage_one" in ours("ols")[_arm(k, f"ols.{se}.t_m1")]["flags"]}
    assert flagged == {k for k, leverage in rows.items() if leverage > 1 - 1e-9}
    assert {k.trial for k in flagged} == {"D13", "D18", "D27"}


def _arm(key, name):
    return Key(key.trial, name, key.model, key.outcome, "arm")


def test_every_fit_is_ok_and_has_no_blank():
    # all 27 trials have a least-squares solution with a positive standard error, D27's saturated one included
    arms = [r for k, r in ours("ols").items() if k.term == "arm"]
    assert len(arms) == 27 * len(OLS) * 6
    assert {r["status"] for r in arms} == {"ok"}
    assert not any(math.isnan(r[c]) for r in arms for c in ("estimate", "std_error", "df", "ci_lower", "p_value"))
