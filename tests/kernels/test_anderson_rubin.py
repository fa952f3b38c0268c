"""Anderson-Rubin sets: a dense textbook test of every value on a fine grid, and what the stored ends say of it."""

import json

import numpy as np
import pytest
from reference import method
from scipy import stats
from trials import batch, fit

from simtrial.flags import BIT
from simtrial.kernels.anderson_rubin import not_rejected
from simtrial.kernels.interval_sets import holds

SES = ("classical", "CR0", "CR1", "CR1S", "CR2")
RECEIVED = "received == 1"


# --- the textbook, with full matrices ---


def design(data, adjust):
    """X with intercept and arm last, and the practices of the rows."""
    x = np.column_stack([np.ones(len(data["arm"])), *(data[name] for name in adjust), data["arm"]])
    return x, np.unique(data["practice"], return_inverse=True)[1]


def arm_t(x, practice, y, se):
    """T statistic of the last coefficient of least squares: (X'X)^-1 X'y and its sandwich written out."""
    n, p = x.shape
    inverse = np.linalg.inv(x.T @ x)
    beta = inverse @ x.T @ y
    rest = y - x @ beta
    groups = [practice == g for g in np.unique(practice)]
    j = len(groups)
    if se == "classical":
        variance = inverse * (rest @ rest) / (n - p)
    else:
        hat = x @ inverse @ x.T
        meat = np.zeros((p, p))
        for g in groups:
            e = rest[g]
            if se == "CR2":  # A_g is the inverse square root of (I - H)_gg
                values, vectors = np.linalg.eigh(np.eye(g.sum()) - hat[np.ix_(g, g)])
                root = np.where(values > 1e-10, 1 / np.sqrt(np.maximum(values, 1e-10)), 0.0)
                e = vectors @ (root * (vectors.T @ e))
            score = x[g].T @ e
            meat += np.outer(score, score)
        variance = inverse @ meat @ inverse
        variance *= {"CR1": j / (j - 1), "CR1S": j / (j - 1) * (n - 1) / (n - p)}.get(se, 1.0)
    return beta[-1] / np.sqrt(variance[-1, -1])


def odd(seed):
    """Draw a trial of few unequal practices with weak, strong, reversed or two-sided receipt, on an odd scale."""
    rng = np.random.default_rng([20, seed])
    j = int(rng.integers(6, 26))
    sizes = rng.choice([1, 2, 3, 5, 8, 30], j)
    sizes[:2] = 5
    practice = np.repeat(np.arange(j), sizes)
    arm = rng.permutation(np.arange(j) % 2).astype(float)[practice]
    base, lift = rng.choice([0.0, 0.2, 0.5]), rng.choice([-0.3, 0.02, 0.1, 0.4, 0.8])
    received = (rng.random(len(practice)) < np.clip(base + lift * arm + rng.normal(0, 0.15, j)[practice], 0, 1)) * 1.0
    x = np.round(rng.normal(size=len(practice)), int(rng.integers(0, 3)))
    noise = rng.normal(size=len(practice)) + rng.normal(0, rng.choice([0.0, 0.4, 2.0]), j)[practice]
    y = rng.choice([1e-3, 1.0, 1e4]) * (
        rng.choice([0.0, 0.5, 3.0]) * received + 0.5 * x + noise + rng.choice([0, 100.0])
    )
    return {"practice": practice, "arm": arm, "received": received, "x": x, "mansa_followup": y}


def grid(lower, upper, estimate, scale):
    """Values everywhere: close to the ends, between and beyond them, and on both sides of 0 over ten decades."""
    ends = [v for v in (lower, upper) if np.isfinite(v)]
    near = [v + s * scale * d for v in ends for s in (-1, 1) for d in 10.0 ** np.arange(-5, 4)]
    wide = [s * scale * d for s in (-1, 1) for d in 10.0 ** np.arange(-5, 6)]
    between = np.linspace(ends[0], ends[-1], 41).tolist() if ends else []
    return np.unique([0.0, estimate, *near, *wide, *between])


def disagreements(seed):
    """Kind of the set of one odd trial, how many values were judged, and those judged otherwise by the textbook."""
    rng = np.random.default_rng([21, seed])
    data, se = odd(seed), SES[int(rng.integers(len(SES)))]
    adjust = ["x"] if rng.random() < 0.5 else []
    level = float(rng.choice([0.8, 0.95, 0.99]))
    found = fit(batch(data), method("iv", adjust=adjust, received=RECEIVED, se=se, df="clusters-2",
                                    ci="anderson-rubin", level=level))  # fmt: skip
    if found.failed[0]:
        return "failed", 0, []
    x, practice = design(data, adjust)
    y, d = data["mansa_followup"], data["received"]
    df = len(np.unique(practice)) - 2
    critical = stats.t.ppf(0.5 + level / 2, df)
    lower, upper, kind = found.ci_lower[0, 0], found.ci_upper[0, 0], str(found.notes["ci_type"][0])
    off, judged = [], 0
    for theta in grid(lower, upper, found.estimate[0, 0], y.std() / d.std()):
        t = arm_t(x, practice, y - theta * d, se)
        if abs(t**2 - critical**2) < 1e-6 * critical**2:
            continue  # as close to an end as rounding of y - theta d
        judged += 1
        mine = holds(found.ci_lower[0], found.ci_upper[0], kind == "two-rays", kind == "empty", theta)[0]
        if mine != (abs(t) <= critical):
            off.append((seed, se, kind, theta, t, critical))
    t0 = arm_t(x, practice, y, se)
    p = 2 * stats.t.sf(abs(t0), df)
    row = (found.extras["statistic"][0], found.extras["df_num"][0], found.extras["df_den"][0], found.df[0, 0])
    assert row == pytest.approx((t0**2, 1.0, df, df), rel=1e-7)
    assert found.p_value[0, 0] == pytest.approx(p, rel=1e-6, abs=1e-12)
    assert bool(found.flags[0] & BIT["unbounded_interval"]) == (kind != "interval")
    return kind, judged, off


