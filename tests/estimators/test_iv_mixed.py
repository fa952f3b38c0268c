"""Ratio of two mixed-model effects: whole matrices practice by practice, closed forms, the reference's mixed model."""

import numpy as np
import pytest
from pydantic import ValidationError
from reference import FILES, MODELS, RECEIVED, Key, method, reference
from scipy import stats
from slow_twin import design, optimum, same_practice
from trials import batch, fit, ragged

from simtrial.files.read_trials import read_trials
from simtrial.flags import text
from simtrial.kernels.adjusted_t import CRITICAL, FIRST_STAGE

IV = {"received": "received == 1", "ratio": "lmm"}


def flags(found, trial=0):
    return set(text(int(found.flags[trial])).split(";")) - {""}


def refitted(data, adjust, response):
    """Arm coefficient of the mixed model: gamma by a grid and a root, generalised least squares with whole matrices."""
    x, y, shared = design(data, adjust), data[response], same_practice(data["practice"])
    gamma = optimum(y, x, shared)
    v = np.linalg.inv(np.eye(len(y)) + gamma * shared)
    return np.linalg.solve(x.T @ v @ x, x.T @ v @ y)[-1]


@pytest.mark.parametrize("ci", ["wald", "fieller", "tf"])
@pytest.mark.parametrize("adjust", [[], ["mansa_baseline"]], ids=str)
def test_ratio_and_jackknife_by_whole_matrices(adjust, ci):
    """To 1e-5: the minimum is found by minimisation of a flat criterion there."""
    data = ragged(6, practices=12)
    practices = np.unique(data["practice"])
    j = len(practices)
    responses = ("mansa_followup", "received")
    effects = np.array([refitted(data, adjust, r) for r in responses])
    without = np.array([
        [refitted({k: v[data["practice"] != g] for k, v in data.items()}, adjust, r) for r in responses]
        for g in practices
    ])  # fmt: skip
    apart = without - without.mean(axis=0)
    v = (j - 1) / j * apart.T @ apart
    theta = effects[0] / effects[1]
    gradient = np.array([1.0, -theta]) / effects[1]
    std_error, df = np.sqrt(gradient @ v @ gradient), j - 2
    t, f = stats.t.ppf(0.975, df), effects[1] ** 2 / v[1, 1]
    found = fit(batch(data), method("iv", adjust=adjust, ci=ci, **IV))
    assert found.estimate[0, 0] == pytest.approx(theta, rel=1e-5)
    assert found.std_error[0, 0] == pytest.approx(std_error, rel=1e-5)
    assert found.df[0, 0] == df
    assert found.extras["first_stage_f"][0] == found.extras["effective_f"][0] == pytest.approx(f, rel=1e-5)
    if ci == "fieller":
        a, b, c = effects[1] ** 2 - t**2 * v[1, 1], effects.prod() - t**2 * v[0, 1], effects[0] ** 2 - t**2 * v[0, 0]
        ends = [(b - np.sqrt(b**2 - a * c)) / a, (b + np.sqrt(b**2 - a * c)) / a]
    else:
        wider = 1.0 if ci == "wald" else np.interp(f, FIRST_STAGE, CRITICAL) / 1.96
        ends = [theta - t * std_error * wider, theta + t * std_error * wider]
    assert (found.ci_lower[0, 0], found.ci_upper[0, 0]) == pytest.approx(ends, rel=1e-4, abs=1e-5 * std_error)


