"""Completed data sets as files that packages for multiple imputation read: mitml and mice in R, ``mi`` in Stata."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from simtrial.files.write_trials import refuse_others, write_frame


def write_completed(folder: Path, frames: Mapping[str, pl.DataFrame]) -> list[Path]:
    """Write a CSV file and a Stata file for every method, and return what was written.

    Both are long: every completed data set below the incomplete one. The set is ``.imp`` and the person ``.id`` in CSV,
    as mice and mitml expect; ``imp`` and ``id`` in Stata, where a name cannot begin with a point.
    """
    names = _file_names(list(frames))
    files = [folder / f"{name}.{ending}" for name in names.values() for ending in ("csv", "dta")]
    refuse_others(folder, (file.name for file in files))
    folder.mkdir(parents=True, exist_ok=True)
    for method, frame in frames.items():
        write_frame(frame, folder / f"{names[method]}.csv", {})
        plain = frame.rename({name: name.removeprefix(".") for name in frame.columns if name.startswith(".")})
        labels = {"imp": "Imputation: 0 incomplete data", "id": "Person"}
        write_frame(plain, folder / f"{names[method]}.dta", labels)
    return files


def _file_names(methods: list[str]) -> dict[str, str]:
    """Names of methods as those of files: letters, digits and hyphens, numbered where two would be one."""
    found: dict[str, str] = {}
    for method in methods:
        plain = re.sub(r"[^A-Za-z0-9]+", "-", method).strip("-").lower() or "method"
        name, number = plain, 1
        while name in found.values():
            number += 1
            name = f"{plain}-{number}"
        found[method] = name
    return found