def test_the_set_holds_what_the_textbook_test_does_not_reject():
    results = [disagreements(seed) for seed in range(150)]
    kinds = [kind for kind, _, _ in results]
    assert [line for _, _, off in results for line in off] == []
    assert sum(judged for _, judged, _ in results) > 5000
    for kind, least in (("interval", 30), ("two-rays", 15), ("whole-line", 15)):
        assert kinds.count(kind) >= least, kind


@pytest.mark.slow
@pytest.mark.verify
def test_the_set_holds_what_the_textbook_test_does_not_reject_in_many_designs():
    for seed in range(1000, 5000):
        assert disagreements(seed)[2] == []


# --- the quadratic, at its borderlines ---


def made(rho, pi, yy, yd, dd, t=2.0):
    joint = np.array([[[yy], [yd]], [[yd], [dd]]], dtype=float)
    found = not_rejected(np.array([rho]), np.array([pi]), joint, np.array([t]))
    return found.lower[0], found.upper[0], str(found.kind[0])


@pytest.mark.parametrize(
    ("forms", "expected"),
    [
        ((1.0, 2.0, 0.25, 0.0, 0.25), (0.0, 4 / 3, "interval")),  # c = 0: an end at 0 exactly
        ((1.0, 1.0, 0.25, 0.0, 0.25), (0.0, np.inf, "ray")),  # a = 0, c = 0: from 0 on
        ((2.0, 1.0, 0.25, 0.0, 0.25), (0.75, np.inf, "ray")),  # a = 0, b = 2, c = 3
        ((-2.0, 1.0, 0.25, 0.0, 0.25), (-np.inf, -0.75, "ray")),  # its mirror image
        ((1.0, 0.0, 0.0625, 0.0, 0.25), (-np.sqrt(0.75), np.sqrt(0.75), "two-rays")),  # no first stage: a = -1, c = 3/4
        ((0.1, 0.0, 0.0625, 0.0, 0.25), (-np.inf, np.inf, "whole-line")),
        ((0.1, 0.0, 0.0625, 0.0, 0.0), (-np.inf, np.inf, "whole-line")),  # nobody's receipt varies, not rejected
        ((1.0, 0.0, 0.0625, 0.0, 0.0), (np.nan, np.nan, "empty")),  # the same, rejected: no value explains it
        ((3.0, 1.0, 0.0, 0.0, 0.0), (3.0, 3.0, "interval")),  # no variance: the estimate alone
    ],
)
def test_borderlines_are_what_they_are(forms, expected):
    lower, upper, kind = made(*forms)
    assert kind == expected[2]
    assert (lower, upper) == pytest.approx(expected[:2], rel=1e-12, abs=1e-12, nan_ok=True)


def test_an_end_that_runs_away_keeps_the_other_one_exact():
    """As a goes to 0 from either side one root is c/2b to the last digits, and the other leaves for infinity."""
    for nudge in (1e-6, 1e-12, 1e-15, -1e-6, -1e-12, -1e-15):
        lower, upper, kind = made(2.0, 1.0, 0.25, 0.0, 0.25 * (1 - nudge))
        a = 1.0 - 4.0 * (0.25 * (1 - nudge))
        assert kind == ("interval" if a > 0 else "two-rays" if a < 0 else "ray")
        near = lower if a > 0 else upper
        assert near == pytest.approx(3 / (2 + np.sqrt(4 - 3 * a)), rel=1e-14)
        assert abs(lower if a < 0 else upper) == pytest.approx(4 / abs(a), rel=abs(a) + 1e-12)


# --- rows ---


def two_rays():
    """Return a trial whose set is two rays: receipt differs a little between the arms, the outcome much."""
    seed = next(s for s in range(200) if disagreements(s)[0] == "two-rays")
    return odd(seed)


def test_nobody_received_fails_with_its_reason_and_without_a_test():
    data = odd(3)
    found = fit(batch({**data, "received": 0 * data["received"]}),
                method("iv", adjust=[], received=RECEIVED, ci="anderson-rubin"))  # fmt: skip
    assert found.failed[0]
    assert found.flags[0] & BIT["no_first_stage"]
    assert not found.flags[0] & BIT["unbounded_interval"]
    assert found.notes["ci_type"][0] == ""
    assert np.isnan([found.ci_lower[0, 0], found.p_value[0, 0], found.extras["statistic"][0]]).all()


def test_only_the_effect_of_receipt_has_a_set_among_all_terms():
    from simtrial.run.analyse import analyse

    data = two_rays()
    asked = method("iv", adjust=["x"], received=RECEIVED, ci="anderson-rubin", se="CR1S", df="clusters-2")
    rows = analyse(["t"], batch(data), [asked], every_term=True)
    extra = [json.loads(text) for text in rows["extra"]]
    assert ["ci_type" in e for e in extra] == [True, False, False]
    assert ["df_den" in e for e in extra] == [True, False, False]
    assert rows["statistic"][0] == pytest.approx(stats.f.isf(rows["p_value"][0], 1, rows["df"][0]), rel=1e-6)
    rest = rows[1:]
    assert rest["statistic"].to_list() == pytest.approx((rest["estimate"] / rest["std_error"]).to_list())
