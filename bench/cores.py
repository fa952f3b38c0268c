"""The kernels of numpy and the compiled ones in turns: CPU time per trial of the parts of a block, and the ratio.

``OMP_NUM_THREADS=1 python bench/cores.py [TURNS]`` draws and analyses blocks of `speed.toml`, each turn with one core
and then with the other, so that both see the same neighbours on a shared machine. "floor" is the least
that a part needs, counted or measured in the same turns as `floors.py` says, and "above" how many times that the
compiled core takes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import floors
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


class Work:
    """One block, and what is timed of it."""

    def __init__(self) -> None:
        scenario, (self.cell, *_) = load(str(Path(__file__).with_name("speed.toml")))
        self.needed, self.chosen, self.trials = scenario.needed, scenario.methods[1], scenario.run.block
        self.observed = simulate(self.needed, self.trials, 1, "", 0).observed()
        self.found: Moments = moments(self.observed, self.chosen.spec())

    def parts(self) -> dict[str, Callable[[], Any]]:
        """What is timed, by name."""
        found = self.found
        sums, contrast, inverse = found.size_sums(), found.contrast("arm"), found.least_squares.inverse
        both = ConstrainedLongitudinal(name="clda", response="mansa", adjust=self.chosen.adjust)
        visits = prepare(self.observed, both.spec(), "mansa_baseline")
        by_arm, usable = found.by_arm, np.flatnonzero(~visits.failed)
        rows, alone = visits.sums.take(usable), visits.unclustered[usable]

        def mixed_model() -> None:
            fit = random_intercept_fit.fit(sums)
            random_intercept_fit.small_sample(fit, contrast)

        return {
            "drawing": lambda: simulate(self.needed, self.trials, 1, "", 0).observed(),
            "sums by practice": lambda: moments(self.observed, self.chosen.spec()).size_sums(),
            "REML, Kenward-Roger": mixed_model,
            "CR2 with its df": lambda: sandwich.leverage(found.basis, inverse, contrast, "CR2"),
            "variances by arm": lambda: by_arm_fit.fit(by_arm, "both", reml=True),
            "clda": lambda: two_visits_fit.fit(rows, alone, reml=True),
            "full replicate": lambda: block_rows(self.cell, 0),
        }

    def floors(self) -> Callable[[], dict[str, float]]:
        """Floors of those parts that have one, by name, measured whenever it is called."""
        draw, add, pace = (
            floors.drawing(floors.numbers_of(self.needed, self.trials)),
            floors.one_pass(self.found),
            floors.pace(),
        )
        counted = [part(self.found) for part in (floors.of_sums, floors.of_mixed_model, floors.of_sandwich)]

        def measure() -> dict[str, float]:
            one = pace()
            found = {
                "drawing": self.taken(draw),
                "sums by practice": self.taken(add) + counted[0] * one,
                "REML, Kenward-Roger": counted[1] * one,
                "CR2 with its df": counted[2] * one,
            }
            return {**found, "full replicate": sum(found.values())}

        return measure

    def taken(self, part: Callable[[], Any]) -> float:
        """Microseconds of CPU per trial of a block."""
        begun = time.process_time()
        for _ in range(4):
            part()
        return (time.process_time() - begun) / (4 * self.trials) * 1e6


def main(turns: int) -> None:
    """Print microseconds per trial, medians over turns, with quartiles of the ratio."""
    keep_freed_memory()
    work = Work()
    print(f"compiled: {core.version('compiled')}; {turns} turns, blocks of {work.trials}, us of CPU per trial")
    floor = work.floors()
    floor()
    for name, part in work.parts().items():
        spent: dict[str, list[float]] = {one: [] for one in (*core.CORES, "floor")}
        for turn in range(turns + 1):
            for one in core.CORES:
                with core.using(one):
                    spent[one].append(work.taken(part))
            spent["floor"].append(floor().get(name, np.nan))
            if not turn:  # tables are made, memory is at hand
                spent = {one: [] for one in spent}
        ratio = np.quantile(np.divide(spent["numpy"], spent["compiled"]), [0.25, 0.5, 0.75])
        above = float(np.median(np.divide(spent["compiled"], spent["floor"])))
        medians = {one: float(np.median(times)) for one, times in spent.items()}
        least = "" if np.isnan(above) else f"  floor {medians['floor']:5.2f}  above {above:.1f}"
        print(f"{name:20} numpy {medians['numpy']:6.1f}  compiled {medians['compiled']:6.1f}  ratio {ratio[1]:.2f} "
              f"({ratio[0]:.2f} to {ratio[2]:.2f}){least}")  # fmt: skip


if __name__ == "__main__":
    if core.missing():
        sys.exit(f"no compiled kernels: {core.missing()}")
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
