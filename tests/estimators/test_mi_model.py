"""What `mi` wraps, what its imputation model holds, and what it says where it cannot impute."""

import json

import numpy as np
import polars as pl
import pytest
from commands import simtrial as run
from pydantic import ValidationError
from reference import ORACLE, method
from trials import batch, fit, ragged

from simtrial.estimators import Method, kinds, register
from simtrial.flags import text
from simtrial.moments.build import moments
from simtrial.run.analyse import analyse

IV = {"kind": "iv", "received": "received == 1"}
ALLOCATION = {"kind": "randomisation-test", "allocation": {"method": "complete"}}
ADJUST = {"adjust": ["mansa_baseline"]}


def lacking(seed=8, share=0.25, **changed):
    """Return a trial of 20 practices in which some have no follow-up."""
    data, rng = ragged(seed, practices=20), np.random.default_rng(seed)
    gone = rng.random(len(data["arm"])) < share
    return {**data, "mansa_followup": np.where(gone, np.nan, data["mansa_followup"]), **changed}


def imputer(observed, **options):
    mi = method("mi", **{**ADJUST, "m": 3, **options})
    return mi.engine().fit(mi.incomplete(observed, moments(observed, mi.spec())))


def said(found):
    return text(int(found.flags[0])).split(";"), str(found.notes["message"][0])


# --- what can be wrapped ---

REFUSED = [
    ({"kind": "wild-bootstrap"}, "kind 'wild-bootstrap'"),
    (ALLOCATION, "kind 'randomisation-test'"),
    ({**ALLOCATION, "statistic": "score"}, "kind 'randomisation-test'"),
    ({**IV, "ci": "anderson-rubin"}, "kind 'iv' with ci = 'anderson-rubin'"),
    ({**IV, "ci": "anderson-rubin", "level_of_analysis": "cluster"}, "kind 'iv' with ci = 'anderson-rubin'"),
    ({**IV, "ci": "wild-bootstrap"}, "kind 'iv' with ci = 'wild-bootstrap'"),
    ({"kind": "icc"}, "kind 'icc'"),
    ({"kind": "correlation"}, "kind 'correlation'"),
    ({"kind": "event-rate"}, "kind 'event-rate'"),
    ({"kind": "mi", "analysis": {"kind": "lmm"}}, "kind 'lmm' inside 'mi'"),
]
AROUND = [{"kind": "per-protocol", "keep": "age >= 30", "analysis": inner} for inner, _ in REFUSED[:4]]


@pytest.mark.parametrize(("analysis", "named"), REFUSED, ids=lambda value: str(value)[:60])
def test_what_is_no_t_interval_of_an_effect_is_refused(analysis, named):
    with pytest.raises(ValidationError) as raised:
        method("mi", analysis=analysis, **ADJUST)
    refused = str(raised.value)
    assert f"mi cannot wrap {named}" in refused
    for kind in ("lmm", "ols", "gee", "cluster-means", "iv (ci = 'wald')", "clda", "g-computation"):
        assert kind in refused
    assert "wild-bootstrap," not in refused


@pytest.mark.parametrize("analysis", AROUND, ids=lambda value: value["analysis"]["kind"])
def test_nor_does_it_become_one_per_protocol(analysis):
    with pytest.raises(ValidationError, match="inside 'per-protocol'"):
        method("mi", analysis=analysis, **ADJUST)


def test_per_protocol_goes_inside():
    with pytest.raises(ValidationError, match="per-protocol goes inside mi"):
        method("per-protocol", keep="age >= 30", analysis={"kind": "mi", "analysis": {"kind": "lmm"}}, **ADJUST)


EVERY = {
    "as-treated": {"kind": "as-treated", "received": "received == 1", "analysis": {"kind": "lmm"}},
    "ipw-per-protocol": {"kind": "ipw-per-protocol", "keep": "age >= 30"},
    "iv": IV,
    "per-protocol": {"kind": "per-protocol", "keep": "age >= 30", "analysis": {"kind": "lmm"}},
}


