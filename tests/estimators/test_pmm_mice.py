"""Predictive mean matching beside R: lme4 and pan predict, mice matches, where R has them."""

from pathlib import Path

import numpy as np
import pytest
from by_r import agree_in_mean_and_spread, made_by, oracle_trial, repeated, rscript_with
from reference import method
from trials import fit

from simtrial.moments.build import moments

pytestmark = pytest.mark.verify
SCRIPT = Path(__file__).with_name("pmm_mice.R")
HERE, THERE = 1000, 1000
# Two-sided 4 standard errors of the difference of two means of independent imputations: a false alarm in 16,000 each.
# Draws of pan are 25 sweeps apart; means of 20 batches give their error (t with 19 df at the same rate is 5.1).
Z, BATCHES = 5.1, 20


@pytest.fixture(scope="module")
def rscript():
    return rscript_with("mice", "pan", "lme4")


def by_product(data, donors):
    one, copies = repeated(data, HERE)
    mi = method(
        "mi", analysis={"kind": "ols", "se": "classical"}, imputation="pmm", prior="inverse-gamma", donors=donors,
        adjust=["mansa_baseline"],
    )  # fmt: skip
    engine = mi.engine().fit(mi.incomplete(copies, moments(copies, mi.spec())))
    done = engine.complete(np.random.default_rng(3))
    found = fit(done, mi.analysis, every_term=True)
    gone = done.at("mansa_followup").reshape(HERE, -1)[:, np.isnan(one.at("mansa_followup"))]
    arm = found.terms.index("arm")
    return {
        "arm": found.estimate[arm], "variance": found.std_error[arm] ** 2,
        "slope": found.estimate[found.terms.index("mansa_baseline")],
        "followup": gone.mean(axis=1), "sd": gone.std(axis=1, ddof=1),
    }  # fmt: skip


@pytest.mark.parametrize("donors", [1, 5])
@pytest.mark.parametrize("trial", ["D01_partners", "D08_missing40", "D09_cluster_all_missing"])
def test_matching_agrees_with_r(trial, donors, rscript, tmp_path):
    known = oracle_trial(trial)
    there = ~np.isnan(known["mansa_baseline"])
    names = {"practice": "practice", "arm": "arm", "baseline": "mansa_baseline", "followup": "mansa_followup"}
    data = {name: known[column][there] for name, column in names.items()}
    theirs, ours = made_by(rscript, SCRIPT, data, tmp_path, THERE, donors), by_product(data, donors)
    agree_in_mean_and_spread(theirs, ours, BATCHES, Z)
