"""simtrial against R's packages on the same trials, by turns in one run: ratios, not absolute times.

Each turn times a few fits of the peer, then a block of ours from observed data (nothing shared between turns). The
median of the ratios of the turns is what bench/README.md quotes. Skipped where R or a package is missing.
"""

import shutil
import statistics
import subprocess
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from simtrial.core import serving, using
from simtrial.estimators import kinds
from simtrial.files.write_trials import trial_frames
from simtrial.generate import simulate
from simtrial.moments.build import moments
from simtrial.moments.shared import SharedMoments
from simtrial.run.kept_memory import keep_freed_memory
from simtrial.scenario import load

PEERS = Path(__file__).with_name("peers.R")
FULL = ["mansa_baseline", "region", "practice_size"]
BLOCK, TURNS, ROUNDS = 250, 7, 12
NEEDED = {"lmer": 200, "satterthwaite": 700, "kenward-roger": 2000, "estimatr": 200, "iv_robust": 200, "generate": 1}
"""Ratios that are defended; of the other peers the ratio is told."""
FITS = {"lmer": 15, "satterthwaite": 8, "kenward-roger": 4, "estimatr": 15, "iv_robust": 15, "generate": 1,
        "clubsandwich": 8, "geepack": 8, "cluster-means": 15, "two-variances": 4, "interaction": 4}  # fmt: skip


def methods(*options):
    return [kinds()[o["kind"]].model_validate({"name": "x", "response": "mansa", "adjust": FULL, **o}) for o in options]


OURS = {
    "lmer": [{"kind": "lmm", "df": "normal"}],
    "satterthwaite": [{"kind": "lmm", "df": "satterthwaite-observed"}],
    "kenward-roger": [{"kind": "lmm", "df": "kenward-roger"}],
    "estimatr": [{"kind": "ols"}, {"kind": "iv", "received": "sessions >= 6"}],
    "iv_robust": [{"kind": "iv", "received": "sessions >= 6"}],
    "clubsandwich": [{"kind": "ols"}],
    "geepack": [{"kind": "gee", "se": "robust", "df": "normal"}],
    "cluster-means": [{"kind": "cluster-means", "adjust": []}],
    "two-variances": [{"kind": "lmm", "heteroscedastic": "residual"}],
    "interaction": [{"kind": "lmm", "df": "satterthwaite-observed", "interaction": "region"}],
}
STATSMODELS = {
    "MixedLM": {"kind": "lmm", "df": "normal"},
    "GEE exchangeable": {"kind": "gee", "se": "robust", "df": "normal"},
    "OLS cluster": {"kind": "ols", "se": "CR1S", "df": "normal"},
}


@pytest.fixture(scope="module")
def cell():
    return load("partners")[1][0]


@pytest.fixture(scope="module")
def observed(cell):
    keep_freed_memory()  # as in a run
    return simulate(cell.scenario.mechanism, BLOCK, 1, "", 0).observed()


@pytest.fixture(scope="module")
def r(cell, tmp_path_factory):
    """Ask R for the mean milliseconds of some calls of a peer."""
    if shutil.which("Rscript") is None:
        pytest.skip("Rscript is not on the path")
    file = tmp_path_factory.mktemp("peers") / "trials.csv"
    pl.concat([f for _, f in trial_frames(cell, 1, 40)]).write_csv(file)
    command = ["Rscript", "--vanilla", str(PEERS), str(file)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    if process.stdout.readline().strip() != "ready":
        pytest.skip(f"R's packages are not all there: {process.stderr.read().strip().splitlines()[-1]}")

    def ask(name, count):
        process.stdin.write(f"{name} {count}\n")
        process.stdin.flush()
        return float(process.stdout.readline())

    yield ask
    for stream in (process.stdin, process.stdout, process.stderr):
        stream.close()
    process.wait(timeout=10)


def block(name, cell, observed):
    """One block of ours, from observed data or, for generation, from nothing."""
    if name == "generate":
        return lambda: simulate(cell.scenario.needed, BLOCK, 1, "", 0)
    chosen = methods(*OURS[name])

    def analyse():
        shared = SharedMoments(observed)
        with using(serving()):  # looked up once for a block, as in a run
            return [m.fit(observed, shared.moments(m.spec()), None) for m in chosen]

    return analyse


@pytest.mark.parametrize("name", FITS)
def test_against_r(benchmark, r, cell, observed, name):
    ours = block(name, cell, observed)
    ours()
    ratios, theirs, mine = [], [], []
    for _ in range(TURNS):
        milliseconds = r(name, FITS[name]) / (BLOCK if name == "generate" else 1)
        begun = time.perf_counter()
        for _ in range(ROUNDS):
            ours()
        spent = (time.perf_counter() - begun) / (ROUNDS * BLOCK) * 1000
        ratios.append(milliseconds / spent)
        theirs.append(milliseconds)
        mine.append(spent)
    benchmark.extra_info.update(ratio=round(statistics.median(ratios), 1), needed=NEEDED.get(name))
    benchmark.pedantic(ours, rounds=3)
    print(
        f"\n{name}: R {statistics.median(theirs):.3f} ms, ours {1000 * statistics.median(mine):.1f} us per trial, "
        f"ratio {statistics.median(ratios):,.0f} ({min(ratios):,.0f} to {max(ratios):,.0f})"
        + (f"; wanted {NEEDED[name]}" if name in NEEDED else "")
    )


def theirs_in_python(name, observed):
    """One fit of statsmodels on arrays of one trial, formulas and data frames left out."""
    import statsmodels.api as sm

    made = moments(observed, methods({"kind": "ols"})[0].spec())
    p, trial = made.regressors, made.analysed.trial
    x, y, groups = made.design[:p].T, made.design[p], made.analysed.cluster_of_row

    def fit(number):
        rows = trial == number % BLOCK
        columns = np.flatnonzero((x[rows] != 0).any(axis=0))
        a, b, c = x[rows][:, columns], y[rows], groups[rows]
        begun = time.perf_counter()
        if name == "MixedLM":
            sm.MixedLM(b, a, c).fit(reml=True)
        elif name == "OLS cluster":
            sm.OLS(b, a).fit(cov_type="cluster", cov_kwds={"groups": c})
        else:
            sm.GEE(b, a, c, cov_struct=sm.cov_struct.Exchangeable()).fit(cov_type="robust")
        return time.perf_counter() - begun

    return fit


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", STATSMODELS)
def test_against_statsmodels(observed, name):
    theirs, chosen = theirs_in_python(name, observed), methods(STATSMODELS[name])[0]
    ratios, number = [], 0
    for _ in range(TURNS):
        peer = statistics.mean(theirs(number + k) for k in range(5))
        number += 5
        begun = time.perf_counter()
        for _ in range(ROUNDS):
            chosen.fit(observed, moments(observed, chosen.spec()), None)
        spent = (time.perf_counter() - begun) / (ROUNDS * BLOCK)
        ratios.append(peer / spent)
    print(
        f"\nstatsmodels {name}: {1000 * peer:.2f} ms, ours {1e6 * spent:.1f} us per trial, "
        f"ratio {statistics.median(ratios):,.0f} ({min(ratios):,.0f} to {max(ratios):,.0f})"
    )
