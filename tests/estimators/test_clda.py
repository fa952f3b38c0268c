"""Baseline and follow-up as two outcomes: dense twin, nlme, identities, and what cannot be fitted."""

import csv
import json
import math
from functools import cache

import numpy as np
import pytest
from reference import FILES, ORACLE, method
from scipy.optimize import minimize
from trials import batch, fit, ragged

from simtrial.files.read_trials import read_trials
from simtrial.flags import text
from simtrial.kernels.two_visits_criterion import BASIS, VisitSums, evaluate, expected_curvature
from simtrial.kernels.two_visits_fit import fit as optimum
from simtrial.run.analyse import analyse

SEEDS = range(8)


def gaps(seed, practices=10, most=7):
    """Return a trial in which baselines and follow-ups are missing."""
    data, rng = ragged(seed, practices, most), np.random.default_rng(500 + seed)
    for name, share in (("mansa_baseline", 0.15), ("mansa_followup", 0.2)):
        data[name] = np.where(rng.random(len(data["arm"])) < share, np.nan, data[name])
    return data


def long(data, adjust):
    """Rows of both visits: response, X (covariates at either visit, arm at the second), practice, person, visit."""
    people = len(data["arm"])
    covariates = np.ones((people, 1))
    for name in adjust:
        values = data[name]
        values = (values == np.unique(values)[1]).astype(float) if values.dtype.kind == "U" else values
        covariates = np.column_stack([covariates, values])
    none = np.zeros_like(covariates)
    x = np.concatenate([
        np.column_stack([covariates, none, np.zeros(people)]), np.column_stack([none, covariates, data["arm"]])
    ])  # fmt: skip
    y = np.concatenate([data["mansa_baseline"], data["mansa_followup"]])
    visit, person = np.repeat([0, 1], people), np.tile(np.arange(people), 2)
    seen = ~np.isnan(y)
    return y[seen], x[seen], np.tile(data["practice"], 2)[seen], person[seen], visit[seen]


def covariance(rows, e, u):
    """V by its definition, element by element."""
    *_, practice, person, visit = rows
    pairs = visit[:, None], visit[None, :]
    shared = practice[:, None] == practice[None, :]
    return np.where(shared, u[pairs], 0.0) + np.where(person[:, None] == person[None, :], e[pairs], 0.0)


def dense(rows, e, u, reml=True):
    """-2 log-likelihood in lme4's and nlme's convention, coefficients and their covariance."""
    y, x = rows[:2]
    v = covariance(rows, e, u)
    information = x.T @ np.linalg.solve(v, x)
    beta = np.linalg.solve(information, x.T @ np.linalg.solve(v, y))
    residual = y - x @ beta
    value = np.linalg.slogdet(v)[1] + residual @ np.linalg.solve(v, residual)
    degrees = len(y) - (x.shape[1] if reml else 0)
    value += degrees * np.log(2 * np.pi) + (np.linalg.slogdet(information)[1] if reml else 0.0)
    return value, beta, np.linalg.inv(information)


def lower(parameters):
    """E and U from two lower triangles."""
    found = []
    for a, b, c in (parameters[:3], parameters[3:]):
        root = np.array([[a, 0.0], [b, c]])
        found.append(root @ root.T)
    return found


def best(rows, reml):
    """Optimum by a general minimiser from several starts."""
    found = []
    for between in (0.1, 0.5):
        for tilt in (-0.3, 0.3):
            start = np.array([0.9, 0.3, 0.8, between, tilt * between, between])
            objective = lambda p: dense(rows, *lower(p), reml)[0]  # noqa: E731
            done = minimize(objective, start, method="BFGS", options={"gtol": 1e-7})
            done = minimize(objective, done.x, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12})
            found.append(done)
    return min(found, key=lambda one: one.fun)


@pytest.mark.parametrize("estimation", ["reml", "ml"])
@pytest.mark.parametrize("seed", SEEDS[:3])
def test_the_optimum_is_that_of_a_dense_criterion(seed, estimation):
    data, adjust, reml = gaps(seed), ["size"], estimation == "reml"
    found = fit(batch(data), method("clda", adjust=["mansa_baseline", *adjust], estimation=estimation))
    rows = long(data, adjust)
    ours = {name: values[0] for name, values in found.extras.items()}
    cross = ours["correlation"] * math.sqrt(ours["sigma2"] * ours["sigma2_baseline"])
    e = np.array([[ours["sigma2_baseline"], cross], [cross, ours["sigma2"]]])
    u = np.array([[ours["tau2_baseline"], ours["tau2_both"]], [ours["tau2_both"], ours["tau2"]]])
    value, beta, spread = dense(rows, e, u, reml)
    # at our own covariances: the same number by another way
    assert -2 * ours["loglik"] == pytest.approx(value, rel=1e-11)
    assert found.estimate[0, 0] == pytest.approx(beta[-1], rel=1e-9)
    assert found.std_error[0, 0] == pytest.approx(math.sqrt(spread[-1, -1]), rel=1e-9)
    # and no general minimiser finds lower ones; it stops some 1e-7 short
    twin = best(rows, reml)
    assert value <= twin.fun + 1e-9
    assert value == pytest.approx(twin.fun, abs=1e-4)
    _, beta, spread = dense(rows, *lower(twin.x), reml)
    assert found.estimate[0, 0] == pytest.approx(beta[-1], abs=3e-3 * math.sqrt(spread[-1, -1]))


