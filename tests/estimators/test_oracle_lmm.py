"""The mixed model against lme4, lmerTest, pbkrtest and nlme, and against arithmetic in 40 digits."""

import math

import pytest
from reference import OUTCOMES, Key, Tolerance, disagreements, number, ours, read, reference

# lme4 and pbkrtest agree with 40-digit arithmetic to 1e-9 and 1e-8. lmerTest differentiates numerically, hence 1e-5 in
# its df. nlme stops at an optimum of its own, about 1e-5 of a standard error away; its df is a count, so exact.
TOLERANCES = {
    "lmm_reml.normal": Tolerance(1e-9, 1e-9, 0.0),
    "lmm_ml.normal": Tolerance(1e-9, 1e-9, 0.0),
    "lmm_reml.kr": Tolerance(1e-9, 1e-8, 1e-8),
    "lmm_reml.satterthwaite": Tolerance(1e-9, 1e-9, 1e-5),
    "lmm_reml.between_within_nlme": Tolerance(1e-4, 1e-4, 0.0),
}
ROWS = {
    "lmm_reml.normal": 620,
    "lmm_ml.normal": 310,
    "lmm_reml.kr": 610,
    "lmm_reml.satterthwaite": 620,
    "lmm_reml.between_within_nlme": 466,
}


@pytest.mark.parametrize("name", TOLERANCES)
def test_every_coefficient_has_the_reference_inference(name):
    # nlme gives the intercept the df of the innermost level; we count it as cluster-level, as it is in these designs.
    without = "intercept" if name.endswith("nlme") else ""
    count, off = disagreements("lmm", name, TOLERANCES[name], without)
    assert count == ROWS[name]
    assert off == []


@pytest.mark.parametrize("estimation", ["reml", "ml"])
def test_variance_components_and_likelihood_are_the_reference(estimation):
    count, off = 0, []
    for key, row in reference("lmm").items():
        if key.method != f"lmm_{estimation}" or math.isnan(row["estimate"]):
            continue
        count += 1
        fit = ours("lmm")[Key(key.trial, f"{key.method}.normal", key.model, key.outcome, "arm")]["extra"]
        # lme4's optimum is flat in tau2: 1e-7, or 1e-10 of sigma2 where tau2 is small; sigma2 and loglik 1e-9.
        relative, absolute = {"tau2": (1e-7, 1e-10 * fit["sigma2"]), "icc": (1e-7, 1e-10)}.get(key.term, (1e-9, 0.0))
        if not math.isclose(fit[key.term], row["estimate"], rel_tol=relative, abs_tol=absolute):
            off.append((key, fit[key.term], row["estimate"]))
    assert count == {"reml": 4 * 160, "ml": 4 * 80}[estimation]
    assert off == []


@pytest.mark.parametrize("estimation", ["reml", "ml"])
def test_tau2_is_exactly_zero_where_the_reference_says_boundary(estimation):
    rows = [(k, r) for k, r in reference("lmm").items() if k.method == f"lmm_{estimation}" and k.term == "tau2"]
    expected = {k: "boundary" in r["remarks"] for k, r in rows}
    fits = {k: ours("lmm")[Key(k.trial, f"{k.method}.normal", k.model, k.outcome, "arm")] for k in expected}
    assert {k: fit["extra"]["tau2"] == 0.0 for k, fit in fits.items()} == expected
    assert {k: "boundary" in fit["flags"] for k, fit in fits.items()} == expected
    assert sum(expected.values()) == {"reml": 38, "ml": 31}[estimation]


def test_the_global_optimum_is_found_where_the_likelihood_has_two():
    # bobyqa and nlme stop at the lower maximum of D19; the reference holds the higher one, at tau2 = 0.
    row = reference("lmm")[Key("D19", "lmm_ml", "full", "followup", "loglik")]
    assert "two_minima" in row["remarks"]
    fit = ours("lmm")[Key("D19", "lmm_ml.normal", "full", "followup", "arm")]["extra"]
    assert fit["tau2"] == 0.0
    assert fit["loglik"] == pytest.approx(row["estimate"], rel=1e-9)


@pytest.mark.parametrize(("name", "outcomes"), [("lmm_reml.normal", OUTCOMES), ("lmm_ml.normal", ("followup",))])
def test_the_coefficients_reported_are_those_of_the_reference(name, outcomes):
    # A covariate without variation in a trial (D17 has one practice size) has no row there and a null here. The
    # reference leaves out the intercept of D16, which its shift of the outcome changed.
    theirs = {k for k in reference("lmm") if k.method == name}
    rows = {k: r for k, r in ours("lmm").items() if k.method == name and k.outcome in outcomes}
    mine = {k for k, r in rows.items() if not math.isnan(r["estimate"])}
    assert mine - theirs == {k for k in mine if (k.trial, k.term) == ("D16", "intercept")}
    assert theirs <= mine


def exact_rows():
    """Rows of the 40-digit program: key without the suffix of the method, and the numbers."""
    for row in read("lmm_40digit"):
        yield (row["trial_id"], row["method"], row["model"], row["outcome"], row["term"]), row


EXACT = {
    # quantity: method of ours, our number, the 40-digit column
    "coefficient": (("lmm_reml.normal", "lmm_ml.normal"), "estimate", "estimate"),
    "standard error": (("lmm_reml.normal", "lmm_ml.normal"), "std_error", "std_error"),
    "satterthwaite df": (("lmm_reml.satterthwaite",), "df", "satterthwaite_df"),
    "kenward-roger standard error": (("lmm_reml.kr",), "std_error", "kr_std_error"),
    "kenward-roger df": (("lmm_reml.kr",), "df", "kr_df"),
}


@pytest.mark.parametrize("quantity", EXACT)
def test_inference_equals_40_digit_arithmetic(quantity):
    names, column, theirs = EXACT[quantity]
    count, off = 0, []
    for (trial, estimation, model, outcome, term), row in exact_rows():
        for name in names:
            if not name.startswith(f"{estimation}.") or not row["std_error"]:
                continue
            count += 1
            value, expected = ours("lmm")[Key(trial, name, model, outcome, term)][column], number(row[theirs])
            scale = number(row["std_error"]) if column == "estimate" else expected
            # double precision in sums over some hundred rows; the stated accuracy of both sides is 1e-9
            if not abs(value - expected) <= 1e-9 * scale:
                off.append((trial, name, model, outcome, term, value, expected))
    assert count == (680 if len(names) == 2 else 367)
    assert off == []


def test_variance_components_equal_40_digit_arithmetic():
    fits = {}
    for (trial, estimation, model, outcome, term), row in exact_rows():
        if not row["std_error"]:
            fits.setdefault((trial, estimation, model, outcome), {})[term] = number(row["estimate"])
    off = []
    for (trial, estimation, model, outcome), exact in fits.items():
        mine = ours("lmm")[Key(trial, f"{estimation}.normal", model, outcome, "arm")]["extra"]
        scale = {"tau2": exact["sigma2"], "sigma2": exact["sigma2"], "loglik": abs(exact["loglik"])}
        wrong = [q for q, s in scale.items() if not abs(mine[q] - exact[q]) <= 1e-9 * s]
        off += [(trial, estimation, model, outcome, quantity) for quantity in wrong]
    assert len(fits) == 187
    assert off == []
