"""MCPower (a power analysis in Rust) and simtrial by turns on MCPower's own job: CPU per trial, and the ratio.

``OMP_NUM_THREADS=1 python bench/peer_mcpower.py [TURNS]`` lets both draw trials of 39 practices of 5 people (arm by
practice, a baseline, a residual intracluster correlation of 0.1) and fit the mixed model by either's default (REML
here) with a Wald z test of the arm. MCPower returns the share of trials that reject. So does simtrial here, from the
rows of a run: drawing, fit, confidence intervals and rows that could be stored are part of its time. Both shares are
printed. MCPower allots every practice by a coin, simtrial 20 and 19, which rejects a little more often.

MCPower is no dependency: ``pip install --target DIR mcpower`` and PYTHONPATH=DIR are enough. Without it nothing is
timed.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PRACTICES, EACH, ICC, EFFECT, SLOPE = 39, 5, 0.1, 0.25, 0.5
TRIALS = 2000
"""In a turn of either."""

TEXT = f"""\
schema = 1
name = "mcpower"
title = "Equal practices and a Wald z"
primary = "mansa"
[mechanism.practices]
number = {PRACTICES}
cluster_size_mean = {EACH}.0
cluster_size_cv = 0.0
[mechanism.allocation]
method = "complete"
[mechanism.baseline]
mean = 0.0
sd = 1.0
icc = 0.0
items = 0
lowest = -100.0
highest = 100.0
[mechanism.outcomes.mansa]
mean = 0.0
at_baseline = 0.0
baseline_slope = {SLOPE}
residual_sd = {(1.0 / (1.0 - ICC)) ** 0.5}
icc = {ICC}
effect = {EFFECT}
items = 0
lowest = -100.0
highest = 100.0
[[methods]]
name = "lmm"
kind = "lmm"
adjust = ["mansa_baseline"]
df = "normal"
estimand = []
[run]
block = 250
"""

Turn = Callable[[int], float]
"""Share of rejections of one turn, by its number."""


def ours(folder: Path) -> Turn:
    """Blocks of trials as a run makes them."""
    from simtrial.run.block import block_rows
    from simtrial.scenario import load

    file = folder / "mcpower.toml"
    file.write_text(TEXT, "utf-8")
    cell = load(str(file))[1][0]
    blocks = TRIALS // cell.scenario.run.block

    def turn(number: int) -> float:
        rows = [block_rows(cell, number * blocks + block) for block in range(blocks)]
        return float(np.mean([(frame["p_value"] < 0.05).mean() for frame in rows]))

    return turn


def theirs(mcpower: Any) -> Turn:
    """MCPower, one thread."""
    mcpower._engine.set_n_threads(1)
    model = mcpower.MCPower("y = arm + baseline + (1|practice)", family="lme")
    model.set_variable_type("arm=binary")
    model.set_effects(f"arm={EFFECT}, baseline={SLOPE}")
    model.set_cluster("practice", ICC=ICC, n_clusters=PRACTICES, cluster_level_vars=["arm"])
    options = {"target_test": "arm", "n_sims": TRIALS, "df_method": "asymptotic", "progress_callback": False}

    def turn(number: int) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # practices of 5 are smaller than it recommends
            found = model.find_power(PRACTICES * EACH, seed=1 + number, verbose=False, **options)
        return float(found["power_uncorrected"][0][0])

    return turn


def main(mcpower: Any, turns: int) -> None:
    """Print CPU per trial, the ratio with its quartiles, and shares of rejections."""
    from simtrial import core
    from simtrial.run.kept_memory import keep_freed_memory

    keep_freed_memory()
    cores = [one for one in core.CORES if one == "numpy" or not core.missing()]
    with tempfile.TemporaryDirectory() as folder:
        own = ours(Path(folder))
        work: dict[str, Turn] = {"MCPower": theirs(mcpower), **{one: own for one in cores}}
        spent: dict[str, list[float]] = {name: [] for name in work}
        shares: dict[str, list[float]] = {name: [] for name in work}
        for number in range(turns + 1):
            for name, turn in work.items():
                with core.using(name if name in cores else None):
                    begun = time.process_time()
                    share = turn(number)
                    if number:  # tables are made, memory is at hand
                        spent[name].append((time.process_time() - begun) / TRIALS * 1e6)
                        shares[name].append(share)
    print(f"MCPower {mcpower.__version__}; {turns} turns of {TRIALS} trials, us of CPU per trial")
    for name, times in spent.items():
        ratio = np.quantile(np.divide(spent["MCPower"], times), [0.25, 0.5, 0.75])
        share = float(np.mean(shares[name]))
        error = (share * (1.0 - share) / (turns * TRIALS)) ** 0.5
        print(f"{name:10}{np.median(times):7.1f}  ratio {ratio[1]:.2f} ({ratio[0]:.2f} to {ratio[2]:.2f})  "
              f"rejects {share:.4f} ({error:.4f})")  # fmt: skip


if __name__ == "__main__":
    try:
        import mcpower as peer  # type: ignore[import-not-found]
    except ImportError as missing:
        sys.exit(f"MCPower is not here ({missing}); nothing was timed")
    main(peer, int(sys.argv[1]) if len(sys.argv) > 1 else 9)
