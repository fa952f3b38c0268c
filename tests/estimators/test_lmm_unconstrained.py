"""The mixed model with a between-practice variance that may be negative, against nlme and dense matrices."""

import csv
import json
import math

import numpy as np
import pytest
from reference import FILES, ORACLE, method
from test_degenerate import CASES
from trials import batch, fit

from simtrial.files.read_trials import read_trials
from simtrial.flags import BIT
from simtrial.run.analyse import analyse

with open(ORACLE / "lmm_unconstrained.csv", newline="") as handle:
    ROWS = list(csv.DictReader(handle))  # nlme 3.1-162 (R 4.2.2), gls with corCompSymm, response on arm alone


def fits(**options):
    methods = [
        method("lmm", name=e, estimation=e, adjust=[], df="normal", tau2="unconstrained", **options)
        for e in ("reml", "ml")
    ]
    ids, batch = read_trials(FILES, set().union(*(m.reads() for m in methods)), {})
    rows = analyse(ids, batch, methods).iter_rows(named=True)
    return {(r["trial_id"].split("_")[0], r["method"]): {**r, **json.loads(r["extra"])} for r in rows}


BOUND = {("D03", "reml"), ("D03", "ml"), ("D20", "ml")}  # nlme stops at -1/(max n - 1) too: no minimum inside


def test_estimates_errors_and_likelihood_are_those_of_nlme():
    # nlme stops within 2e-6 standard errors of its optimum; under ML its standard error holds sqrt(N / (N - p)).
    found, off, negative = fits(), [], 0
    for row in ROWS:
        key = (row["trial"], row["estimation"])
        mine, theirs = found[key], {name: float(row[name]) for name in list(row)[2:]}
        assert mine["status"] == ("failed" if key in BOUND else "ok")  # next to the bound the error would be arbitrary
        assert "boundary" not in mine["flags"]
        assert ("not_converged" in mine["flags"]) == (key in BOUND)
        if key in BOUND:
            continue
        n, negative = theirs["n"], negative + (mine["tau2"] < 0)
        std_error = theirs["std_error"] * (math.sqrt((n - 2) / n) if key[1] == "ml" else 1.0)
        near = abs(mine["estimate"] - theirs["estimate"]) <= 1e-5 * std_error
        near &= math.isclose(mine["std_error"], std_error, rel_tol=1e-5)
        near &= math.isclose(mine["icc"], theirs["rho"], abs_tol=1e-4)
        if not near or not abs(mine["loglik"] - theirs["loglik"]) <= 1e-6:
            off.append(key)
    assert len(ROWS) == 54
    assert negative == 13
    assert off == []


@pytest.mark.parametrize(
    "df", ["between-within", "residual", "satterthwaite", "satterthwaite-observed", "kenward-roger"]
)
def test_a_fit_without_boundary_has_a_positive_df_under_every_option(df):
    options = {"adjust": [], "df": df, "tau2": "unconstrained"}
    ids, batch = read_trials(FILES, method("lmm", **options).reads(), {})
    for row in analyse(ids, batch, [method("lmm", **options)]).iter_rows(named=True):
        assert row["status"] == ("failed" if row["flags"] == "not_converged" else "ok")
        assert row["status"] == "failed" or row["df"] > 0


def test_a_positive_variance_is_that_of_the_ordinary_fit():
    options = {"name": "x", "adjust": [], "df": "kenward-roger"}
    methods = [method("lmm", **options), method("lmm", **{**options, "name": "y", "tau2": "unconstrained"})]
    ids, batch = read_trials(FILES, set().union(*(m.reads() for m in methods)), {})
    rows = list(analyse(ids, batch, methods).iter_rows(named=True))
    by = {(r["trial_id"], r["method"]): r for r in rows}
    same = 0
    for (trial, name), row in by.items():
        other = by[trial, "y"]
        if name == "x" and row["status"] == "ok" and "boundary" not in row["flags"]:
            np.testing.assert_allclose(other["std_error"], row["std_error"], rtol=1e-9)
            same += 1
    assert same >= 10


@pytest.mark.parametrize("estimation", ["reml", "ml"])
@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_estimated_is_a_status_with_the_cause_of_the_ordinary_fit(case, estimation):
    data, adjust = CASES[case]
    options = {"adjust": adjust, "estimation": estimation, "df": "satterthwaite"}
    plain = fit(batch(data), method("lmm", **options))
    free = fit(batch(data), method("lmm", **options, tau2="unconstrained"))
    own = BIT["boundary"] | BIT["not_converged"]
    assert free.failed[0] == plain.failed[0]
    assert free.flags[0] & ~own == plain.flags[0] & ~own
    assert not free.flags[0] & BIT["boundary"]
    if not free.failed[0]:
        assert np.isfinite([free.estimate[0, 0], free.std_error[0, 0], free.p_value[0, 0]]).all()
