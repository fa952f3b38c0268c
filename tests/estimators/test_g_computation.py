"""Model-robust standardisation: identities with a closed form, and a plain loop that refits without each practice."""

import numpy as np
import pytest
import slow_twin
from reference import method
from trials import batch, fit, ragged

from simtrial.flags import text

ROUNDING = 1e-12
REFITS = 1e-10  # one solution down-dated, the other refitted by orthogonal decomposition; the worst seen is 3e-13
MODELS = {"none": [], "one": ["mansa_baseline"], "mixed": ["mansa_baseline", "age", "size", "list_size"]}


def means_by_arm(data, weights):
    """Mean of the practice means in each arm, weighted."""
    practices = np.unique(data["practice"])
    means = np.array([data["mansa_followup"][data["practice"] == p].mean() for p in practices])
    arm = np.array([data["arm"][data["practice"] == p][0] for p in practices])
    sizes = np.array([np.sum(data["practice"] == p) for p in practices])
    w = np.ones(len(means)) if weights == "cluster" else sizes
    return [np.average(means[arm == a], weights=w[arm == a]) for a in (0, 1)]


def coefficients(data, adjust, x, model):
    """Coefficients of the columns of x, by least squares or by the mixed model, arm last."""
    if model == "ols":
        return np.linalg.lstsq(x, data["mansa_followup"], rcond=None)[0]
    found = fit(batch(data), method("lmm", adjust=adjust), every_term=True)
    assert not found.failed[0]
    return found.estimate[[*range(1, len(found.terms)), 0], 0]


def standardised(data, adjust, average, by_arm, model="ols"):
    """Means under either arm, practice by practice, from fits on whole design matrices."""
    x = slow_twin.design(data, adjust)
    arm, practice, y = x[:, -1], data["practice"], data["mansa_followup"]

    def full(assigned):
        return np.column_stack(
            [x[:, :-1], assigned, x[:, 1:-1] * assigned[:, None]] if by_arm else [x[:, :-1], assigned]
        )

    beta = coefficients(data, adjust, full(arm), model)
    labels = np.unique(practice)
    found = []
    for a in (0, 1):
        predicted = full(np.full(len(y), float(a))) @ beta
        share = np.mean([arm[practice == p][0] == a for p in labels])
        total = weights = 0.0
        for p in labels:
            rows = practice == p
            w = rows.sum() if average == "participant" else 1.0
            own = predicted[rows].mean()
            correction = (y[rows].mean() - own) / share if arm[rows][0] == a else 0.0
            total, weights = total + w * (own + correction), weights + w
        found.append(total / weights)
    return found


def twin(data, *options):
    """Means, effect and its jackknife standard error, refitted without each practice in turn."""
    control, treated = standardised(data, *options)
    labels = np.unique(data["practice"])
    left = []
    for p in labels:
        kept = data["practice"] != p
        without = standardised({name: values[kept] for name, values in data.items()}, *options)
        left.append(without[1] - without[0])
    count = len(labels)
    return control, treated, np.sqrt((count - 1) / count * np.sum((np.array(left) - np.mean(left)) ** 2))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("by_arm", [False, True])
@pytest.mark.parametrize("average", ["participant", "cluster"])
@pytest.mark.parametrize("model", MODELS)
def test_every_practice_left_out_and_refitted(model, average, by_arm, seed):
    # by arm, the factor would be determined by few practices: with a practice left out it must stay so
    adjust = [name for name in MODELS[model] if not (by_arm and name == "size")]
    data = ragged(seed, practices=16)
    found = fit(batch(data), method("g-computation", adjust=adjust, average=average, by_arm=by_arm))
    control, treated, std_error = twin(data, adjust, average, by_arm)
    assert not found.failed[0]
    assert found.estimate[0, 0] == pytest.approx(treated - control, abs=REFITS * std_error)
    assert found.std_error[0, 0] == pytest.approx(std_error, rel=REFITS)
    assert found.extras["mean_control"][0] == pytest.approx(control, rel=REFITS)
    assert found.extras["mean_intervention"][0] == pytest.approx(treated, rel=REFITS)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("average", ["participant", "cluster"])
@pytest.mark.parametrize("model", MODELS)
def test_the_mixed_model_is_refitted_without_every_practice(model, average, seed):
    data, adjust = ragged(seed, practices=16), MODELS[model]
    found = fit(batch(data), method("g-computation", adjust=adjust, average=average, model="lmm"))
    control, treated, std_error = twin(data, adjust, average, False, "lmm")
    assert not found.failed[0]
    # Newton's steps end where a coefficient moves by less than 1e-9 of its standard error
    assert found.estimate[0, 0] == pytest.approx(treated - control, abs=1e-8 * std_error)
    assert found.std_error[0, 0] == pytest.approx(std_error, rel=1e-7)
    assert found.extras["mean_control"][0] == pytest.approx(control, rel=1e-8)


