"""The mixture of compliers and never-takers, against a dense likelihood maximised by a general optimiser."""

import numpy as np
import pytest
from pydantic import ValidationError
from reference import method
from scipy import optimize
from trials import batch, fit, ragged
from twins.designs import draw
from twins.product import analysed, observed

from simtrial.flags import text

V = np.linspace(-8, 8, 401)
MIXTURE = {"received": "received == 1"}


def flags(found, trial=0):
    return set(text(int(found.flags[trial])).split(";")) - {""}


def trial(seed, practices=16, most=6):
    """A trial of which receipt goes with the outcome."""
    data = ragged(seed, practices, most)
    rng = np.random.default_rng(seed)
    willing = rng.random(len(data["arm"])) < 1 / (1 + np.exp(-1.0 - 0.5 * (data["mansa_baseline"] - 4.5)))
    y = data["mansa_followup"] + 0.8 * willing + 0.5 * data["arm"] * willing
    return {**data, "received": data["arm"] * willing, "mansa_followup": y, "willing": willing}


def dense(parameters, data, exclusion, predicted):
    """Minus the log-likelihood: mixtures multiplied over the people of a practice, then summed over 401 points of v."""
    mu_c, mu_n, theta, slope, tau, log_sigma, g0, *rest = parameters
    eta = rest.pop(0) if not exclusion else 0.0
    g1 = rest.pop(0) if predicted else 0.0
    x, arm, y = data["mansa_baseline"] - data["mansa_baseline"].mean(), data["arm"], data["mansa_followup"]
    prior, sigma = 1 / (1 + np.exp(-g0 - g1 * x)), np.exp(log_sigma)

    def density(mean):
        left = (y - mean - slope * x)[:, None] - tau * V
        return np.exp(-0.5 * left**2 / sigma**2) / sigma / np.sqrt(2 * np.pi)

    takers, others = prior[:, None] * density(mu_c + theta * arm), (1 - prior)[:, None] * density(mu_n + eta * arm)
    received = data["received"][:, None] == 1
    each = np.where(arm[:, None] == 1, np.where(received, takers, others), takers + others)
    total = 0.0
    for practice in np.unique(data["practice"]):
        values = each[data["practice"] == practice].prod(axis=0) * np.exp(-0.5 * V**2) / np.sqrt(2 * np.pi)
        total += np.log(values.sum() * (V[1] - V[0]))
    return -total


@pytest.mark.parametrize("exclusion", [True, False])
@pytest.mark.parametrize("predicted", [False, True])
def test_maximum_and_information_of_a_dense_likelihood(exclusion, predicted):
    """From a point off the maximum, to 1e-3 of a standard error; the error from differences of the likelihood."""
    data = trial(2)
    options = {"exclusion": exclusion, "predictors": ["mansa_baseline"] if predicted else []}
    found = fit(batch(data), method("cace-mixture", adjust=["mansa_baseline"], starts=9, **MIXTURE, **options))
    assert not found.failed[0], flags(found)
    extras = {name: values[0] for name, values in found.extras.items()}
    theta, error = found.estimate[0, 0], found.std_error[0, 0]
    offered = data["arm"] == 1
    base = data["mansa_followup"][~offered].mean()
    start = [
        base + 0.3,
        base - 0.5,
        theta + 0.2 * error,
        0.6,
        np.sqrt(extras["tau2"]),
        0.5 * np.log(extras["sigma2"]),
        1.0,
    ]
    start += ([] if exclusion else [extras["never_taker_effect"]]) + ([0.5] if predicted else [])
    start[0] = start[1] + extras["class_difference"]

    def criterion(parameters):
        return dense(parameters, data, exclusion, predicted)

    best = optimize.minimize(criterion, start, method="BFGS", options={"gtol": 1e-6})
    assert best.fun == pytest.approx(-extras["loglik"], abs=1e-6)
    assert best.x[2] == pytest.approx(theta, abs=2e-3 * error)
    assert (best.x[0] - best.x[1]) == pytest.approx(extras["class_difference"], abs=0.01)
    hessian, step = np.empty((len(start), len(start))), 1e-3
    for i in range(len(start)):
        for j in range(len(start)):
            a, b = np.eye(len(start))[i] * step, np.eye(len(start))[j] * step
            hessian[i, j] = sum(
                sign * criterion(best.x + s * a + t * b)
                for sign, s, t in ((1, 1, 1), (-1, 1, -1), (-1, -1, 1), (1, -1, -1))
            )
    covariance = np.linalg.inv(hessian / (4 * step**2))
    assert np.sqrt(covariance[2, 2]) == pytest.approx(error, rel=2e-3)


def test_more_nodes_change_nothing():
    one, other = (
        fit(batch(trial(3)), method("cace-mixture", adjust=["mansa_baseline"], nodes=k, **MIXTURE)) for k in (15, 41)
    )
    assert one.estimate[0, 0] == pytest.approx(other.estimate[0, 0], rel=1e-8)
    assert one.std_error[0, 0] == pytest.approx(other.std_error[0, 0], rel=1e-7)


