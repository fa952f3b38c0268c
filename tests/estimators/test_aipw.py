"""Augmented weighting: identities, a plain loop that leaves out every practice, unbiased if one model is right."""

import numpy as np
import pytest
import slow_twin
from odd_shapes import assert_a_status_spoils_no_other
from reference import method
from test_ipw import expit, lossy
from trials import batch, fit, ragged

MODELS = {"none": [], "one": ["mansa_baseline"], "mixed": ["mansa_baseline", "age", "list_size"]}


@pytest.mark.parametrize("by_arm", [False, True])
@pytest.mark.parametrize("average", ["participant", "cluster"])
@pytest.mark.parametrize("model", MODELS)
def test_with_nothing_missing_it_is_g_computation(model, average, by_arm):
    data = ragged(8, practices=18)
    options = {"adjust": MODELS[model], "average": average, "by_arm": by_arm}
    plain = fit(batch(data), method("g-computation", **options))
    found = fit(batch(data), method("aipw", **options, auxiliary=["age"]))
    for name in ("estimate", "std_error", "df", "p_value"):
        assert getattr(found, name) == pytest.approx(getattr(plain, name), rel=1e-11), name
    for name in plain.extras:
        assert found.extras[name] == pytest.approx(plain.extras[name], rel=1e-11), name
    assert found.flags.tolist() == plain.flags.tolist()
    assert found.extras["effective_n"][0] == found.n_used[0]


class Twin:
    """Both models by people, refitted without each practice: exactly, or the weights by one Newton step, linearised."""

    def __init__(self, data, adjust, auxiliary, by_arm, average):
        self.data, self.by_arm, self.average = data, by_arm, average
        x, z = slow_twin.design(data, adjust), slow_twin.design(data, [*adjust, *auxiliary])
        self.x, self.arm = x[:, :-1], x[:, -1]
        self.z = np.hstack([z[:, :-1] * (1 - z[:, -1:]), z[:, :-1] * z[:, -1:]]) if by_arm else z
        self.z = self.z / np.maximum(np.abs(self.z).max(axis=0), 1e-9)
        self.y, self.seen = np.nan_to_num(data["mansa_followup"]), ~np.isnan(data["mansa_followup"])

    def full(self, arm):
        return np.column_stack([self.x, arm, self.x[:, 1:] * arm[:, None]] if self.by_arm else [self.x, arm])

    def logistic(self, rows, gamma, steps):
        z, seen = self.z[rows], self.seen[rows]
        for _ in range(steps):
            p = expit(z @ gamma)
            gamma = gamma + np.linalg.solve((z.T * (p * (1 - p))) @ z, z.T @ (seen - p))
        return gamma

    def effect(self, rows, weight):
        used = rows & self.seen
        beta = np.linalg.lstsq(self.full(self.arm)[used], self.y[used], rcond=None)[0]
        labels, practice = np.unique(self.data["practice"][rows]), self.data["practice"]
        means = []
        for a in (0.0, 1.0):
            m = self.full(np.full(len(self.y), a)) @ beta
            share = np.mean([self.arm[practice == k][0] == a for k in labels])
            total = weights = 0.0
            for k in labels:
                own = practice == k
                w = own.sum() if self.average == "participant" else 1.0
                correction = np.mean((self.seen * weight * (self.y - m))[own]) / share if self.arm[own][0] == a else 0.0
                total, weights = total + w * (m[own].mean() + correction), weights + w
            means.append(total / weights)
        return means[1] - means[0]

    def found(self, exact):
        everyone = np.ones(len(self.y), dtype=bool)
        gamma = self.logistic(everyone, np.zeros(self.z.shape[1]), 25)
        score, left = self.z @ gamma, []
        for k in np.unique(self.data["practice"]):
            rows = self.data["practice"] != k
            moved = self.z @ (self.logistic(rows, gamma, 25 if exact else 1) - gamma)
            weight = 1 + np.exp(-score - moved) if exact else 1 + np.exp(-score) * (1 - moved)
            left.append(self.effect(rows, weight))
        count = len(left)
        jackknife = np.sqrt((count - 1) / count * np.sum((np.array(left) - np.mean(left)) ** 2))
        return self.effect(everyone, 1 + np.exp(-score)), jackknife


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("by_arm", [False, True])
@pytest.mark.parametrize("average", ["participant", "cluster"])
@pytest.mark.parametrize("adjust", [["mansa_baseline"], ["mansa_baseline", "list_size"]])
def test_every_practice_left_out(adjust, average, by_arm, seed):
    data = lossy(seed, practices=24)
    options = {"adjust": adjust, "auxiliary": ["age"], "by_arm": by_arm, "average": average}
    found = fit(batch(data), method("aipw", **options, smallest_probability=0.0))
    twin = Twin(data, adjust, ["age"], by_arm, average)
    estimate, std_error = twin.found(exact=False)
    assert not found.failed[0]
    assert found.estimate[0, 0] == pytest.approx(estimate, rel=1e-9, abs=1e-9 * std_error)
    assert found.std_error[0, 0] == pytest.approx(std_error, rel=1e-8)
    # one step and first order in the weights leave out terms of order 1/J of the moves
    assert found.std_error[0, 0] == pytest.approx(twin.found(exact=True)[1], rel=0.05)