@pytest.mark.parametrize("kind", [k for k, m in kinds().items() if m.t_interval and m.effect])
def test_every_other_kind_can_be_wrapped(kind):
    found = fit(batch(lacking()), method("mi", m=3, analysis=EVERY.get(kind, {"kind": kind}), **ADJUST))
    assert not found.failed[0]
    assert found.std_error[0, 0] > 0


def test_an_interval_of_another_kind_from_a_plug_in_is_no_result(request):
    from simtrial import estimators

    lmm = kinds()["lmm"]
    request.addfinalizer(lambda: estimators.METHODS.found.pop("lopsided", None))

    @register("lopsided")
    class Lopsided(Method):
        kind: str = "lopsided"

        def fit(self, batch, moments, rng, every_term=False):
            from dataclasses import replace

            found = lmm(kind="lmm", name="x", adjust=self.adjust).fit(batch, moments, rng, every_term)
            return replace(found, ci_upper=found.ci_upper + 0.1 * found.std_error)

    assert run("list").code == 0  # a method without a docstring, too
    found = fit(batch(lacking()), method("mi", m=3, analysis={"kind": "lopsided"}, **ADJUST))
    assert found.failed[0]
    assert "invalid_result" in text(int(found.flags[0]))


# --- what the imputation model holds ---


def test_receipt_is_in_the_model_of_the_outcome():
    """Outcomes follow receipt exactly, and those without one are drawn accordingly."""
    data = ragged(3, practices=20)
    rng, people = np.random.default_rng(3), len(data["arm"])
    gone = rng.random(people) < 0.3
    y = 5 * data["received"] + data["mansa_baseline"] + 0.01 * rng.normal(size=people)
    observed = batch({**data, "mansa_followup": np.where(gone, np.nan, y)})
    filled = imputer(observed, analysis=IV).complete(np.random.default_rng(1)).at("mansa_followup")
    # an error of SD 0.01 here and there, and that of 100 or more rows; without receipt it would be 5 * 0.45
    assert np.abs(filled - y)[gone].max() < 0.1


@pytest.mark.parametrize("kind", ["arm", "nobody", "all but one region"])
def test_receipt_that_arm_or_a_covariate_determines_is_dropped_without_failing(kind):
    data = lacking(5)
    arm = data["arm"]
    region = np.where(arm * (data["practice"] % 5 == 0) == 1, "b", "a")  # found in the intervention arm only
    received = {"arm": arm, "nobody": 0 * arm, "all but one region": arm * (region == "a")}[kind]
    observed = batch({**data, "received": received, "region": region})
    found = imputer(observed, analysis=IV, adjust=["mansa_baseline", "region"])
    assert not found.failed[0]
    assert found.missing[-1].fitted.kept[-1, 0]  # arm stays
    assert np.isfinite(found.complete(np.random.default_rng(1)).at("mansa_followup")).all()
    pooled = fit(observed, method("mi", m=3, analysis=IV, adjust=["mansa_baseline"]))
    assert pooled.failed[0] == (kind == "nobody")
    assert ("no_first_stage" in text(int(pooled.flags[0]))) == (kind == "nobody")


def test_blank_receipt_is_neither_yes_nor_no():
    data = lacking(6)
    blank = (np.random.default_rng(6).random(len(data["arm"])) < 0.15) & (data["arm"] == 1)
    received = np.where(blank, np.nan, data["received"])
    observed = batch({**data, "received": received})
    found = fit(observed, method("mi", m=3, analysis=IV, **ADJUST))
    assert not found.failed[0]
    assert "blank_receipt" in text(int(found.flags[0]))
    assert found.n_used[0] == np.sum(~blank)
    assert found.extras["n_unknown"][0] == np.sum(blank)  # with an outcome, or in need of one
    # as if those people were not in the file
    there = {name: values[~blank] for name, values in {**data, "received": received}.items()}
    alone = fit(batch(there), method("mi", m=3, analysis=IV, **ADJUST))
    assert found.estimate[0] == pytest.approx(alone.estimate[0], rel=1e-9)  # the same rows, the same draws
    assert found.std_error[0] == pytest.approx(alone.std_error[0], rel=1e-9)