def test_receipt_in_control_may_be_blank_or_absent():
    data = trial(4)
    blank = {**data, "received": np.where(data["arm"] == 1, data["received"], np.nan)}
    asked = method("cace-mixture", adjust=["mansa_baseline"], **MIXTURE)
    one, other = fit(batch(data), asked), fit(batch(blank), asked)
    assert one.estimate == pytest.approx(other.estimate, rel=1e-12)
    assert flags(one) == flags(other)
    assert other.extras["n_unknown"][0] == 0


def test_unknown_receipt_in_intervention_is_left_out_and_counted():
    data = trial(5)
    gone = np.flatnonzero(data["arm"] == 1)[:3]
    data["received"] = data["received"].astype(float)
    data["received"][gone] = np.nan
    found = fit(batch(data), method("cace-mixture", adjust=["mansa_baseline"], **MIXTURE))
    assert found.extras["n_unknown"][0] == 3
    assert "blank_receipt" in flags(found)
    rest = {name: np.delete(values, gone) for name, values in data.items()}
    alone = fit(batch(rest), method("cace-mixture", adjust=["mansa_baseline"], **MIXTURE))
    assert found.estimate == pytest.approx(alone.estimate, rel=1e-10)


def test_two_maxima_are_flagged():
    """Without the exclusion restriction, half of the people willing, the mirror image of the classes fits as well."""
    rng = np.random.default_rng(8)
    practice = np.repeat(np.arange(20), 10)
    arm = (practice % 2).astype(float)
    willing = np.tile([0, 1], 100)
    y = rng.normal(size=200) + np.where(arm == 0, 3.0 * willing, 0.0)
    data = {"practice": practice, "arm": arm, "received": arm * willing, "mansa_followup": y}
    found = fit(batch(data), method("cace-mixture", adjust=[], exclusion=False, starts=9, **MIXTURE))
    assert "several_modes" in flags(found)
    assert not found.failed[0]


def degenerate():
    """Trials with the flags that they end in, failed or not."""
    data = trial(6)
    arm, n = data["arm"], len(data["arm"])
    yield "nobody", {**data, "received": np.zeros(n)}, {}, {"one_stratum"}, True
    yield "everybody", {**data, "received": arm}, {}, {"one_stratum"}, True
    yield "control", {**data, "received": np.ones(n) * (np.arange(n) % 2)}, {}, {"receipt_in_control"}, True
    two = (np.arange(n) * 7 % 2).astype(float)
    yield (
        "two values",
        {**data, "mansa_followup": np.where(arm == 1, data["received"], two)},
        {"adjust": []},
        {"collapsed"},
        True,
    )
    yield "constant", {**data, "mansa_followup": np.ones(n)}, {"adjust": []}, {"constant_outcome"}, True
    clear = {**data, "age": np.where(data["willing"], 1.0, -1.0) + 0.01 * np.sin(np.arange(n))}
    yield "separated", clear, {"predictors": ["age"]}, {"separation"}, False
    lonely = {**data, "practice": np.arange(n)}
    yield "one person each", lonely, {}, {"tau2_not_identified"}, False
    pair = {**data, "practice": arm.astype(int)}
    yield "a practice an arm", pair, {"adjust": []}, {"tau2_not_identified", "too_few_clusters"}, True
    yield "missing", {**data, "mansa_followup": np.full(n, np.nan)}, {}, {"no_data"}, True
    yield (
        "collinear",
        {**data, "age": 2 * data["mansa_baseline"]},
        {"adjust": ["mansa_baseline", "age"]},
        {"aliased"},
        False,
    )
    one = {**data, "received": (np.arange(n) == np.flatnonzero(arm == 1)[0]) * 1.0}
    yield "one complier", one, {}, set(), None


@pytest.mark.parametrize(
    ("data", "options", "cause", "failed"), [pytest.param(*rest, id=name) for name, *rest in degenerate()]
)
def test_degenerate_trials_end_in_a_status_with_its_cause(data, options, cause, failed):
    found = fit(batch(data), method("cace-mixture", **{"adjust": ["mansa_baseline"], **MIXTURE, **options}))
    assert cause <= flags(found), flags(found)
    if failed is not None:
        assert found.failed[0] == failed
    if found.failed[0]:
        assert np.isnan(found.estimate).all()
        assert flags(found)
    else:
        assert np.isfinite(found.std_error).all()


def test_what_cannot_be_asked_is_refused():
    with pytest.raises(ValidationError, match="listed twice"):
        method("cace-mixture", predictors=["age", "age"], **MIXTURE)
    with pytest.raises(ValidationError, match="mi cannot wrap kind 'cace-mixture'"):
        method("mi", analysis={"kind": "cace-mixture", **MIXTURE})


@pytest.mark.parametrize(("number", "at"), [(10, 0), (12, 3), (12, 5), (18, 0), (18, 5)])
def test_separated_classes_end_in_a_status_and_stop_nobody(number, at):
    """Odd designs in which steps along a separated direction had no information at all; beside a trial that is none."""
    drawn = draw(5, number)
    chosen = method("cace-mixture", adjust=drawn.adjust[:1], received="sessions >= 6", predictors=["g"])
    found = analysed(observed([drawn.trials[at]]), chosen)
    assert found.failed[0] or np.isfinite(found.std_error[0, 0])
    assert flags(found) & {"separation", "collapsed", "not_converged"}
