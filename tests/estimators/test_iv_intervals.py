"""Fieller's set, the tF interval and the effective first-stage F, against their published formulas and tables."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from pydantic import ValidationError
from reference import FILES, MODELS, RECEIVED, method, reference
from scipy import integrate, stats
from trials import batch, fit, ragged

from simtrial.files.read_trials import read_trials
from simtrial.flags import text
from simtrial.kernels import adjusted_t
from simtrial.run.analyse import analyse

IV = {"received": "received == 1"}
SETS = ("estimate", "std_error", "df", "ci_lower", "ci_upper", "p_value", "flags", "failed")


# --- Fieller ---


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"se": "CR1S", "df": "clusters-p"},
        {"se": "classical"},
        {"level_of_analysis": "cluster"},
        {"level_of_analysis": "cluster", "weights": "inverse-variance"},
    ],
    ids=str,
)
def test_fieller_is_the_inverted_test_where_the_weights_do_not_depend_on_theta(options, level):
    """Of every kind: the trials below have bounded and unbounded sets."""
    kinds = set()
    for seed in range(40):
        data = weak(seed)
        one, other = (fit(batch(data), method("iv", adjust=["mansa_baseline"], level=level, ci=ci, **IV, **options))
                      for ci in ("fieller", "anderson-rubin"))  # fmt: skip
        for name in SETS:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert one.notes["ci_type"] == other.notes["ci_type"]
        kinds.add(str(one.notes["ci_type"][0]))
    assert kinds >= {"interval", "two-rays", "whole-line"}


@pytest.mark.parametrize("level_of_analysis", ["participant", "cluster"])
def test_fieller_is_the_published_formula(level_of_analysis):
    """Fieller 1954: {theta - g v12/v22 -+ (t/pi) sqrt(v11 - 2 theta v12 + theta^2 v22 - g (v11 - v12^2/v22))}/(1 - g).

    g = t^2 v22 / pi^2: an interval for g < 1, for g > 1 the outside of the limits, or everything without a root. The
    covariances are taken from the variances of three outcomes, y, d and y - d, each analysed as an outcome.
    """
    seen = set()
    for seed in range(60):
        data = weak(seed)
        options = {"level_of_analysis": level_of_analysis, "df": "clusters-2", "se": "CR1"}
        found = fit(batch(data), method("iv", adjust=[], ci="fieller", **IV, **options))
        if found.failed[0]:
            continue
        rho, pi, v11, v12, v22 = arm_effects(data, level_of_analysis)
        t = stats.t.ppf(0.975, len(np.unique(data["practice"])) - 2)
        theta, g = rho / pi, t**2 * v22 / pi**2
        under = v11 - 2 * theta * v12 + theta**2 * v22 - g * (v11 - v12**2 / v22)
        kind = "interval" if g < 1 else "two-rays" if under > 0 else "whole-line"
        assert found.notes["ci_type"][0] == kind
        seen.add(kind)
        if kind == "whole-line":
            assert (found.ci_lower[0, 0], found.ci_upper[0, 0]) == (-np.inf, np.inf)
            continue
        ends = sorted((theta - g * v12 / v22 + s * t / pi * np.sqrt(under)) / (1 - g) for s in (-1, 1))
        assert (found.ci_lower[0, 0], found.ci_upper[0, 0]) == pytest.approx(ends, rel=1e-7 / abs(1 - g))
    assert seen == {"interval", "two-rays", "whole-line"}


def weak(seed):
    """A trial in which receipt differs between the arms a lot, a little or by chance."""
    data = ragged(seed, practices=14)
    rng = np.random.default_rng([31, seed])
    share = 0.3 + rng.choice([0.0, 0.1, 0.25, 0.6]) * data["arm"]
    data["received"] = (rng.random(len(data["arm"])) < share) * 1.0
    data["mansa_followup"] = data["mansa_followup"] + rng.choice([0.0, 2.0]) * data["arm"]
    return data


def arm_effects(data, level_of_analysis):
    """Differences of the arms in outcome and receipt, and their covariance CR1, from sums over practices."""
    practices = np.unique(data["practice"])
    arm = np.array([data["arm"][data["practice"] == g][0] for g in practices])
    people = level_of_analysis == "participant"
    sums = np.array([[data[c][data["practice"] == g].sum() for c in ("mansa_followup", "received")] for g in practices])
    n = np.array([(data["practice"] == g).sum() for g in practices], dtype=float)
    values, n = (sums, n) if people else (sums / n[:, None], np.ones(len(n)))
    effect, variance = np.zeros(2), np.zeros((2, 2))
    for a, sign in ((0, -1), (1, 1)):
        own = arm == a
        mean = values[own].sum(axis=0) / n[own].sum()
        scores = (values[own] - n[own, None] * mean) / n[own].sum()
        effect += sign * mean
        variance += scores.T @ scores
    variance *= len(n) / (len(n) - 1)
    return *effect, variance[0, 0], variance[0, 1], variance[1, 1]


# --- tF ---


def test_the_table_is_the_published_one():
    """Lee et al. 2022: 100 points, 1.751 at F = 10 (their example), 1.96 from 104.67 on, no bound below 1.96^2.

    And the shorter table of their working paper, by the square root of F in steps of 0.1 from 2.
    """
    assert len(adjusted_t.FIRST_STAGE) == len(adjusted_t.CRITICAL) == 100
    f = np.array([1.0, 3.84, 4.0, 10.0, 104.67, 1000.0, np.inf, np.nan])
    expected = [np.inf, np.inf, 18.656 / 1.96, 1.751, 1.0, 1.0, 1.0, np.nan]
    assert adjusted_t.factor(f) == pytest.approx(expected, rel=1e-4, nan_ok=True)
    assert adjusted_t.factor(adjusted_t.FIRST_STAGE) * 1.96 == pytest.approx(adjusted_t.CRITICAL, rel=1e-12)
    short = [18.66, 9.74, 7.37, 6.18, 5.43, 4.92, 4.54, 4.25, 4.01, 3.82, 3.65, 3.51, 3.39, 3.29, 3.19, 3.11, 3.03]
    roots = 2 + 0.1 * np.arange(len(short))
    assert adjusted_t.factor(roots**2 + 1e-12) * 1.96 == pytest.approx(short, abs=0.011)  # theirs are rounded upwards


@pytest.mark.parametrize("first_stage", [0.5, 1.0, 2.0, 3.0, 4.0, 6.0])
def test_the_table_rejects_five_percent_at_the_worst_correlation(first_stage):
    """At correlation 1 the ratio's t is z (f0 + z)/f0 and F is (f0 + z)^2, z normal: integrated, the size is 5%.

    Linear interpolation of a convex function is above it: at most 5%, and as close as the table is fine.
    """
    z = np.linspace(-9, 9, 2_000_001)
    with np.errstate(divide="ignore", invalid="ignore"):
        rejected = np.abs(z * (first_stage + z) / first_stage) > 1.96 * adjusted_t.factor((first_stage + z) ** 2)
    size = integrate.trapezoid(stats.norm.pdf(z) * rejected, z)
    assert 0.0495 < size < 0.05002  # 1.96 for 1.959964, and three decimals of the table


@cache
def analysed(options):
    names = [(prefix, model) for prefix in RECEIVED for model in MODELS]
    methods = [
        method("iv", name=f"{prefix}/{model}", adjust=MODELS[model], received=RECEIVED[prefix], **dict(options))
        for prefix, model in names
    ]
    ids, observed = read_trials(FILES, set().union(*(m.reads() for m in methods)), {})
    rows = analyse(ids, observed, methods).iter_rows(named=True)
    return {(row["trial_id"].split("_")[0], *row["method"].split("/")): row for row in rows}


@pytest.mark.parametrize("se", ["classical", "CR0", "CR1", "CR1S", "CR2"])
def test_the_tf_interval_of_every_reference_trial(se):
    """Estimate, standard error and F of the reference, the critical value read off the table; and the effective F."""
    found = analysed(tuple({"se": se, "df": "normal", "ci": "tf"}.items()))
    rows = reference("cace")
    suffix = "classical" if se == "classical" else f"{se}.normal"
    robust = "CR2" if se == "classical" else se
    count = 0
    for key, row in rows.items():
        if key.outcome != "followup" or not key.method.endswith(f".2sls.{suffix}") or key.term != "received":
            continue
        prefix = key.method.split(".")[0]
        mine = found[key.trial, prefix, key.model]
        own, wanted = (
            rows.get(replace(key, method=f"{prefix}.first_stage.{name}", term="F"), {}).get("estimate")
            for name in (se, robust)
        )
        if mine["status"] == "failed" or own is None or "received_is_arm" in row["remarks"] or own > 1e20:
            continue
        extra = json.loads(mine["extra"])
        assert extra["effective_f"] == pytest.approx(wanted, rel=2e-7), key
        if se != "classical":
            assert extra["effective_f"] == extra["first_stage_f"]
        if own < 4:
            assert (mine["ci_lower"], extra["ci_type"]) == (-np.inf, "whole-line")
            continue
        half = (
            np.interp(own, adjusted_t.FIRST_STAGE, adjusted_t.CRITICAL) * row["std_error"] * (1.959963984540054 / 1.96)
        )
        for end, expected in (("ci_lower", row["estimate"] - half), ("ci_upper", row["estimate"] + half)):
            assert mine[end] == pytest.approx(expected, abs=1e-6 * half), key
        count += 1
    assert count > 70


def test_fieller_of_every_reference_trial_is_the_reference_anderson_rubin_interval():
    found = analysed(tuple({"se": "CR1S", "df": "clusters-1", "ci": "fieller"}.items()))
    count = 0
    for key, row in reference("cace").items():
        if not key.method.endswith("anderson_rubin.CR1S") or key.outcome != "followup":
            continue
        mine = found[key.trial, key.method.split(".")[0], key.model]
        if mine["status"] == "failed" or np.isnan(row["ci_lower"]) or "received_is_arm" in row["remarks"]:
            continue
        if "two_rays" in row["remarks"] or "unbounded" in " ".join(row["remarks"]):
            continue
        width = row["ci_upper"] - row["ci_lower"]
        assert (mine["ci_lower"], mine["ci_upper"]) == pytest.approx(
            (row["ci_lower"], row["ci_upper"]), abs=1e-6 * width
        )
        count += 1
    assert count > 140


def test_interval_and_test_of_tf_agree_and_the_error_stays():
    seen = set()
    for seed in range(60):
        data = weak(seed)
        found, plain = (fit(batch(data), method("iv", adjust=[], ci=ci, **IV)) for ci in ("tf", "wald"))
        if found.failed[0]:
            continue
        lower, upper, p = found.ci_lower[0, 0], found.ci_upper[0, 0], found.p_value[0, 0]
        assert (found.estimate[0, 0], found.std_error[0, 0], found.df[0, 0]) == (
            plain.estimate[0, 0], plain.std_error[0, 0], plain.df[0, 0])  # fmt: skip
        assert (lower <= 0 <= upper) == (p >= 0.05)
        f, df = found.extras["first_stage_f"][0], found.df[0, 0]
        assert p == pytest.approx(stats.f.sf(found.extras["statistic"][0], 1, df), rel=1e-9)
        assert ("unbounded_interval" in text(int(found.flags[0]))) == (f < 4) == (p == 1.0)
        assert lower <= plain.ci_lower[0, 0]
        seen.add("none" if f < 4 else "some" if f < 104.67 else "strong")
    assert seen >= {"none", "some"}


def test_tf_has_one_level():
    with pytest.raises(ValidationError, match=r"level 0\.95 only"):
        method("iv", adjust=[], ci="tf", level=0.9, **IV)


@pytest.mark.parametrize("ci", ["fieller", "tf"])
def test_neither_goes_into_mi(ci):
    with pytest.raises(ValidationError, match=f"ci = '{ci}'"):
        method("mi", adjust=[], analysis={"kind": "iv", "ci": ci, **IV})


# --- effective F ---


@pytest.mark.parametrize("se", ["CR0", "CR1S", "HC1"])
def test_the_effective_f_is_that_of_its_paper(se):
    """Montiel Olea and Pflueger 2013: F_eff = D'Z Z'D / tr W, Z orthonormal after covariates, W the variance of Z'v.

    Matrices written out for any number of columns; here there is one, and F_eff is the robust F.
    """
    for seed in range(8):
        data = ragged(seed, practices=16)
        x = np.column_stack([np.ones(len(data["arm"])), data["mansa_baseline"]])
        less = np.eye(len(x)) - x @ np.linalg.pinv(x)
        z = np.linalg.qr(less @ data["arm"][:, None])[0]
        d = less @ data["received"]
        v = d - z @ (z.T @ d)
        n, p = len(d), x.shape[1] + z.shape[1]
        labels = data["practice"] if se != "HC1" else np.arange(n)
        scores = np.stack([z[labels == g].T @ v[labels == g] for g in np.unique(labels)])
        j = len(scores)
        scale = {"CR0": 1.0, "CR1S": j / (j - 1) * (n - 1) / (n - p), "HC1": n / (n - p)}[se]
        w = scale * scores.T @ scores
        found = fit(batch(data), method("iv", adjust=["mansa_baseline"], se=se, **IV))
        assert found.extras["effective_f"][0] == pytest.approx(d @ z @ z.T @ d / np.trace(w), rel=1e-9)
        assert found.extras["effective_f"][0] == found.extras["first_stage_f"][0]


# --- files in which nothing can be said ---


@pytest.mark.parametrize("ci", ["fieller", "tf"])
@pytest.mark.parametrize("level_of_analysis", ["participant", "cluster"])
@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"received": 0.0}, "no_first_stage"),
        ({"received": 1.0}, "no_first_stage"),
        ({"arm": 1.0}, "one_arm"),
        ({"received": np.nan}, "no_data"),
        ({"mansa_followup": 4.0}, "constant_outcome"),
    ],
    ids=str,
)
def test_degenerate_files_fail_with_their_cause(ci, level_of_analysis, changed, cause):
    data = ragged(2)
    data |= {name: np.full(len(data["arm"]), value) for name, value in changed.items()}
    found = fit(batch(data), method("iv", adjust=[], ci=ci, level_of_analysis=level_of_analysis, **IV))
    assert found.failed[0]
    assert cause in text(int(found.flags[0])).split(";")
    assert found.notes["ci_type"][0] == ""
    numbers = [found.ci_lower[0, 0], found.ci_upper[0, 0], found.p_value[0, 0], found.extras["statistic"][0],
               found.extras["effective_f"][0]]  # fmt: skip
    assert np.isnan(numbers).all()


@pytest.mark.parametrize("ci", ["fieller", "tf"])
def test_receipt_that_is_the_arm_gives_walds_interval(ci):
    """A first stage without error: theta is the effect of allocation, and so is its interval."""
    data = ragged(2)
    data["received"] = data["arm"]
    found, plain = (fit(batch(data), method("iv", adjust=[], ci=c, **IV)) for c in (ci, "wald"))
    assert found.ci_lower[0, 0] == pytest.approx(plain.ci_lower[0, 0], rel=1e-10)
    assert found.ci_upper[0, 0] == pytest.approx(plain.ci_upper[0, 0], rel=1e-10)
    assert np.isinf(found.extras["effective_f"][0])
