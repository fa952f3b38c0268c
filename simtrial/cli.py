"""The command line; heavy packages are imported inside the commands that need them."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

import simtrial
from simtrial import runs
from simtrial.errors import EnvironmentFailure, SimtrialError, one_line

if TYPE_CHECKING:
    from simtrial.scenario import Cell, Scenario

FORMAT = click.option(
    "--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True, help="Output."
)
PLUGINS = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    metavar="MODULE",
    help="Module (or .py file) that registers your methods or generators.",
)
SETS = click.option("--set", "sets", multiple=True, metavar="PATH=VALUE", help="Change a key of the scenario.")
SEED = click.option("--seed", type=click.IntRange(min=0), help="Seed; default: the scenario's.")


def main() -> NoReturn:
    """Run the command line; a user's mistake is one message and exit 2, never a traceback (unless --debug)."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # small matrices: threads only cost, and processes do the work
    debug = "--debug" in sys.argv
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    signal.signal(signal.SIGTERM, _terminated)
    try:
        code = cli.main(arguments, prog_name="simtrial", standalone_mode=False)
        sys.stdout.flush()
        sys.exit(code if isinstance(code, int) else 0)
    except SystemExit as error:  # click ends with 1 when the reader of a pipe has gone, which is no failed check
        sys.exit(0 if "PacifyFlush" in type(sys.stdout).__name__ else error.code)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted: finished chunks are kept; run the same command to go on", err=True)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except SimtrialError as error:
        if debug:
            raise
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except Exception as error:
        if debug:
            raise
        kind = "the disk or the machine failed" if isinstance(error, OSError) else "this is a fault of simtrial"
        click.echo(f"error: {type(error).__name__}: {error} ({kind}; --debug shows where)", err=True)
        sys.exit(EnvironmentFailure.exit_code)


def _terminated(number: int, frame: object) -> NoReturn:
    click.echo("terminated: finished chunks are kept; run the same command to go on", err=True)
    sys.exit(143)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(simtrial.__version__, prog_name="simtrial")
def cli() -> None:
    """Simulate cluster-randomised trials like PARTNERS2 and test the estimators that analyse them.

    A SCENARIO is the name of a built-in one (simtrial list) or a .toml file. Results go to stdout, progress to stderr.
    Exit 0: done; 1: a check failed; 2: the request was wrong; 3: chunks failed or are missing; 4: stored results are
    damaged; 5: disk or engine failed; 130, 143: interrupted, run the same command to go on.
    """


@cli.command("list")
@FORMAT
def list_(form: str) -> None:
    """List built-in scenarios, generators, methods, estimands, measures and flags.

    Example: simtrial list
    """
    import polars as pl

    from simtrial.estimands import MEANINGS
    from simtrial.estimators import kinds
    from simtrial.flags import CAUSES
    from simtrial.generators import generators
    from simtrial.performance import MEASURES, PAIRED
    from simtrial.report.tables import emit, show
    from simtrial.scenario import builtin_names, load

    def first_line(value: object) -> str:
        first = (value.__doc__ or "").strip().partition("\n")[0]
        return first.rstrip(".").replace("``", "")

    rows = [("scenario", name, load(name)[0].title) for name in builtin_names()]
    rows += [("generator", name, first_line(kind)) for name, kind in generators().items()]
    rows += [("method", name, first_line(kind)) for name, kind in kinds().items()]
    rows += [("estimand", name, meaning) for name, meaning in MEANINGS.items()]
    rows += [("measure", name, first_line(measure)) for name, measure in {**MEASURES, **PAIRED}.items()]
    rows += [("flag", name, cause) for name, cause in CAUSES.items()]
    if form == "table":
        show("Names known to simtrial", ["what", "name", "meaning"], rows, 3)
    else:
        emit(pl.DataFrame(rows, schema=["what", "name", "meaning"], orient="row"), form)


