"""One self-contained page of a run: no network, no code but its own short script, readable without it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from markupsafe import Markup

from simtrial.errors import IncompleteRunError, one_line
from simtrial.figures.parts.material import Material, of_run
from simtrial.files.whole import write_bytes
from simtrial.report.page import results
from simtrial.report.page.pictures import pictures
from simtrial.report.page.scenario import ademp
from simtrial.report.performance import COLUMNS, OWN, legend
from simtrial.report.tables import FEW, replay_commands
from simtrial.store.directory import read_run


def page(material: Material, partial: str = "", whole: str = "") -> str:
    """Return the page of a run as HTML; ``partial`` says what of it is missing, ``whole`` what it is a part of."""
    from jinja2 import Environment

    assert material.run is not None
    folder, run = str(material.folder), material.run
    style, script = _file("page.css"), _file("page.js")
    rest = f"simtrial summarise {folder} --format csv"
    sentence, failed = results.failures(material, rest)
    figures, left_out, glyphs = pictures(material)
    raw = run["scenario"]
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=_printable)
    found: str = environment.from_string(_file("page.html")).render(
        title=one_line(raw.get("title") or raw["name"]), summary=_summary(run, material) + whole, partial=partial,
        style=Markup(style), script=Markup(script), style_hash=_hash(style), script_hash=_hash(script),
        ademp=ademp(material, f"simtrial show {raw['name']}"), failed=sentence, failures=failed,
        flags=results.flags_explained(material), replays=_replays(material),
        performance=results.performance(material, rest), paired=results.paired(material, rest),
        legend=_explained(material),
        figures=figures, glyphs=glyphs, left_out=left_out, made=_provenance(run),
    )  # fmt: skip
    return found


def _summary(run: Any, material: Material) -> str:
    cells = len(material.factors)
    methods = len(material.methods)
    return (
        f"Scenario {run['scenario']['name']}: {cells:,} cell{'s' if cells > 1 else ''}, {methods} "
        f"method{'s' if methods > 1 else ''}, {run['replicates']:,} replicates per cell, seed {run['seed']}."
    )


def _explained(material: Material) -> str:
    """What the headings of the table of performance mean."""
    there = set(material.measured["measure"])
    own = [OWN] if "own_true_value" in there else []
    return " ".join([legend([name for name, *_ in COLUMNS if name in there]), *own])


def _of_whole(stored: Mapping[str, Any], material: Material) -> str:
    """What the directory holds, where the page is about a part of it."""
    assert material.run is not None
    kinds = ("cells", "methods")
    more = [f"{len(stored[kind]):,} {kind}" for kind in kinds if len(stored[kind]) > len(material.run[kind])]
    more += [f"{stored['replicates']:,} replicates"] if stored["replicates"] > material.run["replicates"] else []
    return f" This is a part of a run of {' and '.join(more)}." if more else ""


def _provenance(run: Any) -> str:
    """What made a run: versions and the command."""
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    return f"Made by {versions}. Command: {_by_name(run['command'])}"


def _by_name(command: str) -> str:
    """A command without the place where the program is installed."""
    program, blank, rest = command.partition(" ")
    return program.replace("\\", "/").rpartition("/")[2] + blank + rest


def _replays(material: Material) -> list[str]:
    """Commands that draw failed replicates again, the first of each method of the first cells with any."""
    lines: list[str] = []
    for _, rows in material.failed.group_by("cell", maintain_order=True):
        lines += replay_commands(rows, str(material.folder), material.labels)
    return [one_line(line) for line in lines[:FEW]]


def _file(name: str) -> str:
    return (resources.files("simtrial.report.page") / name).read_text(encoding="utf-8")


def _printable(value: object) -> object:
    """Text on one line in which nothing turns the direction of writing; what is markup already stays."""
    return one_line(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


PANELS = 24
"""Panels of a figure of replicates, one for each method and estimand of a cell."""


def write_page(folder: Path, file: Path, partial: bool = False, request: Mapping[str, Any] | None = None) -> int:
    """Write the page of a run directory, or of the part of it that a request is for; return its bytes.

    Raises
    ------
    IncompleteRunError
        When blocks are missing and ``partial`` is false.
    """
    stored = read_run(folder)
    missing, shown = "", max(1, PANELS // len((request or stored)["parts"]))  # cells with replicates one by one
    try:
        material = of_run(folder, most=shown, request=request)
    except IncompleteRunError as error:
        if not partial:
            raise
        missing = f"Incomplete: {str(error).partition(';')[0].partition(': ')[2]}; numbers are of the finished part."
        material = of_run(folder, True, most=shown, request=request)
    content = page(material, missing, _of_whole(stored, material)).encode("utf-8")
    write_bytes(file, content)
    return len(content)
