"""The second run of `simtrial check --fresh`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from simtrial.commands import run_directories
from simtrial.commands.options import load_cells

if TYPE_CHECKING:
    import polars as pl


def announced(seed: int | None) -> int:
    """Return the seed that is stated, or a new one, and print it so that the check can be repeated."""
    from simtrial.check.fresh import fresh_seed

    chosen = fresh_seed() if seed is None else seed
    click.echo(f"seed {chosen} (to repeat: --fresh --seed {chosen})", err=True)
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
        self, place: Path, frame: pl.DataFrame, cells: pl.DataFrame, rate: float, published: Path | None
    ) -> pl.DataFrame:
        """Run what failed again, four times as large; return the rows of the first run, those that failed replaced.

        Rows of the second run share the false-alarm rate anew: what fails has failed both, with probability rate
        squared if it is correct. The run stands beside the first, its name ending in ``-again``.
        """
        import json

        import polars as pl

        from simtrial.check.against import published_values
        from simtrial.check.fresh import LARGER, second_seed, to_try_again
        from simtrial.store.directory import read_run

        scenario = read_run(place)["scenario"]
        wanted = scenario.get("expect", []) if published is None else published_values(published, scenario, cells)
        again = to_try_again(frame, cells, wanted)
        if not again:
            return frame
        seed, replicates = second_seed(self.seed), LARGER * self.replicates
        click.echo(f"{len(again)} failed: again with {replicates} replicates and seed {seed}", err=True)
        found, every = load_cells(self.what, self.sets, replicates, seed)
        about = [row["cell"] for row in again]
        here = [cell for cell in every if json.loads(json.dumps(cell.factors)) in about]
        second = place.with_name(f"{place.name}-again")
        run_directories.fill(found, here, second, "auto", self.workers, 1000, self.records)
        told, _ = run_directories.judged(second, rate, again)
        return pl.concat([frame.filter(pl.col("verdict") != "FAIL"), told], how="vertical_relaxed")