def test_practices_of_one_size_have_a_closed_form():
    """Then any mixed model compares plain means: e_j/(k - 1) is what practice j of the k of its arm moves them by."""
    rng = np.random.default_rng(4)
    practice = np.repeat(np.arange(13), 5)
    arm = (practice % 2).astype(float)
    received = (rng.random(65) < 0.1 + 0.6 * arm) * 1.0
    y = received + rng.normal(size=65) + rng.normal(size=13)[practice]
    data = {"practice": practice, "arm": arm, "received": received, "mansa_followup": y}
    values = np.stack([np.bincount(practice, r) / 5 for r in (y, received)], axis=1)
    effects, moved = np.zeros(2), np.zeros((13, 2))
    for a, sign in ((0, -1), (1, 1)):
        own = np.arange(13) % 2 == a
        effects += sign * values[own].mean(axis=0)
        moved[own] = -sign * (values[own] - values[own].mean(axis=0)) / (own.sum() - 1)
    v = 12 / 13 * moved.T @ moved
    theta = effects[0] / effects[1]
    expected = np.sqrt(v[0, 0] - 2 * theta * v[0, 1] + theta**2 * v[1, 1]) / abs(effects[1])
    found = fit(batch(data), method("iv", adjust=[], **IV))
    assert found.estimate[0, 0] == pytest.approx(theta, rel=1e-11)
    assert found.std_error[0, 0] == pytest.approx(expected, rel=1e-11)
    assert found.df[0, 0] == 11
    assert found.estimate[0, 0] == pytest.approx(
        fit(batch(data), method("iv", adjust=[], received="received == 1")).estimate[0, 0], rel=1e-11
    )


@pytest.mark.parametrize("k", [2, 5, 12])
def test_the_jackknife_is_conservative_by_a_known_factor(k):
    """k practices of one size in either arm: (2k - 1)/(2k - 2) times the unbiased sandwich, in every trial."""
    rng = np.random.default_rng(k)
    practice = np.repeat(np.arange(2 * k), 6)
    arm = (practice % 2).astype(float)
    received = (rng.random(12 * k) < 0.1 + 0.7 * arm) * 1.0
    y = received + rng.normal(size=12 * k) + rng.normal(size=2 * k)[practice]
    data = batch({"practice": practice, "arm": arm, "received": received, "mansa_followup": y})
    jackknife = fit(data, method("iv", adjust=[], **IV)).std_error[0, 0]
    sandwich = fit(data, method("iv", adjust=[], received="received == 1", se="CR2")).std_error[0, 0]
    assert (jackknife / sandwich) ** 2 == pytest.approx((2 * k - 1) / (2 * k - 2), rel=1e-10)


@pytest.mark.parametrize("prefix", RECEIVED)
@pytest.mark.parametrize("model", MODELS)
def test_its_numerator_is_the_mixed_model_of_the_reference(prefix, model):
    """Every file, both definitions of receipt: ratio times first stage is lme4's arm coefficient, to 1e-7 of its SE."""
    asked = method("iv", adjust=MODELS[model], received=RECEIVED[prefix], ratio="lmm")
    ids, observed = read_trials(FILES, asked.reads(), {})
    found, lmm, compared = fit(observed, asked), reference("lmm"), 0
    wald = reference("cace")
    for trial, name in enumerate(ids):
        short = name.split("_")[0]
        row = lmm.get(Key(short, "lmm_reml.normal", model, "followup", "arm"))
        receipt = wald.get(Key(short, f"{prefix}.wald", model, "followup", "itt_d"))
        if row is None or found.failed[trial]:
            assert row is None or flags(found, trial) & {
                "no_first_stage", "tau2_not_identified", "too_few_clusters", "constant_outcome", "one_arm"
            }, name  # fmt: skip
            continue
        ours = found.estimate[0, trial] * found.extras["first_stage"][trial]
        assert ours == pytest.approx(row["estimate"], abs=1e-7 * row["std_error"]), name
        if receipt is not None and "received_is_arm" in receipt["remarks"]:
            assert found.estimate[0, trial] == pytest.approx(row["estimate"], abs=1e-7 * row["std_error"])
        compared += 1
    assert compared >= 23