def test_a_practice_that_lost_everybody_is_predicted():
    data = lossy(5, practices=20)
    data["mansa_followup"] = np.where(data["practice"] == 3, np.nan, data["mansa_followup"])
    found = fit(batch(data), method("aipw", adjust=["mansa_baseline"], smallest_probability=0.0))
    estimate, std_error = Twin(data, ["mansa_baseline"], [], False, "participant").found(exact=False)
    assert found.clusters_used[0] < 20
    assert found.estimate[0, 0] == pytest.approx(estimate, rel=1e-9)
    assert found.std_error[0, 0] == pytest.approx(std_error, rel=1e-8)


def many(outcome_curved, loss_curved, trials=300, practices=40, most=10, seed=0):
    """Trials whose outcome, or whose loss, goes with the square of the covariate, by arm; the effect is 1."""
    rng = np.random.default_rng(seed)
    people = trials * practices * most
    practice = np.tile(np.repeat(np.arange(practices), most), trials)
    arm = (practice % 2).astype(float)
    x = rng.normal(size=people)
    curve = (x**2 - 1) if outcome_curved else 0.0
    effect = 1 + 0.5 * x + 0.8 * curve
    u = rng.normal(0, 0.3, trials * practices).repeat(most)
    y = 0.5 * x - 0.5 * curve + arm * effect + u + rng.normal(0, 0.9, people)
    score = -0.8 + (0.4 + 0.5 * arm) * x + (0.5 * arm * (x**2 - 1) if loss_curved else 0.0)
    y = np.where(rng.random(people) < expit(score), np.nan, y)
    trial = np.repeat(np.arange(trials), practices * most)
    return batch({"trial": trial, "practice": practice, "arm": arm, "x": x, "mansa_followup": y})


@pytest.mark.parametrize(
    ("outcome_curved", "loss_curved", "unbiased"),
    [(False, False, True), (True, False, True), (False, True, True), (True, True, False)],
)
@pytest.mark.parametrize("average", ["participant", "cluster"])
def test_either_model_may_be_wrong_and_not_both(average, outcome_curved, loss_curved, unbiased):
    # 8 tests at z = 4: one false alarm in 2,000 runs of new seeds
    options = {"adjust": ["x"], "by_arm": True, "average": average}
    found = fit(many(outcome_curved, loss_curved), method("aipw", **options))
    estimates = found.estimate[0]
    error = estimates.std(ddof=1) / np.sqrt(len(estimates))
    assert not found.failed.any()
    assert (abs(estimates.mean() - 1) < 4 * error) == unbiased
    if unbiased:
        assert found.std_error[0].mean() == pytest.approx(estimates.std(ddof=1), rel=4 / np.sqrt(2 * len(estimates)))
    # complete cases are biased wherever loss goes with x and so does the effect, and weighting alone needs its model
    plain = fit(many(outcome_curved, loss_curved), method("ols", adjust=[])).estimate[0]
    assert abs(plain.mean() - 1) > 4 * plain.std(ddof=1) / np.sqrt(len(plain))
    weighted = fit(many(outcome_curved, loss_curved), method("ipw", adjust=[], auxiliary=["x"], by_arm=True)).estimate[
        0
    ]
    error = weighted.std(ddof=1) / np.sqrt(len(weighted))
    assert (abs(weighted.mean() - 1) < 4 * error) == (not loss_curved)


DEGENERATE = {
    "nobody observed": ("no_data", lambda d: {"mansa_followup": np.full(len(d["arm"]), np.nan)}),
    "one arm with nobody observed": (
        "one_arm",
        lambda d: {"mansa_followup": np.where(d["arm"] == 1, np.nan, d["mansa_followup"])},
    ),
    "the same outcome for everyone": (
        "constant_outcome",
        lambda d: {"mansa_followup": np.where(np.isnan(d["mansa_followup"]), np.nan, 4.2)},
    ),
    "one observed practice in an arm": (
        "too_few_clusters",
        lambda d: {
            "mansa_followup": np.where(
                (d["arm"] == 1) & (d["practice"] != d["practice"][d["arm"] == 1][0]), np.nan, d["mansa_followup"]
            )
        },
    ),
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_trials_have_a_status_and_spoil_no_other(case):
    flag, change = DEGENERATE[case]
    good, odd = lossy(1), lossy(2)
    odd = {**odd, **change(odd)}
    assert_a_status_spoils_no_other("aipw", good, odd, flag, adjust=["mansa_baseline"], auxiliary=["age"])
