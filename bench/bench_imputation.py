"""Multiple imputation against R's packages on the same trials, by turns in one run: ratios, not absolute times.

The first two rows are PARTNERS-like trials in which follow-up alone is missing: 20 imputations and 20 mixed models.
The third is the Gibbs sampler of baseline and follow-up together, 500 sweeps, without analyses. Skipped where R or a
package is missing.
"""

import shutil
import statistics
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from subprocess import PIPE

import polars as pl
import pytest

from simtrial.estimators import kinds
from simtrial.files.write_trials import trial_frames
from simtrial.generate import simulate
from simtrial.moments.build import moments
from simtrial.run.kept_memory import keep_freed_memory
from simtrial.scenario import load
from simtrial.seeding import stream

PEERS = Path(__file__).with_name("imputation.R")
BLOCK, TURNS = 250, 5
FULL = ["mansa_baseline", "region", "practice_size"]
LMM = {"kind": "lmm", "df": "normal", "adjust": FULL}
TWO = {"adjust": FULL, "imputation": "joint", "burn_in": 120, "thin": 20}
ROWS = {
    "pan and lmer": ({"adjust": FULL, "analysis": LMM}, "0.0", 2, 1000),
    "jomo and lmer": ({"adjust": FULL, "analysis": LMM}, "0.0", 1, 2500),
    "joint": ({**TWO, "analysis": {"kind": "cluster-means", "adjust": []}}, "0.01", 2, 50),
}
"""Options of ours, share without a baseline, calls of the peer in a turn, and the ratio that is aimed at."""


@pytest.fixture(scope="module")
def cells():
    keep_freed_memory()  # as in a run
    return {share: load("partners", [f"mechanism.missingness.baseline={share}"])[1][0] for share in ("0.0", "0.01")}


@pytest.fixture(scope="module")
def r(cells, tmp_path_factory):
    """Ask R for the mean milliseconds of some calls of a peer, on trials with a share of baselines missing."""
    if shutil.which("Rscript") is None:
        pytest.skip("Rscript is not on the path")
    with ExitStack() as stack:
        running = {}
        for share, cell in cells.items():
            file = tmp_path_factory.mktemp("imputation") / "trials.csv"
            pl.concat([f for _, f in trial_frames(cell, 1, 40)]).write_csv(file)
            command = ["Rscript", "--vanilla", str(PEERS), str(file)]
            process = subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True)
            running[share] = stack.enter_context(process)
            if process.stdout.readline().strip() != "ready":
                pytest.skip(f"R's packages are not all there: {process.stderr.read().strip()}")

        def ask(share, name, count):
            process = running[share]
            process.stdin.write(f"{name}:{count}\n")
            process.stdin.flush()
            return float(process.stdout.readline())

        yield ask


@pytest.mark.parametrize("name", ROWS)
def test_against_r(benchmark, r, cells, name):
    options, share, count, wanted = ROWS[name]
    observed = simulate(cells[share].scenario.mechanism, BLOCK, 1, "", 0).observed()
    method = kinds()["mi"].model_validate({"name": "mi", "response": "mansa", **options})

    def ours():
        return method.fit(observed, moments(observed, method.spec()), stream(1, "", 0, "mi"))

    ours()
    theirs, mine = [], []
    for _ in range(TURNS):
        theirs.append(r(share, name, count))
        begun = time.perf_counter()
        ours()
        mine.append((time.perf_counter() - begun) / BLOCK * 1000)
    ratios = [a / b for a, b in zip(theirs, mine, strict=True)]
    benchmark.extra_info.update(trials=BLOCK, ratio=round(statistics.median(ratios), 1), needed=wanted)
    benchmark.pedantic(ours, rounds=2)
    print(
        f"\n{name}: R {statistics.median(theirs):,.0f} ms, ours {statistics.median(mine):.3f} ms per trial, "
        f"ratio {statistics.median(ratios):,.0f} ({min(ratios):,.0f} to {max(ratios):,.0f}); wanted {wanted:,}"
    )
