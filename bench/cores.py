"""The kernels of numpy and the compiled ones in turns: CPU time per trial of the parts of a block, and the ratio.

``OMP_NUM_THREADS=1 python bench/cores.py [TURNS]`` draws and analyses blocks of 250 trials of `speed.toml`, each turn
with one core and then with the other, so that both see the same neighbours on a shared machine.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from simtrial import core
from simtrial.estimators.clda import ConstrainedLongitudinal
from simtrial.estimators.visit_rows import prepare
from simtrial.generate import simulate
from simtrial.kernels import by_arm_fit, random_intercept_fit, sandwich, two_visits_fit
from simtrial.moments.build import moments
from simtrial.moments.moments import Moments
from simtrial.run.block import block_rows
from simtrial.run.kept_memory import keep_freed_memory
from simtrial.scenario import load

TRIALS = 250


def parts() -> dict[str, Callable[[], Any]]:
    """What is timed, by name."""
    scenario, (cell, *_) = load(Path(__file__).with_name("speed.toml"))
    needed, chosen = scenario.needed, scenario.methods[1]
    observed = simulate(needed, TRIALS, 1, "", 0).observed()
    found: Moments = moments(observed, chosen.spec())
    sums, contrast, inverse = found.size_sums(), found.contrast("arm"), found.least_squares.inverse

    def mixed_model() -> None:
        fit = random_intercept_fit.fit(sums)
        random_intercept_fit.expected_df(fit, contrast)
        random_intercept_fit.kenward_roger_variance(fit, contrast)

    both = ConstrainedLongitudinal(name="clda", response="mansa", adjust=chosen.adjust)
    visits = prepare(observed, both.spec(), "mansa_baseline")
    by_arm = found.by_arm
    usable = np.flatnonzero(~visits.failed)
    rows, alone = visits.sums.take(usable), visits.unclustered[usable]

    return {
        "drawing": lambda: simulate(needed, TRIALS, 1, "", 0).observed(),
        "sums by practice": lambda: moments(observed, chosen.spec()).size_sums(),
        "REML, Kenward-Roger": mixed_model,
        "CR2 with its df": lambda: sandwich.leverage(found.basis, inverse, contrast, "CR2"),
        "variances by arm": lambda: by_arm_fit.fit(by_arm, "both", reml=True),
        "clda": lambda: two_visits_fit.fit(rows, alone, reml=True),
        "full replicate": lambda: block_rows(cell, 0),
    }


def main(turns: int) -> None:
    """Print microseconds per trial, medians over turns, with quartiles of the ratio."""
    print(f"compiled: {core.version('compiled')}; {turns} turns, blocks of {TRIALS}, us of CPU per trial")
    keep_freed_memory()
    for name, part in parts().items():
        spent: dict[str, list[float]] = {one: [] for one in core.CORES}
        for turn in range(turns + 1):
            for one in core.CORES:
                with core.using(one):
                    begun = time.process_time()
                    for _ in range(4):
                        part()
                    spent[one].append((time.process_time() - begun) / (4 * TRIALS) * 1e6)
            if not turn:  # tables are made, memory is at hand
                spent = {one: [] for one in core.CORES}
        ratio = np.quantile(np.divide(spent["numpy"], spent["compiled"]), [0.25, 0.5, 0.75])
        medians = [float(np.median(spent[one])) for one in core.CORES]
        print(f"{name:20} numpy {medians[0]:6.1f}  compiled {medians[1]:6.1f}  ratio {ratio[1]:.2f} "
              f"({ratio[0]:.2f} to {ratio[2]:.2f})")  # fmt: skip


if __name__ == "__main__":
    if core.missing():
        sys.exit(f"no compiled kernels: {core.missing()}")
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