def test_trials_together_are_trials_alone():
    datas = [ragged(seed, practices=10 + seed) for seed in range(4)]
    asked = method("iv", adjust=["mansa_baseline"], ci="fieller", **IV)
    both = {k: np.concatenate([d[k] for d in datas]) for k in datas[0]}
    both["trial"] = np.repeat(np.arange(4), [len(d["arm"]) for d in datas])
    found = fit(batch(both), asked)
    for trial, data in enumerate(datas):
        alone = fit(batch(data), asked)
        for name in ("estimate", "std_error", "df", "ci_lower", "ci_upper", "p_value"):
            assert getattr(found, name)[0, trial] == pytest.approx(getattr(alone, name)[0, 0], rel=1e-9), name


def of_one_practice(data):
    """Everybody of one practice received, and nobody else."""
    own = data["practice"] == data["practice"][data["arm"] == 1][0]
    return {**data, "received": own * 1.0}


def of_one_arm(data):
    return {**data, "arm": np.ones(len(data["arm"]))}


def one_practice_in_an_arm(data):
    kept = (data["arm"] == 0) | (data["practice"] == data["practice"][data["arm"] == 1][0])
    return {k: v[kept] for k, v in data.items()}


def filled(**values):
    return lambda data: {**data, **{name: np.full(len(data["arm"]), value) for name, value in values.items()}}


@pytest.mark.parametrize("ci", ["wald", "fieller", "tf"])
@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (filled(received=0.0), "no_first_stage"),
        (filled(received=1.0), "no_first_stage"),
        (of_one_arm, "one_arm"),
        (one_practice_in_an_arm, "too_few_clusters"),
        (filled(mansa_followup=4.0), "constant_outcome"),
        (filled(mansa_followup=np.nan), "no_data"),
        (filled(received=np.nan), "blank_receipt"),
    ],
)
def test_degenerate_files_fail_with_their_cause(change, cause, ci):
    found = fit(batch(change(ragged(3))), method("iv", adjust=["mansa_baseline"], ci=ci, **IV))
    assert found.failed[0]
    assert cause in flags(found)
    assert "no_first_stage" not in flags(found) or cause == "no_first_stage"
    assert np.isnan([found.estimate[0, 0], found.std_error[0, 0], found.ci_lower[0, 0], found.p_value[0, 0]]).all()


def test_one_compliant_practice_is_a_weak_instrument_and_bounds_no_effect():
    data = of_one_practice(ragged(3, practices=16))
    found = fit(batch(data), method("iv", adjust=["mansa_baseline"], ci="fieller", **IV))
    assert not found.failed[0]
    assert flags(found) - {"boundary"} == {"weak_instrument", "unbounded_interval"}
    assert found.extras["first_stage_f"][0] < 1.0  # without that practice nobody receives


def test_receipt_that_is_the_arm_gives_the_mixed_model_itself():
    data = ragged(3)
    data["received"] = data["arm"]
    mine, lmm = (fit(batch(data), method(k, adjust=["mansa_baseline"], **o)) for k, o in (("iv", IV), ("lmm", {})))
    assert mine.estimate[0, 0] == pytest.approx(lmm.estimate[0, 0], rel=1e-12)
    assert np.isinf(mine.extras["first_stage_f"][0])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"level_of_analysis": "cluster"}, "level_of_analysis = 'participant'"),
        ({"ci": "anderson-rubin"}, "take 'fieller', 'wald' or 'tf'"),
        ({"se": "CR1"}, "omit se = 'CR1'"),
        ({"df": "residual"}, "take 'clusters-p'"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_refused(options, said):
    with pytest.raises(ValidationError, match=said):
        method("iv", adjust=[], **IV, **options)


@pytest.mark.parametrize(
    ("df", "spent"), [("satterthwaite", 3), ("clusters-p", 3), ("clusters-2", 2), ("clusters-1", 1)]
)
def test_degrees_of_freedom(df, spent):
    data = ragged(3, practices=16)
    found = fit(batch(data), method("iv", adjust=["list_size"], df=df, **IV))
    assert found.df[0, 0] == 16 - spent
