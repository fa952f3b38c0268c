"""Variance after imputation that ignores practices, or gives each its own mean, against closed forms.

400 trials of 20 practices an arm, five or ten people, 14% or 30% of outcomes missing completely at random (at least one
is left in every practice). Differences from the closed forms, given who is observed, are judged by their Monte Carlo
standard errors: 4 of them, a false alarm in 16,000; 48 are made, with fixed seeds.
"""

from functools import cache

import numpy as np
import pytest
from imputed_variance import deflation, fixed_effects, inflation, single_level
from reference import method
from trials import batch, fit

TRIALS, PRACTICES, M, Z = 400, 20, 5, 4.0
CASES = [(icc, n, lost) for icc in (0.01, 0.05, 0.20) for n in (5, 10) for lost in (0.14, 0.30)]
FORMS = {"single-level": single_level, "fixed-effects": fixed_effects}


@cache
def incomplete(icc, n, lost):
    """Trials with gaps, and how many are observed in every practice (trials, arms, practices)."""
    rng = np.random.default_rng([int(100 * icc), n, int(100 * lost)])
    shape = (TRIALS, 2, PRACTICES, n)
    y = np.sqrt(icc) * rng.standard_normal(shape[:3])[..., None] + np.sqrt(1 - icc) * rng.standard_normal(shape)
    gone = rng.random(shape) < lost
    while (empty := gone.all(axis=3)).any():
        gone[empty] = rng.random((empty.sum(), n)) < lost
    trial, arm, practice, _ = (x.ravel() for x in np.indices(shape))
    y[gone] = np.nan
    columns = {"trial": trial, "arm": arm.astype(float), "practice": practice + PRACTICES * arm}
    return batch({**columns, "mansa_followup": y.ravel()}), (~gone).sum(axis=3)


@cache
def pooled(engine, icc, n, lost):
    """Estimates, and variances within and between imputations (trials,)."""
    mi = method("mi", imputation=engine, m=M, adjust=[], analysis={"kind": "cluster-means"})
    found = fit(incomplete(icc, n, lost)[0], mi)
    assert not found.failed.any()
    total, riv = found.std_error[0] ** 2, found.extras["riv"]
    return found.estimate[0], total / (1 + riv), total * riv / (1 + riv) / (1 + 1 / M)


def z(values):
    """Mean in standard errors."""
    return abs(values.mean()) / (values.std(ddof=1) / np.sqrt(len(values)))


@pytest.mark.parametrize("engine", FORMS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_variances_are_those_of_the_closed_form(engine, case):
    icc, n, _ = case
    estimate, within, between = pooled(engine, *case)
    w, b, v = FORMS[engine](incomplete(*case)[1], n, icc, 1 - icc)
    assert z(within + between - w - b) < Z
    assert z(estimate**2 - v - b / M) < Z  # finitely many imputations add B/m


@pytest.mark.parametrize("case", CASES, ids=str)
def test_fixed_effects_are_too_wide_and_a_single_level_too_narrow(case):
    """Andridge 2011: the variance falls from fixed effects to random intercepts to a single level."""
    icc, n, _ = case
    engines = ("fixed-effects", "random-intercept", "single-level")
    fixed, mixed, single = (np.add(*pooled(engine, *case)[1:]) for engine in engines)
    for wide, narrow in ((fixed, mixed), (mixed, single)):
        assert (wide - narrow).mean() > 0
        assert z(wide - narrow) > Z
    _, _, v = fixed_effects(incomplete(*case)[1], n, icc, 1 - icc)
    assert fixed.mean() > v.mean()


@pytest.mark.parametrize("engine", FORMS)
def test_the_error_grows_with_loss(engine):
    for icc in (0.01, 0.05, 0.20):
        for n in (5, 10):
            ratio = []
            for lost in (0.14, 0.30):
                w, b, v = FORMS[engine](incomplete(icc, n, lost)[1], n, icc, 1 - icc)
                ratio.append(((w + b) / v).mean())
            assert abs(ratio[1] - 1) > abs(ratio[0] - 1)


@pytest.mark.parametrize(("n", "lost", "icc", "value"), [
    (5, 0.14, 0.01, 1.341), (5, 0.14, 0.05, 1.292), (5, 0.14, 0.20, 1.175),
    (5, 0.30, 0.01, 1.734), (5, 0.30, 0.05, 1.651), (5, 0.30, 0.20, 1.426),
    (10, 0.14, 0.01, 1.287), (10, 0.14, 0.05, 1.216), (10, 0.14, 0.20, 1.100),
    (10, 0.30, 0.01, 1.629), (10, 0.30, 0.05, 1.498), (10, 0.30, 0.20, 1.252),
])  # fmt: skip
def test_inflation_with_many_practices(n, lost, icc, value):
    """The exact form tends to the simple one as practices grow."""
    assert inflation(n, lost, icc) == pytest.approx(value, abs=5e-4)
    rng = np.random.default_rng(1)
    seen = rng.binomial(n, 1 - lost, (1, 2, 200_000))
    seen[seen == 0] = rng.choice(seen[seen > 0], (seen == 0).sum())
    w, b, v = fixed_effects(seen, n, icc, 1 - icc)
    assert (w + b) / v == pytest.approx(inflation(n, lost, icc), abs=5e-3)


@pytest.mark.parametrize(("icc", "value"), [(0.01, 0.971), (0.05, 0.882), (0.20, 0.722)])
def test_deflation_with_many_practices(icc, value):
    assert deflation(7, 10, icc) == pytest.approx(value, abs=5e-4)
    w, b, v = single_level(np.full((1, 2, 200_000), 7), 10, icc, 1 - icc)
    assert (w + b) / v == pytest.approx(deflation(7, 10, icc), abs=1e-4)