@pytest.mark.parametrize(("option", "flagged"), [("keep", True), ("subset", False)])
def test_people_who_may_or_may_not_be_analysed_are_left_out_and_counted(option, flagged):
    data = lacking(6)
    blank = np.random.default_rng(6).random(len(data["arm"])) < 0.15
    observed = batch({**data, "age": np.where(blank, np.nan, data["age"])})
    lmm = {"kind": "lmm"}
    inner = (
        {"kind": "per-protocol", "keep": "age >= 35", "analysis": lmm} if flagged else {**lmm, "subset": "age >= 35"}
    )
    found = fit(observed, method("mi", m=3, analysis=inner, **ADJUST))
    assert not found.failed[0]
    assert ("blank_receipt" in text(int(found.flags[0]))) == flagged
    assert found.extras["n_unknown"][0] == blank.sum()
    assert found.n_used[0] == np.sum(~blank & (data["age"] >= 35))


@pytest.mark.parametrize(
    "analysis",
    [
        {"kind": "per-protocol", "keep": "age >= 35", "analysis": {"kind": "lmm"}},
        {"kind": "lmm", "subset": "age >= 35"},
        {"kind": "per-protocol", "keep": "age >= 35", "analysis": IV},
    ],
    ids=lambda analysis: str(analysis)[:40],
)
def test_people_who_are_not_analysed_change_nothing(analysis):
    data = lacking(7)
    kept = data["age"] >= 35
    rng = np.random.default_rng(1)
    other = {**data, "mansa_followup": np.where(kept, data["mansa_followup"], rng.normal(50, 20, len(kept)))}
    other["mansa_baseline"] = np.where(kept, data["mansa_baseline"], rng.normal(50, 20, len(kept)))
    first, second = (fit(batch(d), method("mi", m=3, analysis=analysis, **ADJUST)) for d in (data, other))
    assert not first.failed[0]
    assert first.estimate[0, 0] == pytest.approx(second.estimate[0, 0], rel=1e-10)
    assert first.std_error[0, 0] == pytest.approx(second.std_error[0, 0], rel=1e-10)


@pytest.mark.parametrize(
    "options",
    [{"outcome": "change", "adjust": []}, {"analysis": {"kind": "clda"}, "adjust": ["mansa_baseline"]}],
    ids=str,
)
def test_a_baseline_that_is_part_of_the_outcome_is_in_the_model(options):
    data, rng = ragged(9, practices=20), np.random.default_rng(9)
    y = 2 * data["mansa_baseline"] + 0.01 * rng.normal(size=len(data["arm"]))
    gone = rng.random(len(y)) < 0.3
    observed = batch({**data, "mansa_followup": np.where(gone, np.nan, y)})
    filled = imputer(observed, **{"analysis": {"kind": "lmm"}, **options}).complete(np.random.default_rng(1))
    assert np.abs(filled.at("mansa_followup") - y)[gone].max() < 0.1  # without it 2 * 0.9


def test_products_with_arm_are_in_the_model_of_an_analysis_that_has_them():
    data, rng = ragged(10, practices=20), np.random.default_rng(10)
    people, arm = len(data["arm"]), data["arm"]
    y = data["mansa_baseline"] * (1 - 3 * arm) + arm * (data["size"] == "small") + 0.01 * rng.normal(size=people)
    gone, no_baseline = rng.random(people) < 0.3, rng.random(people) < 0.1
    observed = batch(
        {
            **data,
            "mansa_followup": np.where(gone, np.nan, y),
            "mansa_baseline": np.where(no_baseline, np.nan, data["mansa_baseline"]),
        }
    )
    analysis = {"kind": "g-computation", "by_arm": True}
    filled = imputer(observed, analysis=analysis, adjust=["mansa_baseline", "size"]).complete(np.random.default_rng(1))
    assert np.abs(filled.at("mansa_followup") - y)[gone & ~no_baseline].max() < 0.1
    # a baseline that was drawn gives a product that goes with it
    x, both = filled.at("mansa_baseline"), gone & no_baseline
    expected = x * (1 - 3 * arm) + arm * (data["size"] == "small")
    assert both.any()
    assert np.abs(filled.at("mansa_followup") - expected)[both].max() < 0.1


