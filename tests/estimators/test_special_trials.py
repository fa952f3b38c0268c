"""The awkward data sets of ``oracle/``: what each must come out as, with the flags that say so."""

import pytest
from reference import Key, ours

BOUNDARY = {
    *((trial, model) for trial in ("D03", "D04", "D06", "D10") for model in ("crude", "partial", "full")),
    *(("D25", model) for model in ("partial", "full")),
    *(("D15", model) for model in ("crude", "partial")),
    ("D02", "crude"),
    ("D21", "crude"),
    ("D22", "full"),
}


def reml(suffix):
    """Arm rows of one REML method on follow-up, by trial and model."""
    name = f"lmm_reml.{suffix}"
    return {
        (k.trial, k.model): row
        for k, row in ours("lmm").items()
        if (k.method, k.outcome, k.term) == (name, "followup", "arm")
    }


def test_the_trials_on_the_boundary_are_those_listed():
    assert {key for key, row in reml("normal").items() if row["extra"].get("tau2") == 0.0} == BOUNDARY
    assert {key for key, row in reml("normal").items() if "boundary" in row["flags"]} == BOUNDARY


@pytest.mark.parametrize(("trial", "model"), sorted(BOUNDARY))
def test_on_the_boundary_the_mixed_model_is_least_squares(trial, model):
    plain = ours("ols")[Key(trial, "ols.classical", model, "followup", "arm")]
    mixed, observed_df, kenward = (reml(s)[trial, model] for s in ("normal", "satterthwaite", "kr"))
    # equal in exact arithmetic; both come from sums over a few hundred rows
    assert mixed["estimate"] == pytest.approx(plain["estimate"], rel=0, abs=1e-11 * plain["std_error"])
    assert mixed["std_error"] == pytest.approx(plain["std_error"], rel=1e-11)
    assert observed_df["df"] == plain["df"]
    assert 0 < kenward["df"] < plain["df"] / 1.5


def test_a_saturated_mixed_model_is_refused():
    for (trial, model), row in reml("normal").items():
        assert (row["status"] == "failed") == ((trial, model) == ("D27", "full"))
        assert ("tau2_not_identified" in row["flags"]) == ((trial, model) == ("D27", "full"))


def test_a_saturated_least_squares_fit_is_flagged():
    row = ours("ols")[Key("D27", "ols.CR2.satterthwaite", "full", "followup", "arm")]
    assert (row["status"], row["flags"]) == ("ok", frozenset({"leverage_one"}))


def test_four_practices_in_the_full_model_leave_about_one_df():
    # one practice size only: its coefficient is blank, the fit stands; 4 practices less 3 cluster-level coefficients
    row = reml("between_within_nlme")["D17", "full"]
    size = ours("lmm")[Key("D17", "lmm_reml.between_within_nlme", "full", "followup", "practice_size=large")]
    assert (row["status"], row["df"]) == ("ok", 1.0)
    assert size["estimate"] != size["estimate"]
    assert "aliased" not in row["flags"]


def test_an_arm_of_one_practice_is_flagged_by_every_method():
    rows = [row for group in ("lmm", "ols", "cace") for k, row in ours(group).items() if k.trial == "D18"]
    assert {row["status"] for row in rows} == {"ok"}
    assert all("too_few_clusters" in row["flags"] for row in rows)


@pytest.mark.parametrize("trial", ["D18", "D24"])
def test_where_receipt_is_allocation_the_complier_effect_is_the_least_squares_one(trial):
    for model in ("crude", "partial", "full"):
        for se in ("classical", "CR2"):
            suffix = se if se == "classical" else f"{se}.satterthwaite"
            plain = ours("ols")[Key(trial, f"ols.{suffix}", model, "followup", "arm")]
            ratio = ours("cace")[Key(trial, f"cace_sessions6.2sls.{suffix}", model, "followup", "received")]
            for column in ("estimate", "std_error", "df", "ci_lower", "ci_upper"):
                scale = plain["df"] if column == "df" else plain["std_error"]
                assert ratio[column] == pytest.approx(plain[column], rel=0, abs=1e-9 * scale)
            assert "first_stage_f" not in ratio["extra"]  # infinite
            assert "weak_instrument" not in ratio["flags"]


def test_a_weak_instrument_is_flagged():
    rows = [row for k, row in ours("cace").items() if k.trial == "D11" and k.term == "received"]
    assert all("weak_instrument" in row["flags"] for row in rows)


@pytest.mark.parametrize(("trial", "categories"), [("D20", 2), ("D01", 3), ("D17", 1)])
def test_only_the_regions_present_have_coefficients(trial, categories):
    fit = (trial, "ols.classical", "full", "followup")
    terms = {k.term: row for k, row in ours("ols").items() if (k.trial, k.method, k.model, k.outcome) == fit}
    regions = [row for term, row in terms.items() if term.startswith("region=")]
    assert sum(row["estimate"] == row["estimate"] for row in regions) == categories
    assert all("aliased" not in row["flags"] for row in regions)
