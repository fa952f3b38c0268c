"""The mixed model whose variances differ by arm: dense matrices, nlme, Welch's test, and what cannot be told."""

import csv
import json
import math
from functools import cache

import numpy as np
import pytest
from reference import FILES, ORACLE, method
from scipy.optimize import minimize
from slow_twin import design, same_practice
from test_degenerate import CASES
from trials import batch, fit, ragged

from simtrial.files.read_trials import read_trials
from simtrial.flags import BIT, text
from simtrial.run.analyse import analyse

BY = {"residual": [[0], [1], [2, 3]], "cluster": [[0, 1], [2], [3]], "both": [[0], [1], [2], [3]]}
"""Which of s_0, s_1, t_0, t_1 are one parameter."""
NAMES = ["sigma2_control", "sigma2_intervention", "tau2_control", "tau2_intervention"]
SEEDS = range(12)
ADJUST = ["mansa_baseline", "size"]


def by_arm(by, **options):
    return method("lmm", **{"adjust": ADJUST, "df": "satterthwaite", "heteroscedastic": by, **options})


class Dense:
    """Criterion, slopes, information and coefficients from V, element by element."""

    def __init__(self, data, theta, reml, x=None):
        self.y, self.x = data["mansa_followup"], design(data, ADJUST) if x is None else x
        arm, shared = data["arm"], same_practice(data["practice"])
        self.parts = [np.diag((arm == a) * 1.0) for a in (0, 1)] + [
            shared * np.outer(arm == a, arm == a) for a in (0, 1)
        ]
        v = np.einsum("k,kij->ij", theta, self.parts)
        inverse = np.linalg.inv(v)
        information = self.x.T @ inverse @ self.x
        self.spread = np.linalg.inv(information)
        self.beta = self.spread @ self.x.T @ inverse @ self.y
        projection = inverse - inverse @ self.x @ self.spread @ self.x.T @ inverse
        moved, weigh = projection @ self.y, projection if reml else inverse
        degrees = len(self.y) - (self.x.shape[1] if reml else 0)
        self.value = np.linalg.slogdet(v)[1] + self.y @ moved + degrees * np.log(2 * np.pi)
        self.value += np.linalg.slogdet(information)[1] if reml else 0.0
        self.slopes = np.array([np.trace(weigh @ part) - moved @ part @ moved for part in self.parts])
        self.information = np.array([[np.trace(weigh @ a @ weigh @ b) / 2 for b in self.parts] for a in self.parts])
        last = self.spread[-1] @ self.x.T @ inverse
        self.gradient = np.array([last @ part @ last for part in self.parts])  # of the variance of arm

    def df(self, groups):
        tied = np.array([[float(k in group) for group in groups] for k in range(4)])
        gradient = tied.T @ self.gradient
        return 2 * self.spread[-1, -1] ** 2 / (gradient @ np.linalg.solve(tied.T @ self.information @ tied, gradient))