@cli.command("show")
@click.argument("scenario")
@PLUGINS
@SETS
@FORMAT
def show_(scenario: str, plugins: tuple[str, ...], sets: tuple[str, ...], form: str) -> None:
    """Show a resolved scenario: keys, cells, implied moments, expected cost and Monte Carlo error.

    csv holds what every cell implies alone, json the keys as well. Scores cut at the ends of a scale are warned of.

    Example: simtrial show partners --set mechanism.practices.number=20
    """
    from simtrial.implied import warnings
    from simtrial.report.implied import found_in, implied_frame
    from simtrial.report.resolved import print_resolved, resolved_json
    from simtrial.report.tables import emit
    from simtrial.scenario import load

    _plugins(plugins)
    found, cells = load(scenario, sets)
    for sentence in warnings(cells):
        click.echo(f"warning: {sentence}", err=True)
    implied = found_in(found, cells)
    if form == "csv":
        emit(implied_frame(implied), form)
    elif form == "json":
        click.echo(resolved_json(found, cells, implied))
    else:
        print_resolved(found, cells, implied)


@cli.command()
@click.argument("scenario")
@click.option("-n", "--replicates", type=click.IntRange(min=1), default=1, show_default=True, help="How many trials.")
@click.option("--replicate", type=click.IntRange(min=1), help="This replicate alone, exactly as a run draws it.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for the data sets.")
@click.option("--cell", metavar="FACTORS", help="Cell of a sweep, e.g. 'icc=0.05, number=12'; see simtrial show.")
@click.option("--format", "form", type=click.Choice(["csv", "parquet", "dta"]), default="csv", show_default=True)
@click.option("--with-latent", is_flag=True, help="Add potential outcomes and other latent columns.")
@PLUGINS
@SEED
@SETS
def generate(
    scenario: str, replicates: int, replicate: int | None, output: Path, cell: str | None, form: str,
    with_latent: bool, plugins: tuple[str, ...], seed: int | None, sets: tuple[str, ...],
) -> None:  # fmt: skip
    """Write simulated trials as data sets, with a codebook.

    The same command again writes the same files; a folder with other data files is refused.

    Example: simtrial generate partners -n 10 -o trials
    """
    from simtrial.export import codebook, refuse_others, trial_frames, write_frame
    from simtrial.scenario.cells import file_names

    _plugins(plugins)
    found, cells = _load(scenario, sets, None, seed)
    chosen = _cell(cells, cell)
    first, last = (replicate, replicate) if replicate else (1, replicates)
    names = {n: v.label for n, v in chosen.scenario.variables.items()}
    short = file_names(cells)[chosen.id]
    stem = f"{found.name}-{short}" if short else found.name
    files = {number: f"{stem}-{number:06d}.{form}" for number in range(first, last + 1)}
    refuse_others(output, ["codebook.csv", *files.values()])
    for number, frame in trial_frames(chosen, first, last, with_latent, stem):
        write_frame(frame, output / files[number], names)
    count = len(files)
    write_frame(codebook(chosen.scenario.mechanism, with_latent), output / "codebook.csv", {})
    others = f" (--cell chooses another of {len(cells)})" if len(cells) > 1 else ""
    which = f" of cell '{chosen.label}'{others}" if chosen.factors else ""
    click.echo(f"{count} data set{'s' if count > 1 else ''}{which} and codebook.csv in {output}", err=True)


def _cell(cells: list[Cell], name: str | None) -> Cell:
    """Cell by name: its factors in any order, the name in files, or its id; default: the first."""
    from simtrial.errors import unknown
    from simtrial.scenario.cells import file_names

    if name is None:
        return cells[0]
    files = file_names(cells)
    asked = sorted(part.strip() for part in name.split(","))
    for cell in cells:
        if name in (cell.id, cell.label, files[cell.id]) or asked == sorted(cell.label.split(", ")):
            return cell
    raise SimtrialError(unknown("cell", name, [cell.label for cell in cells]))


def _load(
    scenario: str, sets: tuple[str, ...], replicates: int | None, seed: int | None
) -> tuple[Scenario, list[Cell]]:
    from simtrial.scenario import load

    extra = [f"run.replicates={replicates}"] if replicates is not None else []
    extra += [f"run.seed={seed}"] if seed is not None else []
    return load(scenario, [*sets, *extra])


