"""The efficient form of augmented weighting: a stacked M-estimation written out, unbiased if one model is right."""

import numpy as np
import pytest
import slow_twin
from odd_shapes import SHAPES, assert_a_status_spoils_no_other, oddly_shaped
from reference import method
from scipy.optimize import minimize
from test_aipw import DEGENERATE, many
from test_ipw import expit, lossy
from trials import batch, fit, ragged

from simtrial.flags import text


class Stacked:
    """All equations practice by practice as functions of all parameters; derivatives are numerical.

    Parameters are the coefficients of the outcome, of being observed and of allocation, and both means. The
    correlation of the outcomes counts as known.
    """

    def __init__(self, data, adjust, auxiliary, by_arm, average, alpha):
        self.y, self.seen, self.arm = data["mansa_followup"], ~np.isnan(data["mansa_followup"]), data["arm"]
        self.label = np.unique(data["practice"], return_inverse=True)[1]
        self.J, self.by_arm, self.alpha = self.label.max() + 1, by_arm, alpha
        x, z = (self.unit(slow_twin.design(data, names)[:, :-1]) for names in (adjust, [*adjust, *auxiliary]))
        arm = self.arm[:, None]
        self.x, self.z = x, np.hstack([z * (1 - arm), z * arm]) if by_arm else np.hstack([z, arm])
        self.of = np.array([self.arm[self.label == k][0] for k in range(self.J)])
        self.c = self.unit(np.stack([x[self.label == k].mean(axis=0) for k in range(self.J)]))
        sizes = np.bincount(self.label)
        self.w = sizes if average == "participant" else np.ones(self.J)
        self.sizes = [self.full(self.arm).shape[1], self.z.shape[1], self.c.shape[1], 2]

    @staticmethod
    def unit(x):
        out = x.astype(float).copy()
        out[:, 1:] = (out[:, 1:] - out[:, 1:].mean(axis=0)) / out[:, 1:].std(axis=0)
        return out

    def full(self, arm):
        arm = np.broadcast_to(arm, len(self.y))[:, None]
        return np.hstack([self.x, arm, self.x[:, 1:] * arm] if self.by_arm else [self.x, arm])

    def parts(self, theta):
        return np.split(theta, np.cumsum(self.sizes)[:-1])

    def scores(self, theta):
        """(practices, parameters)."""
        beta, gamma, xi, mu = self.parts(theta)
        p, pi = expit(self.z @ gamma), expit(self.c @ xi)
        rows = []
        for k in range(self.J):
            own, seen = self.label == k, (self.label == k) & self.seen
            n = seen.sum()
            inverse = np.linalg.inv((1 - self.alpha) * np.eye(n) + self.alpha)
            outcome = self.full(self.arm)[seen].T @ inverse @ (self.y[seen] - self.full(self.arm)[seen] @ beta)
            loss = self.z[own].T @ (self.seen[own] - p[own])
            allocation = self.c[k] * (self.of[k] - pi[k])
            residual = np.nan_to_num(self.y[own] - self.full(self.arm)[own] @ beta) / p[own]
            means = []
            for a, probability in ((0, 1 - pi[k]), (1, pi[k])):
                value = (self.full(a)[own] @ beta).mean() + (self.of[k] == a) / probability * residual.mean()
                means.append(self.w[k] * (value - mu[a]))
            rows.append(np.concatenate([outcome, loss, allocation, means]))
        return np.array(rows)

    def solve(self):
        def logistic(z, happened):
            start = minimize(lambda g: np.logaddexp(0, np.where(happened, -1, 1) * (z @ g)).sum(), np.zeros(z.shape[1]))
            g = start.x
            for _ in range(20):
                p = expit(z @ g)
                g = g + np.linalg.solve((z.T * (p * (1 - p))) @ z, z.T @ (happened - p))
            return g

        theta = np.concatenate(
            [np.zeros(self.sizes[0]), logistic(self.z, self.seen), logistic(self.c, self.of == 1), np.zeros(2)]
        )
        # linear in the coefficients of the outcome and in both means, one after the other
        for first, size in ((0, self.sizes[0]), (len(theta) - 2, 2)):
            here = slice(first, first + size)
            zero = self.scores(theta).sum(axis=0)[here]
            slope = np.array([self.scores(theta + step).sum(axis=0)[here] - zero for step in np.eye(len(theta))[here]])
            theta[here] -= np.linalg.solve(slope.T, zero)
        return theta

    def found(self):
        """Effect and its standard error, with the divisors J - 1 and J less the covariates of allocation."""
        theta = self.solve()
        step = 1e-5 * np.eye(len(theta))
        bread = np.array([(self.scores(theta + s) - self.scores(theta - s)).sum(axis=0) / 2e-5 for s in step]).T
        influence = np.linalg.solve(bread, self.scores(theta).T)
        effect = influence[-1] - influence[-2]
        fewer = self.J / (self.J - 1) * self.J / (self.J - self.c.shape[1] + 1)
        return theta[-1] - theta[-2], np.sqrt(fewer * (effect**2).sum())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("by_arm", [False, True])