@pytest.mark.parametrize("estimation", ["reml", "ml"])
@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("seed", SEEDS)
def test_dense_matrices(seed, by, estimation):
    data = ragged(seed, practices=14)
    found = fit(batch(data), by_arm(by, estimation=estimation))
    theta = np.array([found.extras[name][0] for name in NAMES])
    twin = Dense(data, theta, estimation == "reml")
    assert not found.failed[0]
    assert -2 * found.extras["loglik"][0] == pytest.approx(twin.value, rel=1e-11)
    assert found.estimate[0, 0] == pytest.approx(twin.beta[-1], rel=1e-8)
    assert found.std_error[0, 0] == pytest.approx(math.sqrt(twin.spread[-1, -1]), rel=1e-9)
    # at the optimum every slope is 0, or the variance is 0 and the criterion rises (Karush-Kuhn-Tucker)
    free = []
    for group in BY[by]:
        assert len(set(theta[group])) == 1
        slope, at = twin.slopes[group].sum(), theta[group[0]]
        if at > 0:
            assert slope * at == pytest.approx(0, abs=1e-5)
            free.append(group)
        else:
            assert slope > -1e-6
    assert ("boundary" in text(int(found.flags[0]))) == (len(free) < len(BY[by]))
    assert found.df[0, 0] == pytest.approx(twin.df(free), rel=1e-8)


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("seed", SEEDS[:4])
def test_a_general_minimiser_finds_nothing_lower(seed, by):
    data, groups = ragged(seed, practices=14), BY[by]
    found = fit(batch(data), by_arm(by))
    best = -2 * found.extras["loglik"][0]

    def criterion(root):
        theta = np.empty(4)
        for group, value in zip(groups, root, strict=True):
            theta[group] = value**2
        return Dense(data, theta, True).value

    for share in (0.1, 0.8):
        start = [1.0 if group[0] < 2 else share for group in groups]
        done = minimize(criterion, start, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10})
        assert best <= done.fun + 1e-9


# nlme 3.1.162 in R 4.2.2: lme with varIdent(form = ~ 1 | arm) and pdDiag(~ 0 + arm0 + arm1), tolerances 1e-12. It stops
# short where a variance ends at 0, which it approaches on the log scale. Its std_error is sqrt(varFix), without the
# factor that summary() applies to fits by ML.
with open(ORACLE / "lmm_by_arm.csv", newline="") as handle:
    NLME = list(csv.DictReader(handle))
MODELS = {"crude": [], "partial": ["mansa_baseline"]}


@cache
def ours():
    methods = [
        by_arm(by, name=f"{model}/{estimation}/{by}", adjust=adjust, estimation=estimation)
        for model, adjust in MODELS.items()
        for estimation in ("reml", "ml")
        for by in BY
    ]
    ids, observed = read_trials(FILES, set().union(*(m.reads() for m in methods)), {})
    rows = analyse(ids, observed, methods).iter_rows(named=True)
    return {(row["trial_id"].split("_")[0], *row["method"].split("/")): row for row in rows}


def test_nlme():
    """Never a likelihood below nlme's; apart as far as nlme's own shortfall allows."""
    off, equal = [], 0
    for row in NLME:
        mine = ours()[row["trial"], row["model"], row["estimation"], row["by"]]
        if row["trial"] == "D18":  # an arm of one practice with one person: nothing tells its variances
            assert (mine["status"], mine["flags"]) == ("failed", "too_few_clusters;tau2_not_identified")
            continue
        assert mine["status"] == "ok"
        gain, scale = json.loads(mine["extra"])["loglik"] - float(row["loglik"]), float(row["std_error"])
        # an optimum that is d short in log-likelihood is sqrt(2 d) standard errors away in the variances
        allowed = max(2e-5, math.sqrt(2 * max(gain, 0.0)))
        apart = max(abs(mine["estimate"] / scale - float(row["estimate"]) / scale), abs(mine["std_error"] / scale - 1))
        if not -1e-8 < gain < 5e-4 or apart > allowed:
            off.append((row["trial"], row["model"], row["estimation"], row["by"], gain))
        equal += apart < 1e-5
    assert off == []
    assert (len(NLME), equal) == (308, 288)


@pytest.mark.parametrize("seed", range(20))
def test_with_equal_practices_it_is_the_welch_test_of_their_means(seed):
    rng, people = np.random.default_rng(seed), 6
    practice = np.repeat(np.arange(25), people)
    arm = np.where(practice < 11, 0.0, 1.0)
    spread = np.where(arm == 1, 1.5, 0.8)
    response = spread * (rng.standard_normal(25)[practice] + rng.standard_normal(len(practice)))
    data = batch({"practice": practice, "arm": arm, "mansa_followup": response})
    found = fit(data, by_arm("both", adjust=[]))
    welch = fit(data, method("cluster-means", adjust=[], variance="welch"))
    assert text(int(found.flags[0])) == ""
    assert found.estimate == pytest.approx(welch.estimate, rel=1e-10)
    assert found.std_error == pytest.approx(welch.std_error, rel=1e-7)
    assert found.df == pytest.approx(welch.df, rel=1e-6)


