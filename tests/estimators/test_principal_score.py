"""Principal-score weighting, against a loop of logistic and weighted regressions by general tools."""

import numpy as np
import pytest
from pydantic import ValidationError
from reference import method
from scipy import optimize
from trials import batch, fit, ragged

from simtrial.flags import text

SCORE = {"received": "received == 1"}


def flags(found, trial=0):
    return set(text(int(found.flags[trial])).split(";")) - {""}


def trial(seed, practices=16, most=6):
    data = ragged(seed, practices, most)
    rng = np.random.default_rng(seed)
    willing = rng.random(len(data["arm"])) < 1 / (1 + np.exp(-0.7 - 0.8 * (data["mansa_baseline"] - 4.5)))
    return {**data, "received": data["arm"] * willing, "willing": willing}


def by_hand(data, adjust, predictors):
    """Weighted least squares with chances from a logistic likelihood that is minimised by BFGS, then polished."""
    ones = np.ones(len(data["arm"]))
    z = np.column_stack([ones, *(data[name] - data[name].mean() for name in predictors)])
    offered, received = data["arm"] == 1, data["received"] == 1

    def criterion(g):
        line = z[offered] @ g
        return (np.logaddexp(0, line) - received[offered] * line).sum()

    g = optimize.minimize(criterion, np.zeros(z.shape[1]), method="BFGS", options={"gtol": 1e-10}).x
    for _ in range(5):
        chance = 1 / (1 + np.exp(-z[offered] @ g))
        information = (z[offered] * (chance * (1 - chance))[:, None]).T @ z[offered]
        g = g + np.linalg.solve(information, z[offered].T @ (received[offered] - chance))
    weight = np.where(offered, received, 1 / (1 + np.exp(-z @ g)))
    x = np.column_stack([ones, data["arm"], *(data[name] for name in adjust)]) * np.sqrt(weight)[:, None]
    return np.linalg.lstsq(x, data["mansa_followup"] * np.sqrt(weight), rcond=None)[0][1]


@pytest.mark.parametrize("adjust", [[], ["age"]])
@pytest.mark.parametrize("predictors", [["mansa_baseline"], ["mansa_baseline", "age"]])
def test_estimate_and_jackknife_by_a_loop(adjust, predictors):
    data = trial(2)
    practices = np.unique(data["practice"])
    j = len(practices)
    without = np.array([
        by_hand({k: v[data["practice"] != g] for k, v in data.items()}, adjust, predictors) for g in practices
    ])  # fmt: skip
    found = fit(batch(data), method("principal-score", adjust=adjust, predictors=predictors, **SCORE))
    assert not found.failed[0], flags(found)
    assert found.estimate[0, 0] == pytest.approx(by_hand(data, adjust, predictors), rel=1e-9)
    expected = np.sqrt((j - 1) / j * ((without - without.mean()) ** 2).sum())
    assert found.std_error[0, 0] == pytest.approx(expected, rel=1e-8)
    assert found.df[0, 0] == j - 2


def test_without_predictors_it_is_the_per_protocol_difference():
    data = trial(3)
    found = fit(batch(data), method("principal-score", adjust=[], **SCORE))
    kept = "arm == 0 or received == 1"
    other = fit(batch(data), method("per-protocol", adjust=[], keep=kept, analysis={"kind": "ols"}))
    assert found.estimate[0, 0] == pytest.approx(other.estimate[0, 0], rel=1e-12)


def test_the_covariates_of_the_analysis_are_the_default_predictors():
    data = trial(4)
    one = fit(batch(data), method("principal-score", adjust=["mansa_baseline"], **SCORE))
    other = fit(
        batch(data), method("principal-score", adjust=["mansa_baseline"], predictors=["mansa_baseline"], **SCORE)
    )
    assert one.estimate == other.estimate
    assert one.std_error == other.std_error


def degenerate():
    data = trial(6)
    arm, n = data["arm"], len(data["arm"])
    yield "nobody", {**data, "received": np.zeros(n)}, {}, {"one_stratum"}, True
    yield "everybody", {**data, "received": arm}, {}, {"one_stratum"}, True
    yield "control", {**data, "received": np.ones(n) * (np.arange(n) % 2)}, {}, {"receipt_in_control"}, True
    first = data["practice"] == data["practice"][arm == 1][0]
    yield "one practice", {**data, "received": arm * first}, {}, {"one_compliant_practice"}, True
    clear = {**data, "age": np.where(data["willing"], 1.0, -1.0) + 0.01 * np.sin(np.arange(n))}
    yield "separated", clear, {"predictors": ["age"]}, {"separation"}, False
    yield "one person each", {**data, "practice": np.arange(n)}, {}, set(), False
    pair = {**data, "practice": arm.astype(int)}
    yield "a practice an arm", pair, {"adjust": []}, {"too_few_clusters"}, True
    yield "missing", {**data, "mansa_followup": np.full(n, np.nan)}, {}, {"no_data"}, True
    double = {**data, "age": 2 * data["mansa_baseline"]}
    yield "collinear", double, {"adjust": ["mansa_baseline", "age"]}, {"aliased"}, False


@pytest.mark.parametrize(
    ("data", "options", "cause", "failed"), [pytest.param(*rest, id=name) for name, *rest in degenerate()]
)
def test_degenerate_trials_end_in_a_status_with_its_cause(data, options, cause, failed):
    found = fit(batch(data), method("principal-score", **{"adjust": ["mansa_baseline"], **SCORE, **options}))
    assert cause <= flags(found), flags(found)
    assert found.failed[0] == failed
    assert np.isnan(found.std_error).all() if failed else np.isfinite(found.std_error).all()


def test_it_is_not_wrapped_by_mi():
    with pytest.raises(ValidationError, match="mi cannot wrap kind 'principal-score'"):
        method("mi", analysis={"kind": "principal-score", **SCORE})


def test_separation_of_many_people_is_seen():
    """Two hundred people offered whom a number separates: a small gap, which coefficients must grow long to tell."""
    data = trial(11, practices=40, most=16)
    known = np.where(data["arm"] == 1, data["received"], np.random.default_rng(1).random(len(data["arm"])) < 0.5)
    clear = {**data, "age": 40 + 10 * (known - 0.5) * np.random.default_rng(2).uniform(1e-3, 1, len(known))}
    found = fit(batch(clear), method("principal-score", adjust=["age"], predictors=["age"], **SCORE))
    assert (data["arm"] == 1).sum() > 150
    assert "separation" in flags(found)
    blurred = {**clear, "age": clear["age"] + np.where(np.arange(len(known)) % 9 == 0, -10 * (known - 0.5), 0.0)}
    assert "separation" not in flags(fit(batch(blurred), method("principal-score", predictors=["age"], **SCORE)))
