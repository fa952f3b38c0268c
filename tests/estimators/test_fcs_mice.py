"""Chained equations beside mice (2l.pan, 2lonly.norm), which runs here where R has it."""

from pathlib import Path

import numpy as np
import pytest
from by_r import made_by, oracle_trial, repeated, rscript_with
from reference import method
from trials import fit

from simtrial.moments.build import moments

pytestmark = pytest.mark.verify
SCRIPT = Path(__file__).with_name("chained_mice.R")
TRIALS = ("D01_partners", "D08_missing40", "D10_missing_baseline")
HERE, THERE = 400, 60  # imputations, each the end of a chain of its own
# Two-sided 4 standard errors of the difference of two means of independent imputations: a false alarm in 16,000 each.
# Means of mice are those of chains of five sweeps, ours of fifteen.
Z = 4.0


@pytest.fixture(scope="module")
def rscript():
    return rscript_with("mice", "pan")


def holed(trial):
    """A trial with gaps in the baseline and in a number of practices, beside those it has in the follow-up."""
    known, rng = oracle_trial(trial), np.random.default_rng(5)
    practice = known["practice"]
    people, practices = len(practice), practice.max() + 1
    size = rng.normal(size=practices)
    size[rng.choice(practices, 4, replace=False)] = np.nan
    baseline = np.where(rng.random(people) < 0.1, np.nan, known["mansa_baseline"])
    return {
        "practice": practice, "arm": known["arm"], "list_size": size[practice], "baseline": baseline,
        "followup": known["mansa_followup"],
    }  # fmt: skip


def by_product(data):
    """The same of chains of the product, as many copies of the trial at once."""
    one, copies = repeated(data, HERE)
    mi = method(
        "mi", analysis={"kind": "ols", "se": "classical"}, imputation="fcs", prior="inverse-gamma", burn_in=14, thin=1,
        adjust=["mansa_baseline", "list_size"],
    )  # fmt: skip
    engine = mi.engine().fit(mi.incomplete(copies, moments(copies, mi.spec())))
    done = engine.complete(np.random.default_rng(3))
    assert not engine.failed.any()
    found = fit(done, mi.analysis, every_term=True)

    def filled(name):
        values = done.at(name).reshape(HERE, -1)
        return values[:, np.isnan(one.at(name))]

    return {
        "arm": found.estimate[found.terms.index("arm")], "variance": found.std_error[found.terms.index("arm")] ** 2,
        "slope": found.estimate[found.terms.index("mansa_baseline")],
        "followup": filled("mansa_followup").mean(axis=1), "baseline": filled("mansa_baseline").mean(axis=1),
        "list_size": filled("list_size").mean(axis=1), "sd": filled("mansa_followup").std(axis=1, ddof=1),
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("trial", TRIALS)
def test_chained_equations_agree_with_mice(trial, rscript, tmp_path):
    data = holed(trial)
    theirs, ours = made_by(rscript, SCRIPT, data, tmp_path, THERE, 5), by_product(data)
    assert set(theirs) == set(ours)
    for name, sample in ours.items():
        error = np.hypot(sample.std() / np.sqrt(HERE), theirs[name].std() / np.sqrt(THERE))
        assert abs(sample.mean() - theirs[name].mean()) < Z * error, name
        # the SD of n normal values has a relative standard error of 1/sqrt(2n); a mean of values is nearly normal
        assert abs(np.log(sample.std() / theirs[name].std())) < 1.3 * Z * np.sqrt(0.5 / HERE + 0.5 / THERE), name
