"""Inverse-probability weighting: a stacked M-estimation by numerical derivatives, and where it is another method."""

import numpy as np
import pytest
import slow_twin
from odd_shapes import assert_a_status_spoils_no_other
from reference import method
from scipy.optimize import minimize
from scipy.stats import t as student
from trials import batch, fit, ragged

from simtrial.flags import text

ADJUST = ["mansa_baseline", "size"]
AUXILIARY = ["age", "list_size"]
POWER = {"robust": 0.0, "kauermann-carroll": -0.5, "mancl-derouen": -1.0}


def lossy(seed, practices=14, most=9, slope=0.8):
    """Return a trial in which younger people, and people with a good baseline, are lost; more of them in one arm."""
    data = ragged(seed, practices, most)
    score = slope * (data["mansa_baseline"] - 4.5) - 0.03 * (data["age"] - 40) - 1.2 + 0.6 * data["arm"]
    gone = np.random.default_rng(seed + 1000).random(len(score)) < 1 / (1 + np.exp(-score))
    return {**data, "mansa_followup": np.where(gone, np.nan, data["mansa_followup"])}


def expit(score):
    return 1 / (1 + np.exp(-score))


class Stacked:
    """Scores of both models practice by practice, as functions of all parameters; derivatives are numerical."""

    def __init__(self, data, adjust, auxiliary, by_arm, smallest=0.0, alpha=0.0):
        self.y, self.seen = data["mansa_followup"], ~np.isnan(data["mansa_followup"])
        self.smallest = smallest
        self.x = self._scaled(slow_twin.design(data, adjust))
        wide = slow_twin.design(data, [*adjust, *auxiliary])
        arm = wide[:, -1:]
        own = self._scaled(wide[:, :-1]) if by_arm else self._scaled(wide)
        self.z = np.hstack([own * (1 - arm), own * arm]) if by_arm else own
        self.labels = np.unique(data["practice"], return_inverse=True)[1]
        self.p = self.x.shape[1]
        self.turned = self.x.copy()  # row by row of V_j^-1 W_j, with whole matrices
        for k in range(self.labels.max() + 1):
            own = np.flatnonzero(self.labels == k)
            v = (1 - alpha) * np.eye(len(own)) + alpha
            self.turned[own] = (1 - alpha) * np.linalg.inv(v) @ self.x[own]

    @staticmethod
    def _scaled(x):
        """Columns of unit size, on which numerical derivatives are good; arm comes last, as it was."""
        out = x.copy()
        out[:, 1:-1] = (x[:, 1:-1] - x[:, 1:-1].mean(axis=0)) / x[:, 1:-1].std(axis=0)
        return out

    def scores(self, theta):
        """(practices, p + q)."""
        beta, gamma = theta[: self.p], theta[self.p :]
        probability = expit(self.z @ gamma)
        weight = np.where(self.seen, 1 / np.maximum(probability, self.smallest), 0.0)
        residual = np.where(self.seen, np.nan_to_num(self.y) - self.x @ beta, 0.0)
        rows = np.hstack([self.turned * (weight * residual)[:, None], self.z * (self.seen - probability)[:, None]])
        return np.stack([rows[self.labels == k].sum(axis=0) for k in range(self.labels.max() + 1)])

    def solve(self):
        gamma = minimize(
            lambda g: np.logaddexp(0, np.where(self.seen, -1, 1) * (self.z @ g)).sum(), np.zeros(self.z.shape[1])
        ).x
        for _ in range(20):
            p = expit(self.z @ gamma)
            gamma = gamma + np.linalg.solve((self.z.T * (p * (1 - p))) @ self.z, self.z.T @ (self.seen - p))
        w = np.where(self.seen, 1 / np.maximum(expit(self.z @ gamma), self.smallest), 0.0)
        beta = np.linalg.solve((self.turned.T * w) @ self.x, self.turned.T @ (w * np.nan_to_num(self.y)))
        self.weight = w
        return np.concatenate([beta, gamma])

    def variance(self, theta, power):
        """Variance of the coefficient of arm: bread from central differences, scores corrected by whole matrices."""
        size, step = len(theta), 1e-5
        bread = np.empty((size, size))
        for k in range(size):
            up, down = theta.copy(), theta.copy()
            up[k], down[k] = up[k] + step, down[k] - step
            bread[:, k] = (self.scores(up) - self.scores(down)).sum(axis=0) / (2 * step)
        scores, p = self.scores(theta), self.p
        nuisance = bread[:p, p:] @ np.linalg.inv(-bread[p:, p:])
        total = 0.0
        m = np.linalg.inv(-bread[:p, :p])
        for k, score in enumerate(scores):
            own = score[:p] + nuisance @ score[p:]
            rows = (self.labels == k) & self.seen
            if power and rows.any():
                # (I - W^1/2 X M X'W^1/2)^power on people is (I - C M)^power on their scores
                c = (self.turned[rows].T * self.weight[rows]) @ self.x[rows]
                values, vectors = np.linalg.eig(np.eye(p) - c @ m)
                own = (vectors @ np.diag(values.astype(complex) ** power) @ np.linalg.solve(vectors, own)).real
            total += (m[p - 1] @ own) ** 2
        return total


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("by_arm", [False, True])
@pytest.mark.parametrize("se", POWER)
def test_the_sandwich_is_that_of_stacked_estimating_equations(se, by_arm, seed):
    data = lossy(seed, practices=20)
    options = {"adjust": ADJUST, "auxiliary": AUXILIARY, "by_arm": by_arm, "se": se}
    found = fit(batch(data), method("ipw", **options))
    twin = Stacked(data, ADJUST, AUXILIARY, by_arm, 0.05)
    theta = twin.solve()
    assert not found.failed[0]
    assert text(int(found.flags[0])) in ("", "extreme_weights")
    assert found.estimate[0, 0] == pytest.approx(theta[twin.p - 1], rel=1e-9)
    # central differences with steps of 1e-5 are good to about 1e-9 of the derivative
    assert found.std_error[0, 0] == pytest.approx(np.sqrt(twin.variance(theta, POWER[se])), rel=1e-7)
    analysed = len(np.unique(data["practice"][~np.isnan(data["mansa_followup"])]))
    assert found.df[0, 0] == analysed - 3  # intercept, size and arm


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("by_arm", [False, True])
@pytest.mark.parametrize("se", POWER)
def test_with_an_exchangeable_correlation_too(se, by_arm, seed):
    """The correlation counts as known, as in every sandwich of estimating equations."""
    data = lossy(seed, practices=20)
    data["mansa_followup"] = data["mansa_followup"] + np.random.default_rng(seed).normal(0, 0.7, 20)[data["practice"]]
    options = {"adjust": ADJUST, "auxiliary": AUXILIARY, "by_arm": by_arm, "se": se, "working": "exchangeable"}
    found = fit(batch(data), method("ipw", **options))
    alpha = found.extras["alpha"][0]
    twin = Stacked(data, ADJUST, AUXILIARY, by_arm, 0.05, alpha)
    theta = twin.solve()
    assert not found.failed[0]
    assert abs(alpha) > 0.01
    assert found.estimate[0, 0] == pytest.approx(theta[twin.p - 1], rel=1e-9)
    assert found.std_error[0, 0] == pytest.approx(np.sqrt(twin.variance(theta, POWER[se])), rel=1e-7)
    # alpha is that of its own residuals: pairs weighted by both people's weights
    residual = np.where(twin.seen, np.nan_to_num(twin.y) - twin.x @ theta[: twin.p], 0.0)
    together = [np.flatnonzero(twin.labels == k) for k in range(20)]
    pairs = [(a, b) for own in together for a in own for b in own if a < b]
    products = sum(twin.weight[a] * twin.weight[b] * residual[a] * residual[b] for a, b in pairs)
    count = sum(twin.weight[a] * twin.weight[b] for a, b in pairs)
    phi = (twin.weight * residual**2).sum() / (twin.weight.sum() - twin.p)
    assert alpha == pytest.approx(products / ((count - twin.p) * phi), abs=1e-9)


