"""As-treated analyses: receipt in place of arm, against least squares written out, and their limit."""

import numpy as np
import pytest
from pydantic import ValidationError
from reference import FILES, MODELS, RECEIVED, method
from simulated import CONTINUOUS, partners
from trials import batch, fit, ragged

from simtrial.estimands import Estimand, true_values
from simtrial.estimators import method_class
from simtrial.files.read_trials import read_trials
from simtrial.flags import text
from simtrial.generate import simulate
from simtrial.moments.build import moments

ANALYSES = [{"kind": "ols", "se": "CR1S", "df": "clusters-1"}, {"kind": "ols"}, {"kind": "lmm"}, {"kind": "gee"}]


def as_treated(analysis, **options):
    return method("as-treated", analysis=analysis, **{"received": "received == 1"} | options)


def crossing(seed=3):
    """A trial in which some of either arm receive."""
    data = ragged(seed, practices=16)
    rng = np.random.default_rng([9, seed])
    data["received"] = (rng.random(len(data["arm"])) < 0.2 + 0.5 * data["arm"]) * 1.0
    return data


def written_out(x, y, practice):
    """Coefficient of the last column of least squares, and its standard error CR1S: (X'X)^-1 sum s_g s_g' (X'X)^-1."""
    n, p = x.shape
    inverse = np.linalg.inv(x.T @ x)
    beta = inverse @ x.T @ y
    scores = [x[practice == g].T @ (y - x @ beta)[practice == g] for g in np.unique(practice)]
    j = len(scores)
    variance = inverse @ sum(np.outer(s, s) for s in scores) @ inverse * j / (j - 1) * (n - 1) / (n - p)
    return beta[-1], np.sqrt(variance[-1, -1])


@pytest.mark.parametrize("prefix", RECEIVED)
@pytest.mark.parametrize("model", ["crude", "partial"])
def test_every_reference_trial_by_least_squares_written_out(prefix, model):
    """Both definitions of receipt on all 27 files, each alone; D16's offset and D15's scale leave fewer digits."""
    asked = as_treated(ANALYSES[0], received=RECEIVED[prefix], adjust=MODELS[model])
    ids, observed = read_trials(FILES, asked.reads() | {"mansa_baseline"}, {})
    found, compared = fit(observed, asked), 0
    column, least = RECEIVED[prefix].split(" >= ")
    for trial, name in enumerate(ids):
        own = observed.only(trial)
        columns = {c: own.at(c) for c in ("mansa_followup", "mansa_baseline", column)}
        rows = ~np.isnan(columns["mansa_followup"])
        if model == "partial":
            rows &= ~np.isnan(columns["mansa_baseline"])
        received = (columns[column][rows] >= float(least)) * 1.0
        if received.min() == received.max():
            assert found.failed[trial]
            assert "same_receipt" in text(int(found.flags[trial]))
            continue
        covariates = [columns[c][rows] - columns[c][rows].mean() for c in MODELS[model]]
        y = columns["mansa_followup"][rows]
        x = np.column_stack([np.ones(rows.sum()), *covariates, received])
        estimate, std_error = written_out(x, y - y.mean(), own.index.participant_practice[rows])
        assert found.std_error[0, trial] == pytest.approx(std_error, rel=1e-8), name
        assert found.estimate[0, trial] == pytest.approx(estimate, abs=1e-8 * std_error), name
        compared += 1
    assert compared >= 25


@pytest.mark.parametrize("analysis", ANALYSES, ids=str)
def test_it_is_the_analysis_with_receipt_for_arm(analysis):
    data = crossing()
    mine = fit(batch(data), as_treated(analysis, adjust=["mansa_baseline"]), every_term=True)
    theirs = fit(
        batch({**data, "arm": data["received"]}), method(**analysis, adjust=["mansa_baseline"]), every_term=True
    )
    assert mine.terms == ("received", *theirs.terms[1:])
    for name in ("estimate", "std_error", "df", "ci_lower", "ci_upper", "p_value"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))


def test_where_receipt_is_the_arm_it_is_the_analysis_by_allocation():
    data = ragged(4)
    for analysis in ANALYSES:
        mine = fit(batch({**data, "received": data["arm"]}), as_treated(analysis, adjust=["mansa_baseline"]))
        theirs = fit(batch(data), method(**analysis, adjust=["mansa_baseline"]))
        assert mine.estimate[0] == pytest.approx(theirs.estimate[0], rel=1e-12)
        assert mine.std_error[0] == pytest.approx(theirs.std_error[0], rel=1e-12)
        assert mine.df[0] == pytest.approx(theirs.df[0], rel=1e-9)


def test_an_arm_in_a_condition_is_the_allocated_one():
    data = crossing()
    chosen = data["arm"] == 1
    mine = fit(batch(data), as_treated({"kind": "ols"}, adjust=[], subset="arm == 1"))
    theirs = fit(batch({k: v[chosen] for k, v in data.items()}), as_treated({"kind": "ols"}, adjust=[]))
    assert mine.estimate[0, 0] == pytest.approx(theirs.estimate[0, 0], rel=1e-12)
    assert mine.n_used[0] == theirs.n_used[0] == chosen.sum()


