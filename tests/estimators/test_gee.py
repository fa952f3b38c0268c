"""Estimating equations against gee, geesmv, saws, geepack and statsmodels, and against whole matrices."""

import json

import numpy as np
import pytest
import slow_twin
from reference import FILES, GEE, Key, Tolerance, disagreements, method, ours, read, reference
from scipy.linalg import sqrtm
from trials import batch, fit, ragged
from twins.equations import gee as dense
from twins.frame import EPS, frame

from simtrial.files.read_trials import read_trials
from simtrial.flags import text
from simtrial.run.analyse import analyse

ROWS = {
    "gee_exch.gee_robust": 284,
    "gee_exch.geesmv_md": 71,
    "gee_exch.saws_d4": 72,
    "gee_exch.statsmodels_robust": 75,
    "gee_exch.statsmodels_bias_reduced": 71,
    "gee_exch.geepack_san.se": 284,
    "gee_indep.statsmodels_bias_reduced": 76,
}
EXACT = Tolerance(1e-9, 1e-9, 1e-9)
CORRECTIONS = ("kauermann-carroll", "robust", "mancl-derouen", "fay-graubard")
ADJUST = ["mansa_baseline", "age", "size"]
DENSE = 1e-9  # as in test_slow_twin: whole matrices of order 50 in double precision


def arm(key, name):
    return ours("gee")[Key(key.trial, name, key.model, key.outcome, "arm")]


@pytest.mark.parametrize("name", GEE)
def test_coefficients_and_standard_errors_are_the_reference(name):
    count, off = disagreements("gee", name, EXACT)
    assert count == ROWS[name]
    assert off == []


def test_kauermann_carroll_is_the_bias_reduced_sandwich_of_gls_with_practice_level_columns():
    """The two differ in general by the square root taken of V; where X is constant in practices they are one.

    clubSandwich on gls with compound symmetry held at the correlation of the estimating equations: CR0, CR2 and CR3.
    """
    corrections = {"CR0": "robust", "CR2": "kauermann-carroll", "CR3": "mancl-derouen"}
    models = {"crude": [], "levels": ["region", "practice_size"]}
    methods = [
        method("gee", name=f"{model}/{se}", adjust=adjust, se=se)
        for model, adjust in models.items()
        for se in corrections.values()
    ]
    ids, observed = read_trials(FILES, set().union(*(m.reads() for m in methods)), {})
    found = {
        (r["trial_id"].split("_")[0], r["method"]): r for r in analyse(ids, observed, methods).iter_rows(named=True)
    }
    rows, apart = read("gee_bias_reduced"), []
    for row in rows:
        for column, se in corrections.items():
            mine = found[row["trial"], f"{row['model']}/{se}"]
            assert json.loads(mine["extra"])["alpha"] == pytest.approx(float(row["alpha"]), rel=1e-9)
            if column == "CR3" and "leverage_one" in mine["flags"]:  # its inverse does not exist
                apart.append(row["trial"])
                continue
            assert mine["std_error"] == pytest.approx(float(row[column]), rel=1e-9)
            assert mine["estimate"] == pytest.approx(float(row["estimate"]), abs=1e-8 * float(row[column]))
    assert len(rows) == 47
    assert apart == ["D18", "D18"]


@pytest.mark.parametrize(
    ("name", "mine"),
    [
        ("gee_exch.gee", "gee_exch.gee_robust"),
        ("gee_exch.statsmodels", "gee_exch.statsmodels_robust"),
        ("gee_exch.geepack", "gee_exch.geepack_san.se"),
    ],
)
def test_correlation_and_scale_are_the_reference(name, mine):
    for term, extra in (("alpha", "alpha"), ("scale", "phi")):
        rows = {k: r["estimate"] for k, r in reference("gee").items() if (k.method, k.term) == (name, term)}
        assert len(rows) == 75
        found = {k: arm(k, mine)["extra"][extra] for k in rows}
        assert found == pytest.approx(rows, rel=1e-9, abs=1e-11)  # of alpha, which may be near 0


def test_a_correlation_at_its_bound_is_refused_where_the_packages_stop_or_give_up():
    bound = {k for k, r in reference("gee").items() if "at_bound" in r["remarks"]}
    refused = {(k.trial, k.model): r["flags"] for k, r in ours("gee").items() if k.term == "arm"
               and (k.method, k.outcome, r["status"]) == ("gee_exch.gee_robust", "followup", "failed")}  # fmt: skip
    assert set(refused) == {(k.trial, k.model) for k in bound}
    cause = {key: "tau2_not_identified" if key == ("D27", "full") else "not_converged" for key in refused}
    assert refused == {key: frozenset({flag}) for key, flag in cause.items()}


