"""simtrial status: how far a run is."""

from __future__ import annotations

from pathlib import Path

import click

from simtrial.commands.options import FORMAT


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--chunk", type=click.IntRange(min=1), default=1000, show_default=True,
              help="Replicates per stored file, as in the run command.")  # fmt: skip
@click.option("--shards", type=click.IntRange(min=1), help="Number of shards: print those to submit again.")
@click.option("--timings", "timed", is_flag=True, help="What the time went to: stages drawn, methods.")
@FORMAT
def status(run: Path, chunk: int, shards: int | None, timed: bool, form: str) -> None:
    """Print how much of a run is stored, what is missing, and which shards to submit again; exit 3 if it is incomplete.

    With --timings also what the workers' time went to (csv and json: that alone).

    Example: simtrial status runs/a --shards 64
    """
    import polars as pl

    from simtrial.report.text import emit, say, show
    from simtrial.run.loop import shards_of
    from simtrial.run.replay import cells_of
    from simtrial.run.timings import timings
    from simtrial.store.cells import has_cells
    from simtrial.store.directory import read_run
    from simtrial.store.stock import stock_of

    record = read_run(run)
    cells = cells_of(run)
    stock = stock_of(run, record, [cell.id for cell in cells])
    rows = [(cell.label, stock.wanted, len(stock.held[cell.id])) for cell in cells]
    frame = pl.DataFrame(rows, schema=["cell", "blocks", "stored"], orient="row")
    frame = frame.with_columns(missing=pl.col("blocks") - pl.col("stored"))
    spent = timings(run, [cell.id for cell in cells]) if timed else None
    if form != "table":
        emit(frame if spent is None else spent, form)
    else:
        behind = frame.filter(pl.col("missing") > 0)
        shown = [[str(v) for v in row] for row in behind.iter_rows()]
        if shown:
            show("Cells that are not complete", behind.columns, shown)
        truths = "stored" if has_cells(run) else "not stored yet"
        number = f"{stock.replicates} replicates in {len(cells)} cell{'s' if len(cells) > 1 else ''}"
        say(
            f"{stock.total - stock.missing} of {stock.total} blocks of {stock.block} replicates are stored ({number}); "
            f"true values are {truths}."
        )
        if shards and stock.missing:
            left = shards_of(cells, stock, max(1, -(-chunk // stock.block)), shards)
            say(f"submit again: --array={','.join(map(str, left))}")
        if spent is not None:
            lines = [
                [work, f"{seconds:.3f}", f"{100 * share:.1f}%", f"{each:.1f}"]
                for work, seconds, share, each in spent.iter_rows()
            ]
            show("Time of workers", ["work", "seconds", "share", "µs per trial"], lines)
            say("Sums by practice that methods share count as time of the first that needs them.")
    if stock.missing or not has_cells(run):
        raise click.exceptions.Exit(3)