@pytest.mark.parametrize("analysis", ANALYSES[1:], ids=str)
def test_unknown_receipt_is_left_out_counted_and_flagged(analysis):
    data = crossing()
    blank = np.arange(len(data["arm"])) % 5 == 0
    mine = fit(batch({**data, "received": np.where(blank, np.nan, data["received"])}), as_treated(analysis, adjust=[]))
    theirs = fit(batch({k: v[~blank] for k, v in data.items()}), as_treated(analysis, adjust=[]))
    assert mine.estimate[0, 0] == pytest.approx(theirs.estimate[0, 0], rel=1e-12)
    assert (mine.extras["n_unknown"][0], theirs.extras["n_unknown"][0]) == (blank.sum(), 0)
    assert "blank_receipt" in text(int(mine.flags[0]))


@pytest.mark.parametrize("analysis", ANALYSES, ids=str)
@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"received": 0.0}, "same_receipt"),
        ({"received": 1.0}, "same_receipt"),
        ({"received": np.nan}, "no_data"),
        ({"mansa_followup": np.nan}, "no_data"),
    ],
    ids=str,
)
def test_nobody_or_everybody_received(analysis, changed, cause):
    data = crossing()
    data |= {name: np.full(len(data["arm"]), value) for name, value in changed.items()}
    found = fit(batch(data), as_treated(analysis, adjust=["mansa_baseline"]))
    assert found.failed[0]
    assert cause in text(int(found.flags[0])).split(";")
    assert not {"arm_aliased", "one_arm"} & set(text(int(found.flags[0])).split(";")) or cause == "no_data"
    assert np.isnan(found.estimate[0, 0])


def test_one_arm_alone_is_no_obstacle():
    """Whoever was allocated to what: people who received can be compared with those who did not within one arm."""
    data = crossing()
    data["arm"][:] = 1.0
    found = fit(batch(data), as_treated({"kind": "lmm"}, adjust=["mansa_baseline"]))
    assert not found.failed[0]
    assert text(int(found.flags[0])) in ("", "boundary")


def test_receipt_in_one_practice_alone_is_flagged():
    data = crossing()
    data["received"] = (data["practice"] == data["practice"].max()) * 1.0
    found = fit(batch(data), as_treated({"kind": "ols"}, adjust=[]))
    assert {"too_few_clusters", "leverage_one"} <= set(text(int(found.flags[0])).split(";"))


@pytest.mark.parametrize(
    ("analysis", "said"),
    [
        ({"kind": "cluster-means"}, "wrap one of lmm, ols, gee"),
        ({"kind": "mi", "analysis": {"kind": "lmm"}}, "goes inside mi"),
        ({"kind": "lmm", "heteroscedastic": "both"}, "heteroscedastic = 'none'"),
    ],
    ids=str,
)
def test_what_cannot_be_wrapped_is_refused(analysis, said):
    with pytest.raises(ValidationError, match=said):
        as_treated(analysis, adjust=[])


def test_inside_mi_receipt_is_in_the_imputation_model():
    data = crossing()
    data["mansa_followup"][::6] = np.nan
    inner = {"kind": "as-treated", "received": "received == 1", "analysis": {"kind": "lmm"}}
    asked = method_class("mi").model_validate(
        {"kind": "mi", "name": "m", "response": "mansa", "m": 3, "analysis": inner, "adjust": ["mansa_baseline"]}
    )
    assert asked.imputation_model().received == "received == 1"
    found = fit(batch(data), asked)
    assert not found.failed[0]
    assert found.n_used[0] == len(data["arm"])
    assert found.terms == ("received",)


@pytest.mark.parametrize("adjust", [[], ["mansa_baseline"]], ids=str)
def test_it_tends_to_the_as_treated_limit(adjust):
    """Trials of 1,000 practices: bias O(1/J) is far below the Monte Carlo error, which is the tolerance (4 of it)."""
    changed = partners({
        "practices": {"number": 1000},
        "delivery": {"engagement_baseline": 0.5},
        "outcomes.mansa": {**CONTINUOUS, "effect": 0.5, "effect_among": "sessions >= 6", "engagement_correlation": 0.4},
    })  # fmt: skip
    mechanism = {stage: step for stage, step in changed.items() if stage not in ("dropout", "missingness")}
    received = "sessions >= 6"
    wanted = Estimand(name="at", kind="as-treated", response="mansa", received=received, adjust=adjust or None)
    (limit,) = true_values([wanted], mechanism, 5, "")
    asked = as_treated({"kind": "ols"}, received=received, adjust=adjust)
    observed = simulate(mechanism, 60, 11, "", 0).observed()
    found = asked.fit(observed, moments(observed, asked.spec()), None)
    error = np.hypot(found.estimate[0].std(ddof=1) / np.sqrt(60), limit.mcse)
    assert abs(found.estimate[0].mean() - limit.value) < 4 * error
    assert abs(limit.value - 0.5) > 10 * error  # and it is not the effect
