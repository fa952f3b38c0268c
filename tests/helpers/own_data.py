"""A small trial of 12 practices as people send it, and what the command says of it."""

import json
from pathlib import Path
from typing import Any

import polars as pl
from commands import simtrial

CASES = Path(__file__).parents[1] / "data" / "cases" / "analyse" / "files"
METHODS = '[[methods]]\nname = "lmm"\nkind = "lmm"\nresponse = "y"\nadjust = [{adjust}]\n'


def rows() -> list[list[str]]:
    """Header and cells of the trial, as text."""
    lines = (CASES / "blank_lines.csv").read_text().split("\n")
    return [line.split(",") for line in lines if line]


def frame() -> pl.DataFrame:
    """The trial as a frame."""
    return pl.read_csv(CASES / "blank_lines.csv").drop_nulls("practice")


def text(separator: str = ",", line: str = "\n", cells: list[list[str]] | None = None) -> str:
    """The trial as delimited text."""
    return line.join(separator.join(row) for row in cells or rows()) + line


def analysed(
    file: Path, adjust: tuple[str, ...] = ("y_baseline",), *options: str, extra: str = ""
) -> list[dict[str, Any]]:
    """Every term the command prints of a file, by a mixed model; the name of the trial is left out."""
    methods = file.parent / "methods.toml"
    methods.write_text(METHODS.format(adjust=", ".join(f'"{name}"' for name in adjust)) + extra)
    found = simtrial("analyse", file, "--methods", methods, "--format", "json", "--all-terms", *options)
    assert found.code == 0, found.err
    assert found.err == ""
    lines = json.loads(found.out)["rows"]
    return [{**row, "trial_id": "", "extra": json.loads(row["extra"])} for row in lines]


def refused(file: Path, adjust: tuple[str, ...] = ("y_baseline",), *options: str, extra: str = "") -> str:
    """The one message with which the command refuses a file."""
    methods = file.parent / "methods.toml"
    methods.write_text(METHODS.format(adjust=", ".join(f'"{name}"' for name in adjust)) + extra)
    found = simtrial("analyse", file, "--methods", methods, "--format", "json", *options)
    assert found.code == 2, found.out
    assert found.out == ""
    assert len(found.err.strip().splitlines()) == 1, found.err
    assert "fault of simtrial" not in found.err
    return found.err.strip()