@pytest.mark.parametrize("signal", [0.0, 1.0, 1e2, 1e4])
@pytest.mark.parametrize("apart", [1.0, 1e-2, 1e-3, 1e-4, 3e-5])
def test_a_correlation_that_settles_to_within_rounding_is_reported(apart, signal):
    """Nearly collinear covariates, or an outcome nearly explained: alpha moves by up to eps / apart^2 for ever.

    The twin computes on an orthonormal basis made in extended precision. The product has cross-products, which lose the
    squared condition; and what rounding the outcome itself, of size signal, leaves of its residuals.
    """
    for seed in range(3):
        data, rng = ragged(seed, practices=12, most=12, icc=0.3), np.random.default_rng(seed)
        data["age"] = data["mansa_baseline"] + apart * rng.normal(size=len(data["arm"]))
        data["mansa_followup"] = data["mansa_followup"] + signal * data["age"]
        adjust = ["mansa_baseline", "age"]
        found = fit(batch(data), method("gee", adjust=adjust))
        assert text(int(found.flags[0])) == ""
        made = frame(data, "mansa_followup", adjust)
        made.grey = ""  # of columns near the tolerance of the rank
        expected = dense(made, hint=found.extras["alpha"][0])
        lost = 16 * EPS * (made.condition**2 + float((made.outcome @ made.outcome) / (made.residual @ made.residual)))
        assert found.extras["alpha"][0] == pytest.approx(expected.extras["alpha"], abs=lost)
        assert found.estimate[0, 0] == pytest.approx(expected.estimate, abs=lost * expected.std_error)
        assert found.std_error[0, 0] == pytest.approx(expected.std_error, rel=lost)


def inverse_root(matrix):
    """A^(-1/2) of a matrix that is not symmetric but similar to one that is; NaN where it is singular."""
    if np.abs(np.linalg.eigvals(matrix)).min() < 1e-9:
        return np.full(matrix.shape, np.nan)
    return np.linalg.inv(sqrtm(matrix))


def twin(data, adjust, corrected=True, exchangeable=True):
    """Coefficients, alpha, phi and the four covariances by plain loops over practices, each with its whole V."""
    x, y = slow_twin.design(data, adjust), data["mansa_followup"]
    members = [np.flatnonzero(data["practice"] == label) for label in np.unique(data["practice"])]
    n, p = x.shape
    lost, pairs, alpha = p if corrected else 0, sum(len(m) * (len(m) - 1) / 2 for m in members), 0.0
    for _ in range(200):
        inverses = [np.linalg.inv((1 - alpha) * np.eye(len(m)) + alpha) for m in members]
        phi_hat = np.linalg.inv(sum(x[m].T @ v @ x[m] for m, v in zip(members, inverses, strict=True)))
        beta = phi_hat @ sum(x[m].T @ v @ y[m] for m, v in zip(members, inverses, strict=True))
        e = y - x @ beta
        scale = e @ e / (n - lost)
        products = sum(e[a] * e[b] for m in members for i, a in enumerate(m) for b in m[:i])
        before, alpha = alpha, exchangeable * products / ((pairs - lost) * scale)
        if abs(alpha - before) < 1e-15:
            break
    if not (abs(alpha - before) < 1e-12 and alpha > -1 / (max(map(len, members)) - 1)):
        return beta, np.nan, scale, {}
    meats = {se: np.zeros((p, p)) for se in CORRECTIONS}
    for m, v in zip(members, inverses, strict=True):
        rest = np.eye(len(m)) - x[m] @ phi_hat @ x[m].T @ v
        residuals = {
            "robust": e[m],
            "kauermann-carroll": np.real(inverse_root(rest)) @ e[m],
            "mancl-derouen": np.linalg.pinv(rest) @ e[m],
        }
        scores = {se: x[m].T @ v @ residual for se, residual in residuals.items()}
        diagonal = np.diag(x[m].T @ v @ x[m] @ phi_hat)
        scores["fay-graubard"] = scores["robust"] / np.sqrt(1 - np.minimum(0.75, diagonal))
        for se, score in scores.items():
            meats[se] += np.outer(score, score)
    return beta, alpha, scale, {se: phi_hat @ meat @ phi_hat for se, meat in meats.items()}


