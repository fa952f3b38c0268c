"""Two-stage least squares of practice means: plain regressions, and what it shares with the analyses of means."""

import numpy as np
import pytest
import statsmodels.api as sm
from reference import method
from trials import batch, fit, ragged

from simtrial.flags import text

CLUSTER = {"received": "received == 1", "level_of_analysis": "cluster"}


def means_of(data, covariate=None):
    """Arm and practice means of outcome and receipt, of residuals when there is a covariate."""
    keys = np.unique(data["practice"])
    columns = []
    for name in ("mansa_followup", "received"):
        values = np.asarray(data[name], dtype=float)
        if covariate is not None:
            values = sm.OLS(values, sm.add_constant(data[covariate])).fit().resid
        columns.append([values[data["practice"] == key].mean() for key in keys])
    return np.array([data["arm"][data["practice"] == key][0] for key in keys], dtype=float), *map(np.array, columns)


@pytest.mark.parametrize("covariate", [None, "mansa_baseline"])
@pytest.mark.parametrize("se", ["classical", "CR0", "CR1", "CR1S", "CR2", "CR3", "HC1"])
def test_it_is_an_instrumental_regression_of_means(covariate, se):
    data = ragged(8)
    arm, y, d = means_of(data, covariate)
    found = fit(batch(data), method("iv", adjust=[covariate] if covariate else [], se=se, df="clusters-2", **CLUSTER))
    x, z = sm.add_constant(d), sm.add_constant(arm)
    beta = np.linalg.solve(z.T @ x, z.T @ y)
    rest, inverse, j = y - x @ beta, np.linalg.inv(z.T @ x), len(y)
    leverage = np.diag(z @ np.linalg.inv(z.T @ z) @ z.T)
    weights = {"CR2": rest**2 / (1 - leverage), "CR3": rest**2 / (1 - leverage) ** 2}.get(se, rest**2)
    if se == "classical":
        weights = np.full(j, (rest**2).sum() / (j - 2))
    factor = {"CR1": j / (j - 1), "CR1S": j / (j - 2), "HC1": j / (j - 2)}.get(se, 1.0)
    variance = factor * (inverse @ (z.T @ (weights[:, None] * z)) @ inverse.T)[1, 1]
    assert found.estimate[0, 0] == pytest.approx(beta[1], rel=1e-10)
    assert found.std_error[0, 0] == pytest.approx(np.sqrt(variance), rel=1e-10)


# --- practices weighted ---


def sizes_of(data):
    return np.array([(data["practice"] == key).sum() for key in np.unique(data["practice"])], dtype=float)


def components(data, covariate):
    """Variances of a one-way analysis of variance within arms, in plain loops; the one between not below 0."""
    y = np.asarray(data["mansa_followup"], dtype=float)
    if covariate is not None:
        y = sm.OLS(y, sm.add_constant(data[covariate])).fit().resid
    keys = np.unique(data["practice"])
    groups = [y[data["practice"] == key] for key in keys]
    arm = np.array([data["arm"][data["practice"] == key][0] for key in keys])
    within = sum(((g - g.mean()) ** 2).sum() for g in groups) / (len(y) - len(keys))
    between, usual = 0.0, 0.0
    for a in (0, 1):
        own = [g for g, side in zip(groups, arm, strict=True) if side == a]
        middle = np.concatenate(own).mean()
        between += sum(len(g) * (g.mean() - middle) ** 2 for g in own)
        usual += sum(map(len, own)) - sum(len(g) ** 2 for g in own) / sum(map(len, own))
    between /= len(keys) - 2
    usual /= len(keys) - 2
    return max((between - within) / usual, 0.0), within


def weights_of(data, weights, covariate):
    n = sizes_of(data)
    if weights == "inverse-variance":
        tau2, sigma2 = components(data, covariate)
        return 1 / (tau2 + sigma2 / n)
    return n if weights == "size" else np.ones(len(n))


def dense(arm, y, d, w, se):
    """Weighted two-stage least squares of means with full matrices: estimate, standard error, Satterthwaite's df."""
    x, z, j = sm.add_constant(d), sm.add_constant(arm), len(y)
    big = np.diag(w)
    beta = np.linalg.solve(z.T @ big @ x, z.T @ big @ y)
    rest = y - x @ beta
    hat = z @ np.linalg.inv(z.T @ big @ z) @ z.T @ big
    left = 1 - np.diag(hat)
    row = (np.linalg.inv(z.T @ big @ z) @ z.T @ big)[1]  # what every mean adds to the coefficient of arm
    counted = {"CR2": row**2 / left, "CR3": row**2 / left**2}.get(se, row**2)
    if se == "classical":
        counted = w * (row @ np.diag(1 / w) @ row) / (j - 2)
    factor = {"CR1": j / (j - 1), "CR1S": j / (j - 2), "HC1": j / (j - 2)}.get(se, 1.0)
    first = row @ d
    variance = factor * (counted * rest**2).sum() / first**2
    g = (np.eye(j) - hat) @ np.diag(1 / w) @ (np.eye(j) - hat).T
    b = np.diag(counted)
    return beta[1], np.sqrt(variance), np.trace(b @ g) ** 2 / np.trace(b @ g @ b @ g)