def test_the_mixed_model_without_the_practice_that_alone_determines_a_coefficient():
    data = ragged(3, practices=14)
    data["region"] = np.where(data["practice"] == 4, "Somerset", "elsewhere")
    adjust = ["region", "mansa_baseline"]
    found = fit(batch(data), method("g-computation", adjust=adjust, model="lmm"))
    *_, std_error = twin(data, adjust, "participant", False, "lmm")
    assert text(int(found.flags[0])) == "leverage_one"
    assert found.std_error[0, 0] == pytest.approx(std_error, rel=1e-7)


def test_one_model_per_arm_needs_least_squares():
    with pytest.raises(ValueError, match="by_arm needs model = 'ols'"):
        method("g-computation", by_arm=True, model="lmm")


def test_a_practice_that_alone_determines_a_coefficient_is_flagged_and_left_out_all_the_same():
    # without it the coefficient is not there, and the predictions of the others do not need it
    data = ragged(3, practices=14)
    data["region"] = np.where(data["practice"] == 4, "Somerset", "elsewhere")
    found = fit(batch(data), method("g-computation", adjust=["region", "mansa_baseline"]))
    *_, std_error = twin(data, ["region", "mansa_baseline"], "participant", False)
    assert text(int(found.flags[0])) == "leverage_one"
    assert found.std_error[0, 0] == pytest.approx(std_error, rel=1e-8)


@pytest.mark.parametrize("by_arm", [False, True])
@pytest.mark.parametrize("average", ["participant", "cluster"])
def test_without_covariates_it_is_the_difference_of_means(average, by_arm):
    # of practice means, or of all participants of an arm: arm totals over arm sizes
    data = ragged(5)
    control, treated = means_by_arm(data, average)
    found = fit(batch(data), method("g-computation", adjust=[], average=average, by_arm=by_arm))
    assert found.estimate[0, 0] == pytest.approx(treated - control, rel=ROUNDING)
    assert found.extras["mean_control"][0] == pytest.approx(control, rel=ROUNDING)


def test_without_covariates_the_jackknife_of_the_cluster_average_is_that_of_a_difference_of_means():
    # leaving out practice j of an arm moves its mean by (mean - y_j) / (k - 1)
    data = ragged(6)
    practices = np.unique(data["practice"])
    means = np.array([data["mansa_followup"][data["practice"] == p].mean() for p in practices])
    arm = np.array([data["arm"][data["practice"] == p][0] for p in practices])
    moves = np.empty(len(means))
    for a in (0, 1):
        group = means[arm == a]
        moves[arm == a] = (2 * a - 1) * (group.mean() - group) / (len(group) - 1)
    expected = np.sqrt((len(means) - 1) / len(means) * np.sum(moves**2))  # they sum to 0
    found = fit(batch(data), method("g-computation", adjust=[], average="cluster"))
    assert found.std_error[0, 0] == pytest.approx(expected, rel=ROUNDING)


def test_in_practices_of_one_size_the_two_averages_agree():
    data = ragged(2, practices=14)
    size = 3
    place = np.concatenate([np.arange(n) for n in np.bincount(data["practice"])])
    large = np.bincount(data["practice"])[data["practice"]] >= size
    data = {name: values[large & (place < size)] for name, values in data.items()}
    options = {"adjust": ["mansa_baseline", "list_size"]}
    one, other = (fit(batch(data), method("g-computation", average=a, **options)) for a in ("participant", "cluster"))
    assert one.estimate[0, 0] == pytest.approx(other.estimate[0, 0], rel=ROUNDING)
    assert one.std_error[0, 0] == pytest.approx(other.std_error[0, 0], rel=ROUNDING)


def test_degrees_of_freedom_count_coefficients_of_practices():
    data, adjust = ragged(1, practices=16), ["mansa_baseline", "list_size"]

    def df(**options):
        return fit(batch(data), method("g-computation", adjust=adjust, **options)).df[0, 0]

    assert df() == 16 - 3
    assert df(by_arm=True) == 16 - 4
    assert df(df="clusters-2") == 14
    assert df(df="normal") == np.inf


@pytest.mark.parametrize("kind", ["does not vary among controls", "a category of one arm"])
def test_what_one_arm_would_have_had_is_not_made_up_from_a_coefficient_that_no_data_determine(kind):
    data = ragged(3, practices=14)
    data["only"] = data["arm"] * data["list_size"]
    data["label"] = np.where(data["arm"] * (data["list_size"] > 0) > 0, "b", np.where(data["age"] > 40, "c", "a"))
    adjust = ["only"] if kind == "does not vary among controls" else ["label"]
    found = fit(batch(data), method("g-computation", adjust=adjust, by_arm=True))
    assert found.failed[0]
    assert "arm_aliased" in text(int(found.flags[0]))
    assert not fit(batch(data), method("g-computation", adjust=adjust)).failed[0]