@pytest.mark.parametrize("working", ["exchangeable", "independence"])
@pytest.mark.parametrize("divisors", ["n-p", "n"])
@pytest.mark.parametrize("adjust", [[], ADJUST], ids=["crude", "adjusted"])
def test_whole_matrices_and_plain_loops_give_the_same(adjust, divisors, working):
    signs, refused = set(), []
    for seed in range(12):
        data = ragged(seed, practices=10, most=8, icc=0.1)
        beta, alpha, phi, covariances = twin(data, adjust, divisors == "n-p", working == "exchangeable")
        if np.isnan(alpha):  # repetition does not come to rest within the bounds
            found = fit(batch(data), method("gee", adjust=adjust, moments=divisors))
            assert text(int(found.flags[0])) == "not_converged"
            refused.append(seed)
            continue
        signs.add(np.sign(alpha))
        lonely = slow_twin.greatest_leverage(slow_twin.design(data, adjust), data["practice"]) > 1 - 1e-9
        for se in CORRECTIONS:
            options = {"adjust": adjust, "se": se, "working": working, "moments": divisors}
            found = fit(batch(data), method("gee", **options), every_term=True)
            at = [*range(1, len(found.terms)), 0]
            std_error = np.sqrt(np.diag(covariances["robust"]))
            assert found.estimate[at, 0] / std_error == pytest.approx(beta / std_error, abs=DENSE)
            assert text(int(found.flags[0])) == ("leverage_one" if lonely else "")
            if not (lonely and se in ("kauermann-carroll", "mancl-derouen")):  # I - H has no inverse: see OLS below
                assert found.std_error[at, 0] == pytest.approx(np.sqrt(np.diag(covariances[se])), rel=DENSE)
            assert [found.extras["alpha"][0], found.extras["phi"][0]] == pytest.approx([alpha, phi], rel=DENSE)
    assert signs == ({0.0} if working == "independence" else {-1.0, 1.0})
    assert len(refused) <= 1


@pytest.mark.parametrize(("gee", "ols"), [("robust", "CR0"), ("kauermann-carroll", "CR2"), ("mancl-derouen", "CR3")])
@pytest.mark.parametrize("seed", [5, 3])  # in the second, a practice has leverage one
def test_with_independence_the_sandwiches_are_those_of_least_squares(gee, ols, seed):
    observed = batch(ragged(seed, practices=10, most=8))
    left = fit(observed, method("gee", adjust=ADJUST, working="independence", se=gee), every_term=True)
    right = fit(observed, method("ols", adjust=ADJUST, se=ols, df="clusters-p"), every_term=True)
    for name in ("estimate", "std_error", "df", "ci_lower", "p_value"):
        assert getattr(left, name) == pytest.approx(getattr(right, name), rel=1e-12)


def test_with_no_more_pairs_than_coefficients_independence_is_used_and_said():
    data = ragged(2, practices=12, most=1)
    data["practice"][1] = data["practice"][0]  # one pair; its two people must share an arm
    data["arm"][1] = data["arm"][0]
    found, plain = (fit(batch(data), method("gee", adjust=[], working=w)) for w in ("exchangeable", "independence"))
    assert text(int(found.flags[0])) == "tau2_not_identified"
    assert not found.failed[0]
    assert np.isnan(found.extras["alpha"][0])
    assert found.std_error[0, 0] == plain.std_error[0, 0]


def test_members_of_a_practice_may_repel_each_other():
    practice = np.repeat(np.arange(12), 2)
    rng = np.random.default_rng(4)
    own = np.repeat(rng.normal(size=12), 2) * np.tile([1.0, -1.0], 12)
    data = {"practice": practice, "arm": practice % 2.0, "mansa_followup": own + rng.normal(size=24)}
    found = fit(batch(data), method("gee", adjust=[]))
    assert not found.failed[0]
    assert -1 < found.extras["alpha"][0] < -0.2


def test_a_refused_trial_leaves_the_others_of_its_batch_alone():
    good, rng = ragged(3, most=7), np.random.default_rng(9)
    bad = {**good, "mansa_followup": rng.normal(size=len(good["arm"]))}
    for label in np.unique(bad["practice"]):  # practice means are all but equal: correlation below its bound
        chosen = bad["practice"] == label
        bad["mansa_followup"][chosen] -= bad["mansa_followup"][chosen].mean() + 1e-3 * label
    both = {name: np.concatenate([good[name], bad[name]]) for name in good}
    both["trial"] = np.repeat([0, 1], len(good["arm"]))
    alone = fit(batch(good), method("gee", adjust=[]), every_term=True)
    found = fit(batch(both), method("gee", adjust=[]), every_term=True)
    assert found.failed.tolist() == [False, True]
    assert text(int(found.flags[1])) == "not_converged"
    assert np.isnan(found.estimate[:, 1]).all()
    assert found.estimate[:, 0] == pytest.approx(alone.estimate[:, 0], rel=1e-12)
