"""simtrial schema: the form of scenario and methods files, for editors."""

from __future__ import annotations

import json

import click

from simtrial.commands.options import PLUGINS, records_of


@click.command()
@click.argument("what", metavar="[scenario|methods]", type=click.Choice(["scenario", "methods"]), default="scenario")
@PLUGINS
def schema(what: str, plugins: tuple[str, ...]) -> None:
    """Print the JSON schema (draft-07) of scenario files, or of methods files.

    An editor that knows TOML completes and checks a file whose first line is #:schema ./simtrial.schema.json

    Example: simtrial schema > simtrial.schema.json
    """
    from simtrial.report.text import emit_text
    from simtrial.scenario.json_schema import methods_schema, scenario_schema

    records_of(plugins)
    emit_text(json.dumps(scenario_schema() if what == "scenario" else methods_schema(), indent=1))