def test_an_arm_of_one_practice_has_no_jackknife():
    data = ragged(3)
    treated = np.unique(data["practice"][data["arm"] == 1])
    data["mansa_followup"] = np.where(np.isin(data["practice"], treated[1:]), np.nan, data["mansa_followup"])
    found = fit(batch(data), method("g-computation", adjust=["mansa_baseline"]))
    assert found.failed[0]
    assert text(int(found.flags[0])) == "too_few_clusters"


def test_as_many_coefficients_as_practices_is_refused():
    data = ragged(3, practices=4)
    found = fit(batch(data), method("g-computation", adjust=["list_size", "size"]))
    assert found.failed[0]
    assert "tau2_not_identified" in text(int(found.flags[0]))


def test_where_size_modifies_the_effect_each_average_is_met_without_noise():
    # outcome = size * arm exactly: the effects are sum n^2 / sum n and the mean of n, in expectation over allocations
    sizes = np.array([1, 2, 3, 4, 5, 6])
    practice = np.repeat(np.arange(6), sizes)
    n = sizes[practice].astype(float)
    rng, found = np.random.default_rng(1), {"participant": [], "cluster": []}
    for t in range(20):  # all 20 allocations of three practices of six
        code = [c for c in range(64) if bin(c).count("1") == 3][t]
        arm = ((code >> np.arange(6)) & 1)[practice].astype(float)
        data = {"practice": practice, "arm": arm, "mansa_followup": n * arm + 1e-9 * rng.normal(size=len(n))}
        for average, values in found.items():
            values.append(fit(batch(data), method("g-computation", adjust=[], average=average)).estimate[0, 0])
    assert np.mean(found["cluster"]) == pytest.approx(sizes.mean(), rel=1e-8)
    assert np.mean(found["participant"]) > 1.1 * sizes.mean()  # a ratio: sum n^2 / sum n up to its finite-sample bias


def informative(trials, practices, seed):
    """Draw trials in which effect and outcome depend on size (Wang, Park, Small and Li 2024, simulation 1-1).

    doi:10.1080/01621459.2023.2289693, everyone of a practice observed: effects N/5 for N = 10 or 50, equally frequent,
    so 6 over practices and (100 + 2500) / 2 / 5 / 30 = 26/3 over participants.
    """
    rng = np.random.default_rng(seed)
    many = trials * practices
    size = rng.choice([10, 50], many)
    c1 = rng.normal(0.1 * size, 2.0)
    c2 = (rng.random(many) < 1 / (1 + np.exp(-c1 * np.log(size / 10)))).astype(float)
    arm = (rng.random(many) < 0.5).astype(float)
    practice = np.repeat(np.arange(many), size)
    n = size[practice].astype(float)
    x1 = (rng.random(len(n)) < n / 50).astype(float)
    mean = np.bincount(practice, x1) / size
    x2 = rng.normal(((2 * c2 - 1) * mean)[practice], 3.0)
    y = (np.sin(c1) * (2 * c2 - 1))[practice] * n / 30 + 5 * np.exp(x1) * np.abs(x2) + rng.normal(size=len(n))
    y += np.where(arm[practice] == 1, n / 5, rng.normal(size=many)[practice])
    return {
        "trial": practice // practices, "practice": practice, "arm": arm[practice], "c1": c1[practice],
        "c2": c2[practice], "x1": x1, "x2": x2, "mansa_followup": y,
    }  # fmt: skip


@pytest.mark.parametrize(("average", "truth"), [("cluster", 6.0), ("participant", 26 / 3)])
@pytest.mark.parametrize("model", [{"by_arm": False}, {"by_arm": True}, {"model": "lmm"}], ids=str)
def test_where_size_is_informative_each_average_meets_its_own_truth(average, truth, model):
    # 200 trials of 100 practices; 4 Monte Carlo errors: a false alarm in 16,000; the seed is fixed besides
    observed = batch(informative(200, 100, 5))
    adjust = ["c1", "c2", "x1", "x2"]
    options = {"adjust": adjust, "average": average, **model}
    found = fit(observed, method("g-computation", **options))
    estimates = found.estimate[0]
    mcse = estimates.std(ddof=1) / np.sqrt(len(estimates))
    assert not found.failed.any()
    assert abs(estimates.mean() - truth) < 4 * mcse
    covered = np.mean((found.ci_lower[0] < truth) & (truth < found.ci_upper[0]))
    assert abs(covered - 0.95) < 4 * np.sqrt(0.95 * 0.05 / len(estimates))
    if average == "cluster":  # with practices this large a mixed model weighs participants, nearly
        mixed = fit(observed, method("lmm", adjust=adjust)).estimate[0]
        assert mixed.mean() - truth > 2
