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