def test_an_ordinary_analysis_adds_nothing_to_the_model():
    found = imputer(batch(lacking()), analysis={"kind": "lmm"}, auxiliary=["age"])
    assert found.missing[-1].spec.adjust == ("mansa_baseline", "age")


# --- what cannot be imputed ---


def few_seen(data):
    """Outcomes of the first person of either arm, and of one more."""
    chosen = [np.flatnonzero(data["arm"] == arm)[:count] for arm, count in ((0, 1), (1, 2))]
    seen = np.isin(np.arange(len(data["arm"])), np.concatenate(chosen))
    return np.where(seen, np.nan_to_num(data["mansa_followup"], nan=4.0), np.nan)


def blank_in(arm, name, where):
    return {**where, name: np.where(where["arm"] == arm, np.nan, where[name])}


@pytest.mark.parametrize("arm", [0, 1])
@pytest.mark.parametrize("name", ["age", "list_size"])
def test_an_auxiliary_that_is_blank_in_an_arm_is_named_with_the_arm(name, arm):
    found = fit(
        batch(blank_in(arm, name, lacking())), method("mi", m=3, analysis={"kind": "lmm"}, auxiliary=[name], **ADJUST)
    )
    flags, message = said(found)
    assert found.failed[0]
    assert "imputation_failed" in flags
    assert message == f"auxiliary '{name}' is blank throughout the {('control', 'intervention')[arm]} arm"


def test_also_where_the_other_arm_needs_no_imputation():
    data = blank_in(0, "age", ragged(4, practices=20))
    gone = (np.arange(len(data["arm"])) % 4 == 0) & (data["arm"] == 0)
    data["mansa_followup"] = np.where(gone, np.nan, data["mansa_followup"])
    found = fit(batch(data), method("mi", m=3, analysis={"kind": "lmm"}, auxiliary=["age"], **ADJUST))
    assert found.failed[0]
    assert said(found)[1] == "auxiliary 'age' is blank throughout the control arm"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (lambda d: {**d, "age": np.full(len(d["arm"]), np.nan)}, "auxiliary 'age' is blank throughout both arms"),
        (
            lambda d: blank_in(1, "mansa_followup", d),
            "outcome 'mansa_followup' is blank throughout the intervention arm",
        ),
        (lambda d: blank_in(0, "mansa_baseline", d), "baseline 'mansa_baseline' is blank throughout the control arm"),
        (
            lambda d: {**d, "mansa_followup": np.full(len(d["arm"]), np.nan)},
            "outcome 'mansa_followup' is blank throughout both arms",
        ),
        (
            lambda d: {**d, "mansa_followup": np.where(np.isnan(d["mansa_followup"]), np.nan, 4.0)},
            "the imputation model of 'mansa_followup' cannot be fitted: it is constant given the covariates",
        ),
        (
            lambda d: {**d, "mansa_followup": np.where(np.isnan(d["mansa_followup"]), np.nan, np.sin(d["practice"]))},
            "the imputation model of 'mansa_followup' cannot be fitted: it does not vary within practices",
        ),
        (
            lambda d: {**d, "age": 3 - d["arm"]},
            "the imputation model of 'mansa_followup' cannot be fitted: arm is collinear with the covariates",
        ),
        (
            lambda d: {**d, "mansa_followup": few_seen(d)},
            "the imputation model of 'mansa_followup' cannot be fitted: no more people",
        ),
    ],
)
def test_why_a_trial_could_not_be_imputed(changed, message):
    data = changed(lacking())
    adjust = [] if "not vary within" in message else ["mansa_baseline"]
    auxiliary = [] if "not vary within" in message else ["age"]
    mi = method("mi", m=3, analysis={"kind": "lmm"}, auxiliary=auxiliary, adjust=adjust)
    found = fit(batch(data), mi)
    flags, words = said(found)
    assert found.failed[0]
    assert "imputation_failed" in flags
    assert np.isnan(found.estimate[0, 0])
    assert words.startswith(message)