@pytest.mark.parametrize("average", ["participant", "cluster"])
@pytest.mark.parametrize("adjust", [["mansa_baseline"], ["mansa_baseline", "list_size"]])
def test_the_sandwich_is_that_of_stacked_estimating_equations(adjust, average, by_arm, seed):
    data = lossy(seed, practices=24)
    data["mansa_followup"] = data["mansa_followup"] + np.random.default_rng(seed).normal(0, 0.7, 24)[data["practice"]]
    options = {"adjust": adjust, "auxiliary": ["age"], "by_arm": by_arm, "average": average}
    found = fit(batch(data), method("aipw", **options, form="efficient", smallest_probability=0.0))
    assert not found.failed[0]
    alpha = found.extras["alpha"][0]
    if not by_arm:
        assert alpha == pytest.approx(fit(batch(data), method("gee", adjust=adjust)).extras["alpha"][0], abs=1e-9)
    estimate, std_error = Stacked(data, adjust, ["age"], by_arm, average, alpha).found()
    assert found.estimate[0, 0] == pytest.approx(estimate, rel=1e-8, abs=1e-8 * std_error)
    # central differences with steps of 1e-5 are good to about 1e-9 of the derivative
    assert found.std_error[0, 0] == pytest.approx(std_error, rel=1e-7)
    assert found.df[0, 0] == found.clusters_used[0] - 2 - len(adjust)


@pytest.mark.parametrize(
    ("outcome_curved", "loss_curved", "unbiased"),
    [(False, False, True), (True, False, True), (False, True, True), (True, True, False)],
)
@pytest.mark.parametrize("average", ["participant", "cluster"])
def test_either_model_may_be_wrong_and_not_both(average, outcome_curved, loss_curved, unbiased):
    # 8 tests at z = 4: one false alarm in 2,000 runs of new seeds
    options = {"adjust": ["x"], "by_arm": True, "average": average, "form": "efficient"}
    found = fit(many(outcome_curved, loss_curved), method("aipw", **options))
    estimates = found.estimate[0]
    assert not found.failed.any()
    assert (abs(estimates.mean() - 1) < 4 * estimates.std(ddof=1) / np.sqrt(len(estimates))) == unbiased
    if unbiased:
        assert found.std_error[0].mean() == pytest.approx(estimates.std(ddof=1), rel=4 / np.sqrt(2 * len(estimates)))


