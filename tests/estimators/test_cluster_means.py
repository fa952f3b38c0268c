"""Analyses of practice means, against R's t.test and lm, plain loops, and identities."""

import math

import numpy as np
import pytest
import test_degenerate as degenerate
from reference import CLUSTER, method, ours, reference, targets
from reference import differences as apart
from trials import batch, fit, published_fixture, ragged

from simtrial.flags import text

ROWS = {
    **{name: 108 for name in CLUSTER}, "cluster_means.t_pooled": 54, "cluster_means.size_weighted": 54,
    "cluster_means.t_welch": 52, "two_stage.t_welch": 104,
}  # fmt: skip


@pytest.mark.parametrize("name", CLUSTER)
def test_every_effect_has_the_reference_inference(name):
    """What is left out are four fits of five coefficients to four means: R drops another column than arm."""
    off, count = [], 0
    for key, row in targets("cluster_level", name):
        count += 1
        mine = ours("cluster_level")[key]
        if "arm_aliased" in row["remarks"]:
            assert mine["status"] == "failed"
            assert mine["flags"] == {"arm_aliased"}
            continue
        assert mine["clusters_used"] == row["clusters"]
        if "saturated" in row["remarks"]:  # an estimate, without the degrees of freedom to judge it by
            assert (mine["status"], mine["flags"] >= {"no_data"}) == ("failed", True)
            assert mine["estimate"] == pytest.approx(row["estimate"], rel=1e-9)
            continue
        assert mine["status"] == "ok"
        if not all(e <= 1e-9 for e in apart(mine, row)):
            off.append(f"{key}: {apart(mine, row)}")
    assert count == ROWS[name]
    assert off == []
    assert len(reference("cluster_level")) == sum(ROWS.values())


def test_fixture_of_14_practices():
    observed = batch(published_fixture())
    crude = fit(observed, method("cluster-means", adjust=[]))
    welch = fit(observed, method("cluster-means", adjust=[], variance="welch"))
    two = fit(observed, method("cluster-means", adjust=["reg", "x"]))
    numbers = [crude.estimate, crude.std_error, welch.std_error, welch.df, two.estimate, two.std_error]
    printed = [-0.1245801509, 0.2824922124, 0.2824922124, 10.93393545, -0.1781165657, 0.2723670344]
    assert [float(x[0, 0]) for x in numbers] == pytest.approx(printed, rel=0, abs=0.51e-8)
    assert (crude.df[0, 0], two.df[0, 0]) == (12, 11)  # reg is of practices, x of people


def practices(data):
    """Numbers of the practices, and what belongs to each."""
    keys = np.unique(data["practice"])
    return keys, [np.flatnonzero(data["practice"] == key) for key in keys]


def looped(data, weights, covariate=None):
    """Difference and standard error by loops over practices: residuals, weights, two weighted means."""
    y = data["mansa_followup"].copy()
    if covariate is not None:
        x = np.column_stack([np.ones(len(y)), data[covariate]])
        y = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    _, members = practices(data)
    mean = np.array([y[m].mean() for m in members])
    size = np.array([len(m) for m in members], dtype=float)
    arm = np.array([data["arm"][m[0]] for m in members])
    if weights == "inverse-variance":
        sigma2 = sum(((y[m] - y[m].mean()) ** 2).sum() for m in members) / (len(y) - len(members))
        between, unequal = 0.0, 0.0
        for a in (0, 1):
            own = arm == a
            total = size[own].sum()
            center = (size[own] * mean[own]).sum() / total
            between += (size[own] * (mean[own] - center) ** 2).sum()
            unequal += (size[own] ** 2).sum() / total
        degrees = len(members) - 2
        tau2 = max(0.0, (between / degrees - sigma2) / ((len(y) - unequal) / degrees))
        weight = 1 / (tau2 + sigma2 / size)
    else:
        weight = size if weights == "size" else np.ones(len(size))
    x = np.column_stack([np.ones(len(mean)), arm])
    inverse = np.linalg.inv(x.T @ (weight[:, None] * x))
    beta = inverse @ x.T @ (weight * mean)
    rest = (weight * (mean - x @ beta) ** 2).sum() / (len(mean) - 2)
    return beta[1], math.sqrt(rest * inverse[1, 1])


@pytest.mark.parametrize("weights", ["equal", "size", "inverse-variance"])
@pytest.mark.parametrize("covariate", [None, "mansa_baseline"])
@pytest.mark.parametrize("icc", [0.0, 0.3])
def test_batches_are_plain_loops(weights, covariate, icc):
    data = ragged(31, icc=icc)
    adjust = [] if covariate is None else [covariate]
    found = fit(batch(data), method("cluster-means", adjust=adjust, weights=weights))
    expected = looped(data, weights, covariate)
    assert (found.estimate[0, 0], found.std_error[0, 0]) == pytest.approx(expected, rel=1e-10)


def test_size_weights_are_least_squares_of_people_without_covariates():
    data = batch(ragged(7))
    assert fit(data, method("cluster-means", adjust=[], weights="size")).estimate == pytest.approx(
        fit(data, method("ols", adjust=[])).estimate, rel=1e-12
    )


def test_inverse_variance_weights_run_from_sizes_to_equal():
    """With no variance between practices a practice counts by its size; with nothing else than it, all count alike."""
    data = ragged(7)
    y = data["mansa_followup"]
    mean = np.array([y[data["practice"] == p].mean() for p in data["practice"]])
    flat, steep = {**data, "mansa_followup": y - 0.9 * mean}, {**data, "mansa_followup": mean + 1e-7 * (y - mean)}
    for changed, weights in ((flat, "size"), (steep, "equal")):
        one = fit(batch(changed), method("cluster-means", adjust=[], weights="inverse-variance"))
        other = fit(batch(changed), method("cluster-means", adjust=[], weights=weights))
        assert one.estimate == pytest.approx(other.estimate, rel=1e-9, abs=1e-9)


