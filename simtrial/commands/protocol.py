"""simtrial protocol: the protocol of a study, filled in from its scenario."""

from __future__ import annotations

from pathlib import Path
from shlex import join

import click

from simtrial.commands.notes import note
from simtrial.commands.options import PLUGINS, SEED, SETS, ScenarioName, load_cells, records_of


@click.command()
@click.argument("scenario", type=ScenarioName())
@click.option("--format", "form", type=click.Choice(["markdown", "html"]),
              help="Output; default: by the ending of FILE, else markdown.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="File to write.")
@click.option("--replicates", type=click.IntRange(min=1), help="Replicates per cell; default: the scenario's.")
@PLUGINS
@SEED
@SETS
def protocol(
    scenario: str, form: str | None, output: Path | None, replicates: int | None, plugins: tuple[str, ...],
    seed: int | None, sets: tuple[str, ...],
) -> None:  # fmt: skip
    """Print the protocol of a study for preregistration: the fields of ADEMP, filled in from its scenario.

    What a scenario does not say is marked TO BE WRITTEN. The number of replicates is justified by the Monte Carlo
    errors that it gives.

    Example: simtrial protocol partners -o protocol.md
    """
    from simtrial.files.whole import write_bytes
    from simtrial.report import protocol_text
    from simtrial.report.protocol import Origin
    from simtrial.report.protocol import protocol as fields
    from simtrial.report.text import emit_text
    from simtrial.store.directory import versions

    records_of(plugins)
    found, cells = load_cells(scenario, sets, replicates, seed)
    options = [word for name in plugins for word in ("--plugin", name)]
    options += [word for text in sets for word in ("--set", text)]
    numbers = ["--replicates", str(found.run.replicates), "--seed", str(found.run.seed)]
    command = join(["simtrial", "run", scenario, "-o", f"runs/{found.name}", *numbers, *options])
    chapters = fields(found, cells, Origin(command, versions()))
    chosen = form or ("html" if output is not None and output.suffix.lower() in (".html", ".htm") else "markdown")
    written = (protocol_text.html if chosen == "html" else protocol_text.markdown)(f"Protocol: {found.name}", chapters)
    if output is None:
        emit_text(written.rstrip("\n"))
        return
    write_bytes(output, written.encode())
    gaps = written.count(protocol_text.TO_WRITE)
    note(f"{output}: {gaps} field{'s' * (gaps != 1)} to be written by its authors")
