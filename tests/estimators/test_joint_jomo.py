"""The joint model of baseline and follow-up beside jomo, which runs here where R has it."""

import time
from pathlib import Path

import numpy as np
import pytest
from by_r import agree_in_mean_and_spread, made_by, oracle_trial, repeated, rscript_with
from reference import method
from trials import fit

from simtrial.batch import Column, Index, ObservedBatch
from simtrial.moments.build import moments

pytestmark = pytest.mark.verify
SCRIPT = Path(__file__).with_name("joint_jomo.R")
TRIALS = ("D01_partners", "D08_missing40", "D09_cluster_all_missing")
HERE, THERE = 400, 300  # imputations: ends of independent chains; states of one chain, BETWEEN sweeps apart
BURN, BETWEEN = 400, 60
# Two-sided 4 standard errors of the difference of two means: a false alarm in 16,000 each. That of jomo's chain is of
# the means of 20 batches, because its states are not independent; t with 19 df at the same rate is 5.1.
Z, BATCHES = 5.1, 20


@pytest.fixture(scope="module")
def rscript():
    return rscript_with("jomo")


def holed(trial):
    """A trial with gaps in the baseline beside those in the follow-up, and complete numbers of practices and people."""
    known, rng = oracle_trial(trial), np.random.default_rng(5)
    practice, baseline = known["practice"], known["mansa_baseline"]
    return {
        "practice": practice, "arm": known["arm"], "list_size": rng.normal(size=practice.max() + 1)[practice],
        "age": 0.5 * np.nan_to_num(baseline) + rng.normal(size=len(practice)),
        "baseline": np.where(rng.random(len(practice)) < 0.15, np.nan, baseline),
        "followup": known["mansa_followup"],
    }  # fmt: skip


def by_jomo(rscript, data, folder):
    """Quantities of every completed data set of jomo, and seconds of processor time a sweep."""
    found = made_by(rscript, SCRIPT, data, folder, THERE, BURN, BETWEEN)
    return found, found.pop("seconds")[0] / (BURN + (THERE - 1) * BETWEEN)


def shorter_first(copies, practices):
    """Take the last five practices from the first trial, so that trials differ in their number."""
    index = copies.index
    kept = np.ones(index.practices, dtype=bool)
    kept[practices - 5 : practices] = False
    people = kept[index.participant_practice]
    made = Index(index.trials, index.practice_trial[kept], (np.cumsum(kept) - 1)[index.participant_practice[people]])
    where = {"practice": kept, "participant": people}
    columns = {n: Column(c.values[where[c.level]], c.level, c.categories) for n, c in copies.columns.items()}
    return ObservedBatch(made, columns)


def by_product(data):
    """The same of chains of the product, as many copies of the trial at once; seconds a sweep of one trial."""
    one, copies = repeated(data, HERE + 1)
    copies = shorter_first(copies, one.index.practices)
    mi = method(
        "mi", analysis={"kind": "ols", "se": "classical"}, imputation="joint", burn_in=BURN, thin=1, standardise=False,
        adjust=["mansa_baseline", "list_size", "age"],
    )  # fmt: skip
    engine = mi.engine().fit(mi.incomplete(copies, moments(copies, mi.spec())))
    started = time.process_time()
    done = engine.complete(np.random.default_rng(3))
    seconds = (time.process_time() - started) / (BURN + 1) / (HERE + 1)
    assert not engine.failed.any()
    found = fit(done, mi.analysis, every_term=True)

    def filled(name):
        return done.at(name)[-HERE * one.index.participants :].reshape(HERE, -1)[:, np.isnan(one.at(name))]

    arm = found.terms.index("arm")
    return {
        "arm": found.estimate[arm, 1:], "variance": found.std_error[arm, 1:] ** 2,
        "slope": found.estimate[found.terms.index("mansa_baseline"), 1:],
        "followup": filled("mansa_followup").mean(axis=1), "baseline": filled("mansa_baseline").mean(axis=1),
        "sd": filled("mansa_followup").std(axis=1, ddof=1),
    }, seconds  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("trial", TRIALS)
def test_the_joint_model_agrees_with_jomo(trial, rscript, tmp_path):
    data = holed(trial)
    (theirs, their_seconds), (ours, seconds) = by_jomo(rscript, data, tmp_path), by_product(data)
    agree_in_mean_and_spread(theirs, ours, BATCHES, Z)
    print(f"{trial}: a sweep of one trial {1e6 * seconds:.1f} us, jomo {1e6 * their_seconds:.1f} us")
    assert seconds < their_seconds / 3  # 1/10 to 1/20 on a quiet machine