@pytest.mark.parametrize("se", POWER)
def test_with_nothing_missing_it_is_gee_with_its_correlation(se):
    data = ragged(8, practices=16)
    options = {"adjust": ADJUST, "working": "exchangeable", "se": se}
    plain, found = (fit(batch(data), method(kind, **options), every_term=True) for kind in ("gee", "ipw"))
    assert found.extras["alpha"] == pytest.approx(plain.extras["alpha"], rel=1e-9)
    for name in ("estimate", "std_error", "df", "p_value"):
        assert getattr(found, name) == pytest.approx(getattr(plain, name), rel=1e-9), name


def test_without_pairs_the_correlation_is_none():
    data = lossy(3, 60, 1)
    keep = np.concatenate([[True], np.diff(data["practice"]) != 0])
    data = {name: values[keep] for name, values in data.items()}
    one, other = (
        fit(batch(data), method("ipw", adjust=["mansa_baseline"], working=w)) for w in ("exchangeable", "independence")
    )
    assert text(int(one.flags[0])) == "tau2_not_identified"
    assert one.estimate[0, 0] == pytest.approx(other.estimate[0, 0], rel=1e-12)
    assert one.std_error[0, 0] == pytest.approx(other.std_error[0, 0], rel=1e-12)


@pytest.mark.parametrize("shape", ["one person in every practice", "two practices", "one large practice"])
def test_odd_shapes_have_the_same_sandwich(shape):
    practices, most = {"one person in every practice": (60, 1), "two practices": (4, 60), "one large practice": (8, 5)}[
        shape
    ]
    data = lossy(3, practices, most)
    if shape == "one large practice":
        extra = lossy(4, 2, 200)
        data = {k: np.concatenate([v, extra[k][: len(extra[k]) // 2]]) for k, v in data.items()}
        data["practice"] = np.where(np.arange(len(data["arm"])) >= len(data["arm"]) - 1, 99, data["practice"])
        labels = np.unique(data["practice"])
        data["arm"] = np.isin(data["practice"], labels[::2]).astype(float)
    found = fit(batch(data), method("ipw", adjust=["mansa_baseline"], by_arm=False, smallest_probability=0.0))
    twin = Stacked(data, ["mansa_baseline"], [], False)
    theta = twin.solve()
    assert not found.failed[0]
    assert found.estimate[0, 0] == pytest.approx(theta[twin.p - 1], rel=1e-9)
    assert found.std_error[0, 0] == pytest.approx(np.sqrt(twin.variance(theta, -0.5)), rel=1e-6)


@pytest.mark.parametrize("by_arm", [False, True])
@pytest.mark.parametrize("se", POWER)
def test_with_nothing_missing_it_is_gee_under_independence(se, by_arm):
    data = ragged(8, practices=16)
    plain = fit(batch(data), method("gee", adjust=ADJUST, working="independence", se=se), every_term=True)
    found = fit(batch(data), method("ipw", adjust=ADJUST, se=se, by_arm=by_arm, auxiliary=["age"]), every_term=True)
    assert found.terms == plain.terms
    for name in ("estimate", "std_error", "df", "p_value"):
        assert getattr(found, name) == pytest.approx(getattr(plain, name), rel=1e-11), name
    assert text(int(found.flags[0])) == text(int(plain.flags[0])) == ""
    assert found.extras["largest_weight"][0] == 1.0
    assert found.extras["effective_n"][0] == found.n_used[0]


def test_equal_chances_in_an_arm_change_nothing_without_covariates():
    # weights are then constant within arms, and so are the means of arms; nothing is gained or lost by estimating them
    data = lossy(5)
    plain = fit(batch(data), method("gee", adjust=[], working="independence", se="robust"))
    found = fit(batch(data), method("ipw", adjust=[], se="robust", smallest_probability=0.0))
    assert found.estimate[0, 0] == pytest.approx(plain.estimate[0, 0], rel=1e-12)
    assert found.std_error[0, 0] == pytest.approx(plain.std_error[0, 0], rel=1e-12)


def test_strata_weighted_back_to_everybody_are_standardised():
    # with one saturated factor the weighted mean of an arm is sum_k n_k ybar_k / n over strata k, n_k with or without
    # an outcome
    data = lossy(6, practices=30)
    found = fit(batch(data), method("ipw", adjust=[], auxiliary=["size"], by_arm=True, smallest_probability=0.0))
    means = []
    for a in (0, 1):
        arm, y = data["arm"] == a, data["mansa_followup"]
        strata = [arm & (data["size"] == label) for label in ("large", "small")]
        means.append(sum(s.sum() * np.nanmean(y[s]) for s in strata) / arm.sum())
    assert found.estimate[0, 0] == pytest.approx(means[1] - means[0], rel=1e-11)


def test_people_whom_the_model_is_certain_of_have_weight_one():
    # all in small practices of the intervention arm stay: the others of that arm are fitted as if they were alone
    data = lossy(7, practices=24)
    whole = ragged(7, 24, 9)
    certain = (data["arm"] == 1) & (data["size"] == "small")
    data["mansa_followup"] = np.where(certain, whole["mansa_followup"], data["mansa_followup"])
    found = fit(batch(data), method("ipw", adjust=["mansa_baseline", "size"], by_arm=True, smallest_probability=0.0))
    assert text(int(found.flags[0])) == "separation"
    assert not found.failed[0]
    seen, x = ~np.isnan(data["mansa_followup"]), slow_twin.design(data, ["mansa_baseline", "size"])
    weight = np.ones(len(seen))
    for group, columns in ((data["arm"] == 0, [0, 1, 2]), ((data["arm"] == 1) & ~certain, [0, 1])):
        z, gamma = x[group][:, columns], np.zeros(len(columns))
        for _ in range(30):
            p = expit(z @ gamma)
            gamma += np.linalg.solve((z.T * (p * (1 - p))) @ z, z.T @ (seen[group] - p))
        weight[group] = 1 / expit(z @ gamma)
    w = np.where(seen, weight, 0.0)
    beta = np.linalg.solve((x.T * w) @ x, x.T @ (w * np.nan_to_num(data["mansa_followup"])))
    assert found.estimate[0, 0] == pytest.approx(beta[-1], rel=1e-9)


def test_an_arm_without_losses_is_not_weighted_and_not_flagged():
    data = lossy(9, practices=20)
    data["mansa_followup"] = np.where(data["arm"] == 0, ragged(9, 20, 9)["mansa_followup"], data["mansa_followup"])
    by_arm = fit(batch(data), method("ipw", adjust=["mansa_baseline"], by_arm=True))
    assert text(int(by_arm.flags[0])) == ""
    # one model for both has no finite coefficient of arm, and the same limit
    pooled = fit(batch(data), method("ipw", adjust=["mansa_baseline"]))
    assert text(int(pooled.flags[0])) == "separation"
    assert pooled.estimate[0, 0] == pytest.approx(by_arm.estimate[0, 0], rel=1e-9)
    assert pooled.std_error[0, 0] == pytest.approx(by_arm.std_error[0, 0], rel=1e-9)


def test_a_small_probability_is_raised_and_said():
    data = lossy(2, practices=20, slope=3.0)
    options = {"adjust": ["mansa_baseline"], "auxiliary": ["age"], "by_arm": True}
    free = fit(batch(data), method("ipw", **options, smallest_probability=0.0))
    bound = fit(batch(data), method("ipw", **options, smallest_probability=0.3))
    assert "extreme_weights" in text(int(bound.flags[0]))
    assert bound.extras["largest_weight"][0] == pytest.approx(1 / 0.3)
    assert free.extras["largest_weight"][0] > 1 / 0.3
    twin = Stacked(data, ["mansa_baseline"], ["age"], True, 0.3)
    theta = twin.solve()
    assert bound.estimate[0, 0] == pytest.approx(theta[twin.p - 1], rel=1e-9)
    assert bound.std_error[0, 0] == pytest.approx(np.sqrt(twin.variance(theta, -0.5)), rel=1e-6)


def test_interval_and_p_value_are_those_of_t():
    found = fit(batch(lossy(1)), method("ipw", adjust=["mansa_baseline"], level=0.9))
    half = student.ppf(0.95, found.df[0, 0]) * found.std_error[0, 0]
    assert found.ci_upper[0, 0] - found.estimate[0, 0] == pytest.approx(half, rel=1e-10)


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
    "a covariate out of range": (
        "out_of_range",
        lambda d: {"age": np.where(np.isnan(d["mansa_followup"]) & (d["arm"] == 1), 1e60, d["age"])},
    ),
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_trials_have_a_status_and_spoil_no_other(case):
    flag, change = DEGENERATE[case]
    good, odd = lossy(1), lossy(2)
    odd = {**odd, **change(odd)}
    assert_a_status_spoils_no_other("ipw", good, odd, flag, adjust=["mansa_baseline"], auxiliary=["age"])


def test_a_collinear_auxiliary_column_changes_nothing():
    data = lossy(4, practices=18)
    twice = {**data, "months": 12 * data["age"] + 3}
    once = fit(batch(data), method("ipw", adjust=["mansa_baseline"], auxiliary=["age"]))
    both = fit(batch(twice), method("ipw", adjust=["mansa_baseline"], auxiliary=["age", "months"]))
    assert both.estimate[0, 0] == pytest.approx(once.estimate[0, 0], rel=1e-10)
    assert both.std_error[0, 0] == pytest.approx(once.std_error[0, 0], rel=1e-10)


def test_one_observed_person_in_every_practice_is_enough():
    data = ragged(11, practices=20)
    first = np.concatenate([[True], np.diff(data["practice"]) != 0])
    data["mansa_followup"] = np.where(first, data["mansa_followup"], np.nan)
    found = fit(batch(data), method("ipw", adjust=["mansa_baseline"]))
    assert not found.failed[0]
    assert found.n_used[0] == found.clusters_used[0] == 20