def test_one_practice_in_an_arm_has_no_variance_of_its_own():
    data = ragged(5)
    one = {**data, "arm": (data["practice"] == data["practice"][0]).astype(int)}
    pooled = fit(batch(one), method("cluster-means", adjust=[]))
    welch = fit(batch(one), method("cluster-means", adjust=[], variance="welch"))
    assert not pooled.failed[0]
    assert text(int(pooled.flags[0])) == text(int(welch.flags[0])) == "too_few_clusters"
    assert welch.failed[0]
    assert np.isnan(welch.estimate[0, 0])


def test_means_without_variation_fail_although_people_vary():
    data = ragged(5)
    members = practices(data)[1]
    y = data["mansa_followup"].copy()
    for m in members:
        y[m] -= y[m].mean()
    found = fit(batch({**data, "mansa_followup": y}), method("cluster-means", adjust=[]))
    assert found.failed[0]
    assert text(int(found.flags[0])) == "constant_outcome"


OPTIONS = [
    *({"weights": weights, "adjustment": adjustment, "df": df}
      for weights in ("equal", "size", "inverse-variance")
      for adjustment in ("two-stage", "ancova")
      for df in ("clusters-2", "clusters-p")),
    *({"weights": weights, "variance": "welch"} for weights in ("equal", "size", "inverse-variance")),
]  # fmt: skip
ODD = {
    # where the cause is another than that of least squares; the second one is that of ancova
    "one practice left in an arm": ("too_few_clusters", "too_few_clusters"),
    "one practice per arm": ("too_few_clusters;no_data", "too_few_clusters;arm_aliased"),
}
PLAIN = {
    case: flags for case, claims in degenerate.EXPECTED.items() for kinds, _, flags in claims if "ols" in kinds
}  # fmt: skip


@pytest.mark.parametrize("case", degenerate.CASES)
def test_a_degenerate_trial_has_a_status_with_its_cause(case):
    for options in OPTIONS:
        found = degenerate.analysed(case, "cluster-means", every_term=True, **options)
        numbers = [getattr(found, name)[0, 0] for name in degenerate.NUMBERS]
        flags = set(filter(None, text(int(found.flags[0])).split(";")))
        expected = (
            ODD.get(case, (PLAIN[case],) * 2)[options["adjustment"] == "ancova"] if "adjustment" in options else None
        )
        if expected is not None:
            assert flags - {"boundary", "tau2_not_identified"} == set(filter(None, expected.split(";"))), options
        unknown = case == "one person per practice" and options["weights"] == "inverse-variance"
        assert ("tau2_not_identified" in flags) == unknown, options
        if found.failed[0]:
            assert found.flags[0] & degenerate.FATAL, options
            assert np.isnan(numbers[2:]).all() or case == "one practice per arm", options
            assert np.isnan(numbers[1:2] + numbers[3:]).all(), options
        else:
            assert np.isfinite(numbers).all(), options
            assert numbers[1] > 0, options
            assert numbers[2] > 0, options


def test_without_variation_between_practices_the_weights_are_flagged_as_on_the_boundary():
    data = ragged(7)
    y = data["mansa_followup"]
    mean = np.array([y[data["practice"] == p].mean() for p in data["practice"]])
    options = {"adjust": [], "weights": "inverse-variance"}
    flat = fit(batch({**data, "mansa_followup": y - 0.9 * mean}), method("cluster-means", **options))
    steep = fit(batch({**data, "mansa_followup": y + 9.0 * mean}), method("cluster-means", **options))
    assert (flat.extras["tau2"][0], text(int(flat.flags[0]))) == (0.0, "boundary")
    assert text(int(steep.flags[0])) == ""
    assert steep.extras["tau2"][0] > 0


@pytest.mark.parametrize("origin", [0.0, 1e4])
def test_a_covariate_centred_within_practices_has_no_means_to_adjust_for(origin):
    """Its practice means differ by rounding alone: it is dropped, and the regression is the one without it."""
    data = ragged(7)
    x = data["mansa_baseline"] * (1.0 + origin)
    data["inside"] = x - np.array([x[data["practice"] == p].mean() for p in data["practice"]])
    for weights in ("equal", "size"):
        options = {"adjustment": "ancova", "df": "clusters-p", "weights": weights}
        found = fit(batch(data), method("cluster-means", adjust=["inside"], **options), every_term=True)
        plain = fit(batch(data), method("cluster-means", adjust=[], **options), every_term=True)
        assert text(int(found.flags[0])) == "aliased"
        assert np.isnan(found.estimate[found.terms.index("inside"), 0])
        for name in degenerate.NUMBERS:
            assert getattr(found, name)[0] == pytest.approx(getattr(plain, name)[0], rel=1e-10)


@pytest.mark.parametrize("options", [{"adjustment": "ancova"}, {"df": "clusters-p"}])
def test_welch_takes_neither_regression_nor_other_degrees_of_freedom(options):
    with pytest.raises(ValueError, match="variance 'welch'"):
        method("cluster-means", variance="welch", **options)


@pytest.mark.parametrize(
    ("adjust", "spent"),
    [([], 2), (["mansa_baseline"], 2), (["list_size"], 3), (["size", "list_size", "age"], 4), (["size", "size"], 3)],
)
def test_by_default_practice_level_covariates_cost_degrees_of_freedom(adjust, spent):
    data = ragged(5, practices=16)
    found = fit(batch(data), method("cluster-means", adjust=adjust))
    assert found.df[0, 0] == 16 - spent
    assert fit(batch(data), method("cluster-means", adjust=adjust, df="clusters-2")).df[0, 0] == 14