def test_the_message_reaches_the_row():
    observed = batch(blank_in(0, "age", lacking()))
    frame = analyse(["t"], observed, [method("mi", m=3, analysis={"kind": "lmm"}, auxiliary=["age"], **ADJUST)])
    assert json.loads(frame["extra"][0])["message"] == "auxiliary 'age' is blank throughout the control arm"


def test_a_trial_that_fails_costs_no_other():
    good, bad = lacking(1), blank_in(0, "age", lacking(2))
    both = {k: np.concatenate([good[k], bad[k]]) for k in good}
    both["trial"] = np.repeat([0, 1], [len(good["arm"]), len(bad["arm"])])
    mi = method("mi", m=3, analysis={"kind": "lmm"}, auxiliary=["age"], **ADJUST)
    found = fit(batch(both), mi)
    assert found.failed.tolist() == [False, True]
    assert list(found.notes["message"]) == ["", "auxiliary 'age' is blank throughout the control arm"]


def test_one_observed_person_in_every_practice_leaves_the_icc_to_its_prior():
    data = ragged(12, practices=24)
    first = np.unique(data["practice"], return_index=True)[1]
    seen = np.isin(np.arange(len(data["arm"])), first)
    observed = batch({**data, "mansa_followup": np.where(seen, data["mansa_followup"], np.nan)})
    mi = method("mi", m=5, analysis={"kind": "lmm"}, **ADJUST)
    table = mi.engine().fit(mi.incomplete(observed, moments(observed, mi.spec()))).missing[-1].table
    # H = (1 + gamma) I: nothing in the likelihood depends on rho, and 200 equal cells hold 1/200 each
    assert table.mass[:, 0] == pytest.approx(np.full(200, 1 / 200), rel=1e-9)
    found = fit(observed, mi)
    assert not found.failed[0]
    assert "tau2_not_identified" in text(int(found.flags[0])).split(";")


@pytest.mark.parametrize("scale", [1e-160, 1e-40, 1e40, 1e160])
@pytest.mark.parametrize("analysis", [{"kind": "lmm"}, {"kind": "ols"}, IV], ids=lambda a: a["kind"])
def test_outcomes_of_extreme_scale_end_in_a_status(analysis, scale):
    data = lacking()
    mi = method("mi", m=3, analysis=analysis, **ADJUST)
    plain = fit(batch(data), mi)
    with np.errstate(all="ignore"):
        found = fit(batch({**data, "mansa_followup": scale * data["mansa_followup"]}), mi)
    if found.failed[0]:
        assert "imputation_failed" in said(found)[0]
        assert scale in (1e-160, 1e160)
    else:
        assert found.estimate[0, 0] / scale == pytest.approx(plain.estimate[0, 0], rel=1e-9)
        assert found.std_error[0, 0] / scale == pytest.approx(plain.std_error[0, 0], rel=1e-9)


def test_the_refusal_comes_with_the_file(tmp_path):
    file = tmp_path / "methods.toml"
    file.write_text(
        '[[methods]]\nname = "x"\nkind = "mi"\nadjust = []\n'
        'analysis = { kind = "iv", received = "sessions >= 6", ci = "anderson-rubin" }\n'
    )
    ran = run("analyse", ORACLE / "data" / "D01_partners.csv", "--methods", file)
    assert ran.code == 2
    assert "methods.toml:1: methods[1]: mi cannot wrap kind 'iv' with ci = 'anderson-rubin'" in ran.err


def test_the_table_says_what_could_not_be_imputed(tmp_path):
    data = pl.read_csv(ORACLE / "data" / "D01_partners.csv")
    data = data.with_columns(pl.when(pl.col("arm") == 1).then(pl.col("sessions")).alias("sessions"))
    data.write_csv(tmp_path / "trial.csv")
    (tmp_path / "methods.toml").write_text(
        '[[methods]]\nname = "x"\nkind = "mi"\nadjust = []\nauxiliary = ["sessions"]\nanalysis = { kind = "lmm" }\n'
    )
    ran = run("analyse", tmp_path / "trial.csv", "--methods", tmp_path / "methods.toml")
    assert ran.code == 0
    assert "x: auxiliary 'sessions' is blank throughout the control arm" in " ".join(ran.out.split())
