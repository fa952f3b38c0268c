"""simtrial check: a run beside its expectations."""

from __future__ import annotations

from pathlib import Path

import click

from simtrial.commands import run_directories
from simtrial.commands.options import FORMAT, PLUGINS, SEED, SETS, load_cells, records_of
from simtrial.errors import SimtrialError


@click.command()
@click.argument("what", metavar="RUN|SCENARIO")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="SCENARIO: run directory; default: temporary.")
@click.option("--replicates", type=click.IntRange(min=1), help="SCENARIO: replicates per cell.")
@click.option("--workers", type=click.IntRange(min=1), help="SCENARIO: workers.")
@PLUGINS
@SEED
@SETS
@FORMAT
def check(
    what: str, output: Path | None, replicates: int | None, workers: int | None, plugins: tuple[str, ...],
    seed: int | None, sets: tuple[str, ...], form: str,
) -> None:  # fmt: skip
    """Compare a run, or a new run of a scenario, with the scenario's [[expect]] tables; exit 1 if one fails.

    Example: simtrial check verify/null-39
    """
    import tempfile

    if Path(what).is_dir():
        run_directories.judge(Path(what), form)
        return
    records = records_of(plugins)
    found, cells = load_cells(what, sets, replicates, seed)
    if not found.expect:
        held = ", or none about a cell that --set leaves" if sets else ""
        raise SimtrialError(f"{what}: there is no [[expect]] table to check{held}")
    with tempfile.TemporaryDirectory() as folder:
        run_directories.fill(found, cells, output or Path(folder) / "run", "auto", workers, 1000, records)
        run_directories.judge(output or Path(folder) / "run", form)