@pytest.mark.parametrize("seed", [8, 21, 34])
@pytest.mark.parametrize("weights", ["equal", "size", "inverse-variance"])
@pytest.mark.parametrize("covariate", [None, "mansa_baseline"])
@pytest.mark.parametrize("se", ["classical", "CR0", "CR1", "CR1S", "CR2", "CR3", "HC1"])
def test_weighted_it_is_the_weighted_regression_of_means(seed, weights, covariate, se):
    data = ragged(seed, practices=11, icc=0.5)
    arm, y, d = means_of(data, covariate)
    adjust = [covariate] if covariate else []
    found = fit(batch(data), method("iv", adjust=adjust, se=se, weights=weights, **CLUSTER))
    expected = dense(arm, y, d, weights_of(data, weights, covariate), se)
    mine = (found.estimate[0, 0], found.std_error[0, 0], found.df[0, 0])
    assert mine == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("df", ["clusters-1", "clusters-2", "clusters-p", "residual", "normal"])
def test_degrees_of_freedom_that_count(df):
    data = ragged(8, practices=11)
    asked = method("iv", adjust=["size", "mansa_baseline"], df=df, weights="size", **CLUSTER)
    expected = {"clusters-1": 10, "clusters-p": 11 - 3, "normal": np.inf}.get(df, 9)
    assert fit(batch(data), asked).df[0, 0] == expected


def test_the_variances_behind_the_weights_are_told():
    data = ragged(34, practices=11, icc=0.5)
    found = fit(batch(data), method("iv", adjust=[], weights="inverse-variance", **CLUSTER))
    mine = [found.extras[name][0] for name in ("tau2", "sigma2")]
    assert mine == pytest.approx(components(data, None), rel=1e-10)


def test_without_variance_between_practices_they_count_by_their_size():
    data = ragged(8, practices=11)
    rng = np.random.default_rng(2)
    data["mansa_followup"] = rng.normal(size=len(data["arm"]))
    for key in np.unique(data["practice"]):  # means alike: tau2 is truncated at 0
        data["mansa_followup"][data["practice"] == key] -= 0.9 * data["mansa_followup"][data["practice"] == key].mean()
    by_variance, by_size = (
        fit(batch(data), method("iv", adjust=[], weights=weights, **CLUSTER))
        for weights in ("inverse-variance", "size")
    )
    assert "boundary" in text(int(by_variance.flags[0]))
    assert by_variance.estimate == pytest.approx(by_size.estimate, rel=1e-10)
    assert by_variance.std_error == pytest.approx(by_size.std_error, rel=1e-10)


@pytest.mark.parametrize("weights", ["size", "inverse-variance"])
def test_equal_practices_count_alike_whatever_the_weights(weights):
    data = ragged(3, practices=12)
    keep = np.concatenate([np.flatnonzero(data["practice"] == key)[:1] for key in range(12)])
    rng = np.random.default_rng(5)
    each = np.repeat(keep, 4)
    equal = {name: values[each] for name, values in data.items()}
    equal["mansa_followup"] = equal["mansa_followup"] + rng.normal(size=48)
    equal["received"] = equal["arm"] * (rng.random(48) < 0.6)
    weighted, plain = (
        fit(batch(equal), method("iv", adjust=[], weights=w, ci="anderson-rubin", **CLUSTER))
        for w in (weights, "equal")
    )
    for name in ("estimate", "std_error", "df", "ci_lower", "ci_upper", "p_value"):
        assert getattr(weighted, name) == pytest.approx(getattr(plain, name), rel=1e-9), name


def test_weights_of_practices_need_practices():
    with pytest.raises(ValueError, match="they need level_of_analysis = 'cluster'"):
        method("iv", adjust=[], received="received == 1", weights="size")


# --- what it shares ---


def test_the_reduced_form_is_the_two_stage_comparison_of_means():
    """When all in the intervention arm receive it and no control does, the effect of receipt is that of arm."""
    data = ragged(8)
    full = batch({**data, "received": data["arm"]})
    means = fit(full, method("cluster-means", adjust=[], variance="welch"))
    found = fit(full, method("iv", adjust=[], se="CR2", **CLUSTER))
    assert found.estimate == pytest.approx(means.estimate, rel=1e-12)
    assert found.std_error == pytest.approx(means.std_error, rel=1e-12)


def test_nobody_received_has_no_effect_of_receipt():
    data = ragged(8)
    found = fit(batch({**data, "received": np.zeros(len(data["arm"]))}), method("iv", adjust=[], **CLUSTER))
    assert found.failed[0]
    assert text(int(found.flags[0])) == "no_first_stage"