@cli.command()
@click.argument("data", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--methods", required=True, metavar="FILE", help="TOML with [[methods]], or a scenario.")
@click.option("--map", "maps", multiple=True, metavar="NAME=YOURS", help="Your name of a column, e.g. practice=gp_id.")
@click.option("--factor", "factors", multiple=True, metavar="COLUMN", help="Take a column of numbers as categories.")
@click.option("--number", "numbers", multiple=True, metavar="COLUMN", help="Take labelled categories as their codes.")
@click.option("--all-terms", is_flag=True, help="Print every coefficient.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Seed of methods that draw.")
@PLUGINS
@FORMAT
def analyse(
    data: tuple[Path, ...], methods: str, maps: tuple[str, ...], factors: tuple[str, ...], numbers: tuple[str, ...],
    all_terms: bool, seed: int, plugins: tuple[str, ...], form: str,
) -> None:  # fmt: skip
    """Analyse data sets (CSV, Parquet, Stata) by the methods of a file.

    Needed columns: practice, arm (0/1), and those the methods read, e.g. mansa_followup; trial_id if there are several.

    Example: simtrial analyse trial.csv --methods methods.toml --map practice=gp_id
    """
    from simtrial.analyse import analyse as analyse_trials
    from simtrial.column_use import use_of
    from simtrial.data import read_trials
    from simtrial.report.tables import analyses_table, emit
    from simtrial.scenario import load_categories, load_methods

    _plugins(plugins)
    chosen = load_methods(methods)
    use = use_of(chosen, factors, numbers, *load_categories(methods))
    skipped = [file for file in data if file.name == "codebook.csv"]
    if skipped:
        click.echo(f"{skipped[0]}: skipped, it is a codebook", err=True)
        data = tuple(file for file in data if file not in skipped)
        if not data:
            raise SimtrialError("no data set is left: a codebook was the only file given")
    needed = frozenset[str]().union(*(m.reads() for m in chosen))
    renamed = dict(_pair(text, "--map") for text in maps)
    ids, batch = read_trials(data, needed, renamed, use=use)
    frame = analyse_trials(ids, batch, chosen, seed, all_terms)
    if form == "table":
        analyses_table(frame)
    else:
        emit(frame, form)


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise SimtrialError(f"{option} takes name=yours, e.g. {option} practice=gp_id; '{text}' given")
    return name, value


@cli.command()
@click.argument("scenario")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Run directory.")
@click.option("--replicates", type=click.IntRange(min=1), help="Replicates per cell; default: the scenario's.")
@click.option("--engine", "engine_name", type=click.Choice(["auto", "serial", "processes"]), default="auto",
              show_default=True, help="auto: processes if the run is large enough.")  # fmt: skip
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes; default: the available cores.")
@click.option(
    "--chunk", type=click.IntRange(min=1), default=1000, show_default=True, help="Replicates per stored file."
)
@PLUGINS
@SEED
@SETS
@FORMAT
def run(
    scenario: str, output: Path, replicates: int | None, engine_name: str, workers: int | None, chunk: int,
    plugins: tuple[str, ...], seed: int | None, sets: tuple[str, ...], form: str,
) -> None:  # fmt: skip
    """Run a scenario into a directory and print its performance; the same command resumes an interrupted run.

    Example: simtrial run partners -o runs/partners --replicates 1000 --workers 2
    """
    if engine_name == "processes" or (engine_name == "auto" and (workers or 1) > 1):
        runs.start_workers()
    records = _plugins(plugins)
    found, cells = _load(scenario, sets, replicates, seed)
    outcome = runs.fill(found, cells, output, engine_name, workers, chunk, records)
    from simtrial.store import read_run

    if not outcome.chunks:
        click.echo("nothing to run: every chunk asked for is there", err=True)
    held = read_run(output)["replicates"]
    if held > found.run.replicates:
        click.echo(f"the directory holds {held} replicates per cell; all of them are summarised", err=True)
    runs.summarise(output, form, partial=False)


@cli.command()
@click.argument("what", metavar="RUN|SCENARIO")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="SCENARIO: run directory; default: temporary.")
@click.option("--replicates", type=click.IntRange(min=1), help="SCENARIO: replicates per cell.")
@click.option("--workers", type=click.IntRange(min=1), help="SCENARIO: worker processes.")
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
        runs.judge(Path(what), form)
        return
    records = _plugins(plugins)
    found, cells = _load(what, sets, replicates, seed)
    if not found.expect:
        held = ", or none about a cell that --set leaves" if sets else ""
        raise SimtrialError(f"{what}: there is no [[expect]] table to check{held}")
    with tempfile.TemporaryDirectory() as folder:
        runs.fill(found, cells, output or Path(folder) / "run", "auto", workers, 1000, records)
        runs.judge(output or Path(folder) / "run", form)


