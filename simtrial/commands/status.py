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
@FORMAT
def status(run: Path, chunk: int, shards: int | None, form: str) -> None:
    """Print how much of a run is stored, what is missing, and which shards to submit again; exit 3 if it is incomplete.

    Example: simtrial status runs/a --shards 64
    """
    import polars as pl

    from simtrial.report.text import emit, say, show
    from simtrial.run.plan import shards_of
    from simtrial.run.replay import cells_of
    from simtrial.store.cells import has_cells
    from simtrial.store.directory import read_run
    from simtrial.store.identity import from_json
    from simtrial.store.stock import stock_of

    record = read_run(run)
    cells = cells_of(run)
    stock, known = stock_of(run, record), has_cells(run, from_json(record))
    rows = [(cell.label, stock.wanted[cell.id], len(stock.held[cell.id])) for cell in cells]
    frame = pl.DataFrame(rows, schema=["cell", "blocks", "stored"], orient="row")
    frame = frame.with_columns(missing=pl.col("blocks") - pl.col("stored"))
    if form != "table":
        emit(frame, form)
    else:
        behind = frame.filter(pl.col("missing") > 0)
        shown = [[str(v) for v in row] for row in behind.iter_rows()]
        if shown:
            show("Cells that are not complete", behind.columns, shown)
        truths = "stored" if known else "not stored yet"
        most = f"{'at most ' if record['until'] else ''}{stock.replicates}"
        number = f"{most} replicates in {len(cells)} cell{'s' if len(cells) > 1 else ''}"
        say(
            f"{stock.total - stock.missing} of {stock.total} blocks of {stock.block} replicates are stored ({number}); "
            f"true values are {truths}."
        )
        if shards and stock.missing:
            left = shards_of(stock, max(1, -(-chunk // stock.block)), shards)
            say(f"submit again: --array={','.join(map(str, left))}")
    if stock.missing or not known:
        raise click.exceptions.Exit(3)
