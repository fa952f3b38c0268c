"""simtrial list: what scenario files and commands can name."""

from __future__ import annotations

import click

from simtrial.commands.options import FORMAT


@click.command("list")
@FORMAT
def list_(form: str) -> None:
    """List built-in scenarios, generators, methods, estimands, measures and flags.

    Example: simtrial list
    """
    import polars as pl

    from simtrial.estimands import MEANINGS
    from simtrial.estimators import kinds
    from simtrial.estimators.imputation.engine import IMPUTATION_ENGINES
    from simtrial.flags import CAUSES
    from simtrial.generate.generators import generators
    from simtrial.performance import MEASURES, PAIRED
    from simtrial.report.text import emit, show
    from simtrial.scenario import builtin_names, load

    def first_line(value: object) -> str:
        first = (value.__doc__ or "").strip().partition("\n")[0]
        return first.rstrip(".").replace("``", "")

    rows = [("scenario", name, load(name)[0].title) for name in builtin_names()]
    rows += [("generator", name, first_line(kind)) for name, kind in generators().items()]
    rows += [("method", name, first_line(kind)) for name, kind in kinds().items()]
    rows += [("imputation", name, first_line(engine)) for name, engine in IMPUTATION_ENGINES.all().items()]
    rows += [("estimand", name, meaning) for name, meaning in MEANINGS.items()]
    rows += [("measure", name, first_line(measure)) for name, measure in {**MEASURES, **PAIRED}.items()]
    rows += [("flag", name, cause) for name, cause in CAUSES.items()]
    if form == "table":
        show("What there is", ["what", "name", "meaning"], rows, 3)
    else:
        emit(pl.DataFrame(rows, schema=["what", "name", "meaning"], orient="row"), form)