@cli.command()
@click.argument("scenario", default="partners", required=False)
@click.option(
    "--replicates", type=click.IntRange(min=20), default=2000, show_default=True, help="How many simulated trials."
)
@click.option("--all", "everything", is_flag=True, help="Table: every fact, not just those outside the central 95%.")
@SEED
@SETS
@FORMAT
def fidelity(
    scenario: str, replicates: int, everything: bool, seed: int | None, sets: tuple[str, ...], form: str
) -> None:
    """Compare every published fact of PARTNERS2 with simulated trials of a SCENARIO (default: partners).

    Example: simtrial fidelity --replicates 500
    """
    from simtrial import fidelity as facts
    from simtrial.report.fidelity import fidelity_table
    from simtrial.report.progress import Progress
    from simtrial.report.tables import emit

    found, cells = _load(scenario, sets, None, seed)
    every = facts.facts()
    untold = facts.without_columns(every, found.variables)
    chosen = [fact for fact in every if fact.id not in untold]
    if untold:
        click.echo(f"{len(untold)} of {len(every)} facts skipped: the scenario has no such columns", err=True)
    if len(cells) > 1:
        click.echo(f"first of {len(cells)} cells: {cells[0].label}", err=True)
    with Progress() as progress:
        values = facts.simulated(chosen, cells[0], replicates, progress)
    frame = facts.compared(chosen, values)
    if form == "table":
        fidelity_table(frame, chosen, replicates, everything)
    else:
        emit(frame, form)


def _plugins(names: tuple[str, ...]) -> list[dict[str, str]]:
    if not names:
        return []
    from simtrial.plugins import load_plugins

    return load_plugins(names)


@cli.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--partial", is_flag=True, help="Summarise the finished part of a run.")
@click.option(
    "--mcse", type=click.Choice(["robust", "jackknife", "normal"]), help="Form of Monte Carlo standard errors."
)
@click.option("--reference", metavar="METHOD", help="Compare the others with this method, trial by trial.")
@click.option("--common", is_flag=True, help="Only replicates in which every method has an estimate.")
@click.option("--true", "true", metavar="NUMBER|COLUMN", help="FILE: the true value.")
@click.option("--by", "by", multiple=True, metavar="COLUMN", help="FILE: a factor that defines cells.")
@click.option(
    "--map", "maps", multiple=True, metavar="NAME=YOURS", help="FILE: your name of a column, e.g. estimate=b."
)
@click.option("--df", type=float, help="FILE: degrees of freedom for all; inf: normal.")
@click.option("--level", type=click.FloatRange(0.5, 1, min_open=True, max_open=True), default=0.95, show_default=True,
              help="FILE: level of intervals and tests.")  # fmt: skip
@FORMAT
def summarise(
    run: Path, partial: bool, mcse: str | None, reference: str | None, common: bool, true: str | None,
    by: tuple[str, ...], maps: tuple[str, ...], df: float | None, level: float, form: str,
) -> None:  # fmt: skip
    """Print the performance of a run, or of a FILE of results from other programs (CSV, Parquet, .dta).

    A file has one row per replicate and method (rsimsum's, siman's or our column names are known), or one per replicate
    with columns such as b_1, se_b_1 (simsum) or est1, se1 (siman).

    Example: simtrial summarise estimates.csv --true 0.5 --by dgm --reference lmm
    """
    if run.is_dir() or not run.suffix:
        runs.summarise(run, form, partial, mcse, reference, common)
        return
    import polars as pl

    from simtrial.imported import Reading, pairs, results
    from simtrial.performance import Options, performance
    from simtrial.report import tables

    renamed = [_pair(text, "--map") for text in maps]
    for name, _ in renamed:
        if [ours for ours, _ in renamed].count(name) > 1:
            raise SimtrialError(f"--map {name}=...: given twice")
    found = results(run, Reading(dict(renamed), by, true, df, level))
    rows, cells = found.rows, found.cells
    methods = rows["method"].unique(maintain_order=True).to_list()
    runs.known(reference, methods)
    if reference is not None or common:
        pairs(found, run, reference)
    for text in (found.columns, *found.notes):
        click.echo(one_line(text), err=True)
    alphas = dict.fromkeys(methods, 1 - level)
    chosen = Options(form=mcse or "robust", reference=reference, alphas=alphas, common=common)  # type: ignore[arg-type]
    frame = performance(rows, cells.filter(pl.col("true_value").is_not_null() | pl.col("own")), chosen)
    tables.print_performance(frame, cells, form, stored=False)
