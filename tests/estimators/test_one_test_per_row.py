"""Statistic, df and p-value of a printed row belong to one test, whatever the method and however odd the trial."""

import json

import numpy as np
import pytest
from reference import method
from scipy import stats
from test_anderson_rubin import odd
from trials import batch

from simtrial.run.analyse import analyse

IV = {"received": "received == 1"}
CLUSTER = {**IV, "level_of_analysis": "cluster", "ci": "anderson-rubin"}
METHODS = {
    "lmm": ("lmm", {}),
    "lmm interaction": ("lmm", {"interaction": "group"}),
    "ols": ("ols", {}),
    "ols interaction": ("ols", {"interaction": "group"}),
    "ols product": ("ols", {"interaction": "mansa_baseline"}),
    "gee": ("gee", {}),
    "cluster-means": ("cluster-means", {}),
    "g-computation": ("g-computation", {}),
    "clda": ("clda", {}),
    "correlation": ("correlation", {}),
    "icc": ("icc", {}),
    "icc anova": ("icc", {"estimation": "anova", "adjust": []}),
    "iv": ("iv", IV),
    "iv ar": ("iv", {**IV, "ci": "anderson-rubin"}),
    "iv of lmm, fieller": ("iv", {**IV, "ratio": "lmm", "ci": "fieller"}),
    "iv tf": ("iv", {**IV, "ci": "tf"}),
    "iv fieller": ("iv", {**IV, "ci": "fieller"}),
    "iv ar normal": ("iv", {**IV, "ci": "anderson-rubin", "df": "normal"}),
    "iv ar means": ("iv", CLUSTER),
    "iv ar means by size": ("iv", {**CLUSTER, "weights": "size"}),
    "kept ar": (
        "per-protocol",
        {"keep": "mansa_baseline > -1", "analysis": {"kind": "iv", **IV, "ci": "anderson-rubin"}},
    ),
}


def rows(seed):
    data = odd(seed)
    data["group"] = np.array(["a", "b", "c"])[np.random.default_rng(seed).integers(0, 3, len(data["arm"]))]
    data["mansa_baseline"] = data.pop("x")
    asked = [
        method(kind, **{"adjust": ["mansa_baseline"], **options}).model_copy(update={"name": name})
        for name, (kind, options) in METHODS.items()
    ]
    return analyse(["t"], batch(data), asked, every_term=True).iter_rows(named=True)


def p_value(row):
    """The p-value that statistic and df of a row give."""
    extra, statistic = json.loads(row["extra"]), row["statistic"]
    if row["method"] == "icc":  # a variance against 0: half a chi-square with 1 df
        return 0.5 * stats.chi2.sf(statistic, 1) if statistic > 0 else 1.0
    of_a_set = row["term"] == "received" and row["method"] != "iv"  # Anderson and Rubin's, Fieller's, tF
    if of_a_set or row["method"] == "icc anova" or row["estimate"] is None:
        q, df = extra["df_num"], row["df"]
        return stats.f.sf(statistic, q, df) if np.isfinite(df) else stats.chi2.sf(q * statistic, q)
    return 2 * stats.t.sf(abs(statistic), row["df"])


@pytest.mark.parametrize("seed", range(25))
def test_the_p_value_of_a_row_is_that_of_its_statistic_and_df(seed):
    judged = 0
    for row in rows(seed):
        if row["p_value"] is None:
            continue
        judged += 1
        assert p_value(row) == pytest.approx(row["p_value"], rel=1e-7, abs=1e-13), (row["method"], row["term"])
    assert judged > 25