def statistics(data, adjust):
    """Sums by practice and pattern, person by person."""
    y, x, practice, person, visit = long(data, adjust)
    columns, q = np.column_stack([x, y]), x.shape[1] + 1
    places = np.unique(data["practice"])
    counts, sums = np.zeros((1, 3, len(places))), np.zeros((1, 4, len(places), q))
    products = np.zeros((1, 5, q, q))
    for who in np.unique(person):
        rows = np.flatnonzero(person == who)
        j = np.searchsorted(places, practice[rows[0]])
        if len(rows) == 2:
            first, second = columns[rows[visit[rows] == 0][0]], columns[rows[visit[rows] == 1][0]]
            counts[0, 0, j] += 1
            sums[0, 0, j] += first
            sums[0, 1, j] += second
            products[0, 0] += np.outer(first, first)
            products[0, 1] += np.outer(first, second) + np.outer(second, first)
            products[0, 2] += np.outer(second, second)
        else:
            alone, one = columns[rows[0]], visit[rows[0]]
            counts[0, 1 + one, j] += 1
            sums[0, 2 + one, j] += alone
            products[0, 3 + one] += np.outer(alone, alone)
    return VisitSums(counts, sums, products, np.zeros((1, q - 1)))


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_derivatives_of_the_criterion(seed, reml):
    data, rng = gaps(seed), np.random.default_rng(seed)
    rows, sums = long(data, ["age"]), statistics(data, ["age"])
    e = np.array([[1.0, 0.4], [0.4, 0.7]])
    root = rng.normal(scale=0.4, size=(2, 2))
    root = root + root.T
    at = evaluate(sums, e[..., None], root[..., None], reml)
    _, beta, spread = dense(rows, e, root @ root, reml)
    assert at.coefficients[:, 0] == pytest.approx(beta, rel=1e-9)
    assert at.inverse[..., 0] == pytest.approx(spread, rel=1e-8, abs=1e-12)
    v = np.linalg.inv(covariance(rows, e, root @ root))
    y, x = rows[:2]
    projection = v - v @ x @ spread @ x.T @ v
    moved = projection @ y
    none = np.zeros((2, 2))
    directions = [covariance(rows, d, none) for d in BASIS] + [covariance(rows, none, d) for d in BASIS]
    slopes = [np.trace((projection if reml else v) @ d) - moved @ d @ moved for d in directions]
    ours = [(at.slopes[block, :, :, 0] * d).sum() for block in (0, 1) for d in BASIS]
    assert ours == pytest.approx(slopes, rel=1e-9, abs=1e-9)
    expected = [[np.trace(v @ a @ v @ b) for b in directions] for a in directions]
    assert expected_curvature(sums, e[..., None], at)[0] == pytest.approx(np.array(expected), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("seed", range(30))
def test_at_the_optimum_nothing_can_be_gained(seed):
    # slopes by E vanish; those by U are 0 along U and not negative where U is singular (Karush-Kuhn-Tucker)
    found = optimum(statistics(gaps(seed, practices=8, most=6), []), np.array([False]), True)
    by_e, by_u = (slope[..., 0] for slope in found.at.slopes)
    u = found.u[..., 0]
    assert found.converged[0]
    assert by_e == pytest.approx(np.zeros((2, 2)), abs=1e-6)
    assert by_u @ u == pytest.approx(np.zeros((2, 2)), abs=1e-6)
    assert np.linalg.eigvalsh(by_u)[0] > -1e-6


def test_singular_practice_covariances_are_common_and_flagged():
    flags = [text(int(fit(batch(gaps(seed)), method("clda", adjust=[])).flags[0])) for seed in range(30)]
    assert 8 <= sum("boundary" in flag for flag in flags) <= 29
    assert not any("not_converged" in flag for flag in flags)


# Made by nlme 3.1.162 in R 4.2.2: lme(value ~ 0 + (visit + covariates):visit + effect, random = list(practice =
# pdSymm(~ 0 + t0 + t1)), correlation = corSymm(form = ~ visit | practice/id), weights = varIdent(form = ~ 1 | t)),
# msTol 1e-12. It stops up to 1e-4 short in log-likelihood on the boundary. Its std_error is sqrt(varFix), without the
# factor that summary() applies to fits by ML.
with open(ORACLE / "clda.csv", newline="") as handle:
    NLME = list(csv.DictReader(handle))
MODELS = {"partial": ["mansa_baseline"], "full": ["mansa_baseline", "region", "practice_size"]}


@cache
def ours():
    methods = [
        method("clda", name=f"{model}/{estimation}", adjust=adjust, estimation=estimation.lower())
        for model, adjust in MODELS.items()
        for estimation in ("REML", "ML")
    ]
    ids, observed = read_trials(FILES, methods[0].reads() | methods[-1].reads(), {})
    rows = analyse(ids, observed, methods).iter_rows(named=True)
    return {(row["trial_id"].split("_")[0], *row["method"].split("/")): row for row in rows}


@pytest.mark.parametrize("row", NLME, ids=lambda row: f"{row['trial']}-{row['model']}-{row['estimation']}")
def test_nlme(row):
    mine = ours()[row["trial"], row["model"], row["estimation"]]
    gain = json.loads(mine["extra"])["loglik"] - float(row["loglik"])
    assert mine["status"] == "ok"
    assert -1e-8 < gain < 2e-4
    # an optimum that is d short in log-likelihood is sqrt(2 d) standard errors away in the covariances
    allowed = max(1e-5, math.sqrt(2 * max(gain, 0.0)))
    scale = float(row["std_error"])
    assert mine["estimate"] == pytest.approx(float(row["estimate"]), abs=allowed * scale)
    assert mine["std_error"] == pytest.approx(scale, rel=allowed)
    assert mine["clusters_used"] == int(row["clusters"])


def balanced(seed, practices=40, people=6):
    """Draw one complete trial of equal practices."""
    rng = np.random.default_rng(seed)
    practice = np.repeat(np.arange(practices), people)
    arm = rng.permutation(np.arange(practices) % 2)[practice].astype(float)
    effect = rng.multivariate_normal([0, 0], [[0.4, 0.2], [0.2, 0.5]], practices)[practice]
    own = rng.multivariate_normal([0, 0], [[1.0, 0.6], [0.6, 1.0]], len(practice))
    baseline, followup = (effect + own).T
    return {"practice": practice, "arm": arm, "mansa_baseline": baseline, "mansa_followup": followup + 0.3 * arm}


@pytest.mark.parametrize("seed", range(4))
def test_in_balanced_complete_trials_it_is_the_difference_of_means_adjusted_by_the_known_regression(seed):
    # exact for given covariances: theta = D(Y) - D(X) (U + E/n)_01 / (U + E/n)_00, D the difference of the arm means
    data, people = balanced(seed), 6
    found = fit(batch(data), method("clda", adjust=[]))
    ours = {name: values[0] for name, values in found.extras.items()}
    cross = ours["correlation"] * math.sqrt(ours["sigma2"] * ours["sigma2_baseline"])
    slope = (ours["tau2_both"] + cross / people) / (ours["tau2_baseline"] + ours["sigma2_baseline"] / people)
    treated = data["arm"] == 1
    x, y = (data[name][treated].mean() - data[name][~treated].mean() for name in ("mansa_baseline", "mansa_followup"))
    assert found.estimate[0, 0] == pytest.approx(y - slope * x, rel=1e-9)
    # and close to ANCOVA with the practice mean of the baseline: equal up to the estimation of that slope
    means = np.bincount(data["practice"], data["mansa_baseline"]) / people
    ancova = fit(
        batch({**data, "mean": means[data["practice"]]}), method("lmm", adjust=["mansa_baseline", "mean"])
    )  # fmt: skip
    assert found.estimate[0, 0] == pytest.approx(ancova.estimate[0, 0], abs=0.15 * ancova.std_error[0, 0])
    assert found.std_error[0, 0] == pytest.approx(ancova.std_error[0, 0], rel=0.06)


def test_a_person_with_one_visit_counts_and_one_with_none_does_not():
    data = gaps(1)
    none = np.isnan(data["mansa_baseline"]) & np.isnan(data["mansa_followup"])
    assert none.any()
    found = fit(batch(data), method("clda", adjust=["mansa_baseline"]))
    assert found.n_used[0] == np.sum(~none)
    without = fit(batch({name: values[~none] for name, values in data.items()}), method("clda", adjust=[]))
    assert found.estimate == pytest.approx(without.estimate, rel=1e-12)


def test_change_and_follow_up_are_one_analysis():
    observed = batch(gaps(2))
    one, other = (fit(observed, method("clda", adjust=["size"], outcome=o)) for o in ("followup", "change"))
    assert one.estimate[0, 0] == other.estimate[0, 0]


def test_without_practice_variance_and_with_one_person_each_the_practice_covariance_is_left_out():
    data = gaps(3, practices=40, most=3)
    first = np.unique(data["practice"], return_index=True)[1]
    found = fit(batch({name: values[first] for name, values in data.items()}), method("clda", adjust=[]))
    assert not found.failed[0]
    assert text(int(found.flags[0])) == "tau2_not_identified"
    assert np.isnan(found.extras["tau2"][0])


def test_an_unbounded_likelihood_is_a_failure():
    # two people share a practice, nobody else does: some combination of the visits is the same for both
    data = ragged(3, practices=40, most=3)
    first = np.unique(data["practice"], return_index=True)[1]
    kept = np.sort([*first, np.flatnonzero(data["practice"] == 0)[1]])
    found = fit(batch({name: values[kept] for name, values in data.items()}), method("clda", adjust=[]))
    assert found.failed[0]
    assert text(int(found.flags[0])) == "tau2_not_identified"


def test_degrees_of_freedom_are_those_of_the_follow_up_model():
    data = ragged(4, practices=14)
    gone = data["practice"] == 3
    data["mansa_followup"] = np.where(gone, np.nan, data["mansa_followup"])
    found = fit(batch(data), method("clda", adjust=["mansa_baseline", "size", "list_size"]))
    assert found.clusters_used[0] == 14  # one of them by its baselines alone
    assert found.df[0, 0] == 13 - 4
    assert fit(batch(data), method("clda", adjust=[], df="normal")).df[0, 0] == np.inf


FAILURES = {
    "no baseline at all": (lambda d: {"mansa_baseline": d["mansa_baseline"] * np.nan}, [], "no_data"),
    "nobody with both": (
        lambda d: {"mansa_baseline": np.where(np.isnan(d["mansa_followup"]), d["mansa_baseline"], np.nan)},
        [],
        "no_data",
    ),
    "baseline constant": (lambda d: {"mansa_baseline": np.full_like(d["arm"], 4.0)}, [], "constant_outcome"),
    "baseline among the covariates": (lambda d: {"twin": 2 * d["mansa_baseline"]}, ["twin"], "constant_outcome"),
    "arm among the covariates": (lambda d: {"twin": 1 - 2 * d["arm"]}, ["twin"], "arm_aliased"),
    "more coefficients than practices": (
        lambda d: {"other": d["practice"] ** 2.0},
        ["list_size", "other"],
        "tau2_not_identified",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FAILURES)
def test_what_cannot_be_fitted_says_why(case):
    change, adjust, flag = FAILURES[case]
    data = gaps(5, practices=4 if case.startswith("more") else 10)
    found = fit(batch({**data, **change(data)}), method("clda", adjust=adjust))
    assert found.failed[0]
    assert np.isnan(found.estimate[0, 0])
    assert flag in text(int(found.flags[0])).split(";")


@pytest.mark.parametrize("subset", [None, "age < 60"])
def test_per_protocol_analyses_those_kept(subset):
    data = gaps(6)
    inner = {"kind": "clda", "adjust": ["mansa_baseline", "size"]}
    found = fit(batch(data), method("per-protocol", keep="arm == 0 or age >= 30", subset=subset, analysis=inner))
    kept = ((data["arm"] == 0) | (data["age"] >= 30)) & (data["age"] < (60 if subset else 1000))
    alone = fit(batch({name: values[kept] for name, values in data.items()}), method(**inner))
    assert not kept.all()
    assert found.n_used[0] == alone.n_used[0]
    assert found.estimate == pytest.approx(alone.estimate, rel=1e-10)
    assert found.std_error == pytest.approx(alone.std_error, rel=1e-10)


def test_one_restriction_inside_another_keeps_both():
    data = gaps(7)
    analysis = {"kind": "clda", "adjust": ["mansa_baseline"]}
    inner = {"kind": "per-protocol", "keep": "age >= 30", "analysis": analysis}
    found = fit(batch(data), method("per-protocol", keep="arm == 0 or age < 60", analysis=inner))
    kept = (data["age"] >= 30) & ((data["arm"] == 0) | (data["age"] < 60))
    alone = fit(batch({name: values[kept] for name, values in data.items()}), method(**analysis))
    assert 0 < kept.sum() < ((data["arm"] == 0) | (data["age"] < 60)).sum()
    assert found.estimate == pytest.approx(alone.estimate, rel=1e-12)
    assert found.n_used[0] == alone.n_used[0]