@pytest.mark.parametrize("by", BY)
def test_arms_that_are_mirror_images_have_common_variances(by):
    data = ragged(5)
    half = {name: values for name, values in data.items() if name in ("practice", "mansa_followup")}
    practice = np.concatenate([half["practice"], 100 + half["practice"]])
    response = np.concatenate([half["mansa_followup"], 0.4 - half["mansa_followup"]])
    both = batch({"practice": practice, "arm": (practice >= 100) * 1.0, "mansa_followup": response})
    found, plain = fit(both, by_arm(by, adjust=[])), fit(both, method("lmm", adjust=[], df="satterthwaite"))
    for name in ("estimate", "std_error"):
        assert getattr(found, name) == pytest.approx(getattr(plain, name), rel=1e-7)
    for name in ("sigma2", "tau2"):
        for arm in ("control", "intervention"):
            assert found.extras[f"{name}_{arm}"] == pytest.approx(plain.extras[name], rel=1e-5)
    assert found.extras["loglik"] == pytest.approx(plain.extras["loglik"], rel=1e-12)


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("seed", range(4))
def test_an_interaction_of_one_coefficient_is_its_t_test(seed, by):
    data = ragged(seed, practices=14)
    joint = fit(batch(data), by_arm(by, interaction="mansa_baseline"))
    product = batch({**data, "product": data["arm"] * data["mansa_baseline"]})
    alone = fit(product, by_arm(by, adjust=[*ADJUST, "product"]), every_term=True)
    at = alone.terms.index("product")
    for name in ("estimate", "std_error", "df", "p_value"):
        assert getattr(joint, name)[0, 0] == pytest.approx(getattr(alone, name)[at, 0], rel=1e-6)


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("seed", range(4))
def test_a_joint_interaction_is_the_wald_test_of_the_products(seed, by):
    data = ragged(seed, practices=20)
    data["region"] = np.array(["a", "b", "c"])[data["practice"] % 3]
    found = fit(batch(data), by_arm(by, adjust=["mansa_baseline", "region"], interaction="region"))
    theta = np.array([found.extras[name][0] for name in NAMES])
    products = [data["arm"] * (data["region"] == label) for label in "bc"]
    x = np.column_stack([design(data, ["mansa_baseline", "region"]), *products])
    twin = Dense(data, theta, True, x)
    beta, spread = twin.beta[-2:], twin.spread[-2:, -2:]
    assert found.extras["statistic"][0] == pytest.approx(beta @ np.linalg.solve(spread, beta) / 2, rel=1e-7)
    assert found.extras["df_num"][0] == 2
    assert 2 < found.extras["df_den"][0] < len(data["arm"])


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_estimated_has_a_cause(case, by):
    data, adjust = CASES[case]
    found = fit(batch(data), by_arm(by, adjust=adjust))
    numbers = [found.estimate[0, 0], found.std_error[0, 0], found.df[0, 0], found.p_value[0, 0]]
    if found.failed[0]:
        assert found.flags[0] & ~BIT["boundary"]
        assert np.isnan(found.p_value[0, 0])
    else:
        assert np.isfinite(numbers).all()
        assert found.std_error[0, 0] > 0


@pytest.mark.parametrize(("options", "message"), [
    ({"df": "kenward-roger"}, "not defined with heteroscedastic"),
    ({"df": "satterthwaite-observed"}, "not defined with heteroscedastic"),
    ({"tau2": "unconstrained"}, "needs tau2 = 'nonnegative'"),
])  # fmt: skip
def test_what_does_not_go_together_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        by_arm("both", **options)
