"""The second run of `simtrial check --fresh`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simtrial.commands import run_directories
from simtrial.commands.notes import note
from simtrial.commands.options import load_cells

if TYPE_CHECKING:
    import polars as pl

    from simtrial.check.gate import Stored


def announced(seed: int | None) -> int:
    """Return the seed that is stated, or a new one, and print it so that the check can be repeated."""
    from simtrial.check.fresh import fresh_seed

    chosen = fresh_seed() if seed is None else seed
    note(f"seed {chosen} (to repeat: --fresh --seed {chosen})")
    return chosen


@dataclass(frozen=True)
class Again:
    """What was run first: scenario, settings, replicates, seed, workers, plug-ins."""

    what: str
    sets: tuple[str, ...]
    replicates: int
    seed: int
    workers: int | None
    records: list[dict[str, str]]

    def verdicts(
        self, first: Stored, expectations: list[dict[str, Any]], rate: float, rows: pl.DataFrame
    ) -> pl.DataFrame:
        """Run what failed again, four times as large; return the rows of the first run, those that failed replaced.

        Rows of the second run share the false-alarm rate anew: a correct program fails both runs with the product of
        their probabilities, which each row's ``false_alarm`` then is. The second run stands beside the first, its name
        ending in ``-again``.
        """
        import polars as pl

        from simtrial.check.expectations import check
        from simtrial.check.failed_fits import with_fits
        from simtrial.check.fresh import LARGER, both, second_seed, to_try_again
        from simtrial.check.gate import read_stored
        from simtrial.performance.summary import options_of, summary

        again = to_try_again(rows, first.cells, expectations)
        if not again:
            return both(rows, None, rate)
        seed, replicates = second_seed(self.seed), LARGER * self.replicates
        note(f"{len(again)} failed: again with {replicates} replicates and seed {seed}")
        found, every = load_cells(self.what, self.sets, replicates, seed)
        about = [row["cell"] for row in again]
        here = [cell for cell in every if json.loads(json.dumps(cell.factors)) in about]
        folder = first.folder.with_name(f"{first.folder.name}-again")
        run_directories.fill(found, here, folder, "auto", self.workers, 1000, self.records)
        second = read_stored(folder)
        options = options_of(second.run, everything=True)
        measured = pl.concat([summary(part, second.cells, options) for part in second.parts])
        return both(rows, with_fits(check(measured, second.cells, again, rate), measured), rate)
