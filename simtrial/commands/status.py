"""simtrial status: how far a run is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simtrial.commands.notes import note, warn
from simtrial.commands.options import FORMAT

if TYPE_CHECKING:
    import polars as pl

    from simtrial.store.stock import Stock


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--chunk", type=click.IntRange(min=1),
              help="Replicates per stored file, as in the run command; default: as in the first.")  # fmt: skip
@click.option("--shards", type=click.IntRange(min=1), help="Number of shards: print those to submit again.")
@click.option("--timings", "timed", is_flag=True, help="What the time went to: stages drawn, methods.")
@FORMAT
def status(run: Path, chunk: int | None, shards: int | None, timed: bool, form: str) -> None:
    """Print how much of a run is stored, what is missing, and which shards to submit again; exit 3 if it is incomplete.

    With --timings also what the workers' time went to (csv and json: that alone).

    Example: simtrial status runs/a --shards 64
    """
    import polars as pl

    from simtrial.report.text import emit
    from simtrial.run.replay import cells_of
    from simtrial.run.timings import timings
    from simtrial.store.cells import has_cells
    from simtrial.store.directory import read_run
    from simtrial.store.identity import from_json
    from simtrial.store.stock import stock_of

    record = read_run(run)
    cells = cells_of(run, warn)
    stock, known = stock_of(run, record), has_cells(run, from_json(record))
    rows = [(cell.label, stock.wanted[cell.id], len(stock.held[cell.id])) for cell in cells]
    frame = pl.DataFrame(rows, schema=["cell", "blocks", "stored"], orient="row")
    frame = frame.with_columns(missing=pl.col("blocks") - pl.col("stored"))
    spent = timings(run, [cell.id for cell in cells]) if timed else None
    if form != "table":
        emit(frame if spent is None else spent, form)
    else:
        _print_cells(frame, stock, known, len(cells), adaptive=bool(record["until"]))
        if shards and stock.missing:
            _print_shards(stock, chunk, record["command"], shards)
        if spent is not None:
            _print_timings(spent)
    if stock.missing or not known:
        raise click.exceptions.Exit(3)


def _print_cells(frame: pl.DataFrame, stock: Stock, known: bool, cells: int, adaptive: bool) -> None:
    """Print the cells that lack blocks, and how much of the run is stored."""
    import polars as pl

    from simtrial.report.text import say, show

    behind = frame.filter(pl.col("missing") > 0)
    if behind.height:
        show("Cells that are not complete", behind.columns, [[str(v) for v in row] for row in behind.iter_rows()])
    most = f"{'at most ' if adaptive else ''}{stock.replicates}"
    number = f"{most} replicates in {cells} cell{'s' if cells > 1 else ''}"
    say(
        f"{stock.total - stock.missing} of {stock.total} blocks of {stock.block} replicates are stored ({number}); "
        f"true values are {'stored' if known else 'not stored yet'}."
    )


def _print_shards(stock: Stock, chunk: int | None, command: str, shards: int) -> None:
    """Print the shards to submit again."""
    from simtrial.report.text import say
    from simtrial.run.plan import shards_of

    size = chunk or chunk_in(command)
    left = shards_of(stock, max(1, -(-size // stock.block)), shards)
    say(f"submit again: --array={','.join(map(str, left))}")
    if chunk is None:
        note(f"for chunks of {size} replicates, as in the command that began the run; --chunk states another")


def _print_timings(spent: pl.DataFrame) -> None:
    """Print what the workers' time went to."""
    from simtrial.report.text import say, show

    lines = [
        [work, f"{seconds:.3f}", f"{100 * share:.1f}%", f"{each:.1f}"]
        for work, seconds, share, each in spent.iter_rows()
    ]
    show("Time of workers", ["work", "seconds", "share", "µs per trial"], lines)
    say("Sums by practice that methods share count as time of the first that needs them.")


def chunk_in(command: str) -> int:
    """Replicates per stored file by a run command, its default where none is stated."""
    from simtrial.commands.run import run as run_command

    stated = re.findall(r"\s--chunk[\s=]+(\d+)", command)
    default: Any = next(option.default for option in run_command.params if option.name == "chunk")
    return int(stated[-1] if stated else default)