def contextual(context, trials=400, practices=40, most=10, seed=1):
    """Trials whose outcome goes with a person's x, and by ``context`` with the level of x in the practice."""
    rng = np.random.default_rng(seed)
    people = trials * practices * most
    practice = np.tile(np.repeat(np.arange(practices), most), trials)
    arm = (practice % 2).astype(float)
    level = rng.normal(0, 0.6, trials * practices).repeat(most)
    x = level + rng.normal(size=people)
    effects = rng.normal(0, 0.3, trials * practices).repeat(most)
    y = 0.5 * x + context * level + arm + effects + rng.normal(0, 0.9, people)
    y = np.where(rng.random(people) < expit(0.4 * x - 0.8), np.nan, y)
    trial = np.repeat(np.arange(trials), practices * most)
    return batch({"trial": trial, "practice": practice, "arm": arm, "x": x, "mansa_followup": y})


@pytest.mark.parametrize(("context", "gains"), [(1.5, True), (0.0, False)])
def test_it_is_more_precise_where_practice_means_say_more_than_people(context, gains):
    """Pitman and Morgan: variances of paired estimates differ if their sum and difference are correlated."""
    data = contextual(context)
    plain, efficient = (fit(data, method("aipw", adjust=["x"], form=form)) for form in ("plain", "efficient"))
    one, other = plain.estimate[0], efficient.estimate[0]
    z = np.arctanh(np.corrcoef(one + other, one - other)[0, 1]) * np.sqrt(len(one) - 3)
    assert (z > 4) == gains
    for found in (plain, efficient):
        assert abs(found.estimate[0].mean() - 1) < 4 * found.estimate[0].std() / np.sqrt(len(one))
    covered = (efficient.ci_lower[0] < 1) & (efficient.ci_upper[0] > 1)
    assert abs(covered.mean() - 0.95) < 4 * np.sqrt(0.05 * 0.95 / len(one))


@pytest.mark.parametrize("average", ["participant", "cluster"])
def test_with_nothing_missing_and_no_covariates_it_is_a_difference_of_means(average):
    data = ragged(8, practices=18)
    found = fit(batch(data), method("aipw", adjust=[], average=average, form="efficient"))
    plain = fit(batch(data), method("g-computation", adjust=[], average=average))
    if average == "cluster":  # practices of one weight: whatever the model predicts drops out
        assert found.estimate[0, 0] == pytest.approx(plain.estimate[0, 0], rel=1e-11)
        means = [data["mansa_followup"][data["practice"] == k].mean() for k in range(18)]
        arm = np.array([data["arm"][data["practice"] == k][0] for k in range(18)])
        spread = [np.sum((np.array(means)[arm == a] - np.mean(np.array(means)[arm == a])) ** 2) for a in (0, 1)]
        squares = sum(s / (arm == a).sum() ** 2 for a, s in zip((0, 1), spread, strict=True))
        assert found.std_error[0, 0] == pytest.approx(np.sqrt(18 / 17 * squares), rel=1e-10)
    assert found.df[0, 0] == 16


def test_covariates_that_tell_the_arm_leave_its_share():
    data = lossy(3, practices=16)
    data["told"] = np.where(data["arm"] == 1, 5.0, 1.0) + 0.1 * data["practice"]
    found = fit(batch(data), method("aipw", adjust=["mansa_baseline", "told"], form="efficient"))
    assert "separation" in text(int(found.flags[0])).split(";")
    assert not found.failed[0]
    assert np.isfinite(found.std_error[0, 0])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("by_arm", [False, True])
def test_odd_shapes_end_in_a_status(shape, by_arm):
    data, adjust = oddly_shaped(lossy(4, practices=12), ["mansa_baseline"], shape)
    found = fit(batch(data), method("aipw", adjust=adjust, by_arm=by_arm, form="efficient"))
    if shape != "one person a practice":
        assert found.failed[0]
        assert text(int(found.flags[0]))
    assert found.failed[0] == np.isnan(found.std_error[0, 0])


@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_trials_have_a_status_and_spoil_no_other(case):
    flag, change = DEGENERATE[case]
    good, odd = lossy(1), lossy(2)
    odd = {**odd, **change(odd)}
    options = {"adjust": ["mansa_baseline"], "auxiliary": ["age"], "form": "efficient"}
    assert_a_status_spoils_no_other("aipw", good, odd, flag, **options)
