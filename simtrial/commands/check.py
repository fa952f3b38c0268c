"""simtrial check: a run beside its expectations."""

from __future__ import annotations

from pathlib import Path

import click

from simtrial.commands import fresh_check, run_directories
from simtrial.commands.options import FORMAT, PLUGINS, SEED, SETS, load_cells, records_of
from simtrial.errors import SimtrialError


@click.command()
@click.argument("what", metavar="RUN|SCENARIO")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="SCENARIO: run directory; default: temporary.")
@click.option("--replicates", type=click.IntRange(min=1), help="SCENARIO: replicates per cell.")
@click.option("--workers", type=click.IntRange(min=1), help="SCENARIO: workers.")
@click.option("--fresh", is_flag=True, help="SCENARIO: new seeds; what fails is run again, four times as large.")
@click.option("--against", type=click.Path(path_type=Path), metavar="FILE", help="Published values in place of these.")
@click.option("--false-alarms", "rate", type=click.FloatRange(0, 0.5, min_open=True), default=0.001, show_default=True,
              help="Probability of a failure because of chance, over all expectations.")  # fmt: skip
@PLUGINS
@SEED
@SETS
@FORMAT
def check(
    what: str, output: Path | None, replicates: int | None, workers: int | None, fresh: bool, against: Path | None,
    rate: float, plugins: tuple[str, ...], seed: int | None, sets: tuple[str, ...], form: str,
) -> None:  # fmt: skip
    """Compare a run, or a new run of a scenario, with the scenario's [[expect]] tables; exit 1 if one fails.

    Example: simtrial check verify/null-39 --fresh
    """
    import tempfile

    if Path(what).is_dir():
        if fresh:
            raise SimtrialError(f"--fresh draws new trials: give the scenario, not the run directory {what}")
        run_directories.show_verdicts(*run_directories.judged(Path(what), rate, published=against), form)
        return
    records = records_of(plugins)
    seed = fresh_check.announced(seed) if fresh else seed
    found, cells = load_cells(what, sets, replicates, seed)
    if not found.expect and against is None:
        held = ", or none about a cell that --set leaves" if sets else ""
        raise SimtrialError(f"{what}: there is no [[expect]] table to check{held}")
    with tempfile.TemporaryDirectory() as folder:
        place = output or Path(folder) / "run"
        run_directories.fill(found, cells, place, "auto", workers, 1000, records)
        frame, ran = run_directories.judged(place, rate, published=against)
        if fresh:
            again = fresh_check.Again(what, sets, found.run.replicates, found.run.seed, workers, records)
            frame = again.verdicts(place, frame, ran, rate, against)
        run_directories.show_verdicts(frame, ran, form)
