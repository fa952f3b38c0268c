"""simtrial check: a run beside its expectations and its baseline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from simtrial.commands import fresh_check, judging, run_directories
from simtrial.commands.options import CORE, PLUGINS, SEED, SETS, ScenarioName, given, load_cells, records_of
from simtrial.commands.request import Request, recipe
from simtrial.errors import SimtrialError

FORMAT = click.option(
    "--format", "form", type=click.Choice(["text", "table", "csv", "json", "junit", "github"]), default="text",
    show_default=True, help="Output; github: text, annotations, and a summary of the step. table is text.",
)  # fmt: skip


@click.command()
@click.argument("what", type=ScenarioName(), metavar="RUN|SCENARIO")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="SCENARIO: run directory; default: temporary.")
@click.option("--replicates", type=click.IntRange(min=1), help="SCENARIO: replicates per cell.")
@click.option("--workers", type=click.IntRange(min=1), help="SCENARIO: workers.")
@click.option("--fresh", is_flag=True, help="SCENARIO: new seeds; what fails is run again, four times as large.")
@click.option("--against", type=click.Path(path_type=Path), metavar="FILE", help="Published values in place of these.")
@click.option("--false-alarms", "rate", type=click.FloatRange(0, 0.5, min_open=True), default=0.001, show_default=True,
              help="Probability of a failure because of chance, over all expectations.")  # fmt: skip
@click.option(
    "--baseline",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Compare with the rows of this baseline, replicate by replicate.",
)
@click.option("--update-baseline", "update", is_flag=True, help="Write the baseline instead, with a --reason.")
@click.option("--reason", metavar="TEXT", help="Why the baseline is written; kept in its history.")
@click.option("--strict", is_flag=True, help="Fail undecided comparisons as well.")
@click.option("--identical", is_flag=True, help="Fail whatever has changed, equivalent or not.")
@click.option(
    "--summary",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Add a summary in Markdown to this file.",
)
@PLUGINS
@SEED
@SETS
@CORE
@FORMAT
def check(
    what: str, output: Path | None, replicates: int | None, workers: int | None, fresh: bool, against: Path | None,
    rate: float, baseline: Path | None, update: bool, reason: str | None, strict: bool, identical: bool,
    summary: Path | None, plugins: tuple[str, ...], seed: int | None, sets: tuple[str, ...], form: str,
) -> None:  # fmt: skip
    """Compare a run, or a new run of a scenario, with its [[expect]] tables and a baseline; exit 1 if one fails.

    Methods of which more fits fail than [check] failures allows (1%) fail as well.

    Example: simtrial check verify/null-39 --baseline baselines/null-39.parquet
    """
    import tempfile

    _refuse_half_requests(baseline, update, reason, identical)
    if fresh and baseline is not None:
        raise SimtrialError("--fresh draws new trials, and a baseline is about the old ones; give one of them")
    asked = Request(
        what=what, form=form, replay=recipe(what, baseline=baseline), baseline=baseline, update=update,
        reason=reason or "", strict=strict, identical=identical, summary=summary, rate=rate, against=against,
    )  # fmt: skip
    if Path(what).is_dir():
        if fresh:
            raise SimtrialError(f"--fresh draws new trials: give the scenario, not the run directory {what}")
        if others := given("output", "replicates", "workers", "seed", "sets"):
            raise SimtrialError(f"{others[0]} goes with a scenario; {what} is a run, which has its own")
        judging.judge(Path(what), asked)
        return
    records = records_of(plugins)
    seed = fresh_check.announced(seed) if fresh else seed
    found, cells = load_cells(what, sets, replicates, seed)
    if not found.expect and baseline is None and against is None:
        held = ", or none about a cell that --set leaves" if sets else ""
        raise SimtrialError(f"{what}: there is no [[expect]] table to check{held}, and no --baseline is given")
    judging.refuse_early(found, cells, asked)
    with tempfile.TemporaryDirectory() as folder:
        run = output or Path(folder) / "run"
        run_directories.fill(found, cells, run, "auto", workers, 1000, records)
        again = fresh_check.Again(what, sets, found.run.replicates, found.run.seed, workers, records) if fresh else None
        shown = recipe(what, plugins, seed, sets, baseline)
        judging.judge(run, replace(asked, replay=shown, again=again))


def _refuse_half_requests(baseline: Path | None, update: bool, reason: str | None, identical: bool) -> None:
    """Refuse options that need each other."""
    if update and baseline is None:
        raise SimtrialError("--update-baseline: which? --baseline FILE names it")
    if identical and baseline is None:
        raise SimtrialError("--identical: to what? --baseline FILE names it")
    if update and not (reason or "").strip():
        raise SimtrialError("--update-baseline: why? --reason 'TEXT' is kept in the baseline for later readers")
    if reason is not None and not update:
        raise SimtrialError("--reason goes with --update-baseline")
