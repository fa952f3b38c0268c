"""Simulated trials as data sets, with a codebook."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from simtrial.batch import ObservedBatch
from simtrial.errors import EnvironmentFailure, RunError
from simtrial.files.whole import write_bytes
from simtrial.generate import Mechanism, simulate
from simtrial.plugins.trial_frame import trial_frame
from simtrial.scenario import Cell

FORMATS = ("csv", "parquet", "dta")


def refuse_file(folder: Path) -> None:
    """Refuse a folder to write into that is a file."""
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: a file, not a folder; choose another with -o")


def refuse_others(folder: Path, names: Iterable[str]) -> None:
    """Refuse a folder with data files other than those about to be written, which would stay among the new ones."""
    refuse_file(folder)
    if not folder.is_dir():
        return
    expected = set(names)
    others = sorted(f.name for f in folder.iterdir() if f.suffix[1:] in FORMATS and f.name not in expected)
    if others:
        many = (
            f"{len(others)} other data files, e.g. {others[0]}"
            if len(others) > 1
            else f"another data file, {others[0]}"
        )
        raise RunError(
            f"{folder}: holds {many}, which would stay among the new ones; choose another folder with -o, or delete "
            f"{'them' if len(others) > 1 else 'it'}"
        )


def trial_frames(
    cell: Cell, first: int, last: int, with_latent: bool = False, name: str = ""
) -> Iterator[tuple[int, pl.DataFrame]]:
    """Replicates ``first`` to ``last`` (from 1, both included) as data frames, exactly as a run analyses them.

    ``name`` begins their trial_id; empty: the scenario's name.
    """
    scenario = cell.scenario
    size = scenario.run.block
    for block in range((first - 1) // size, (last - 1) // size + 1):
        batch = simulate(scenario.mechanism, size, scenario.run.seed, cell.key, block)
        latent = {name: c for name, c in batch.columns.items() if c.latent} if with_latent else {}
        seen = ObservedBatch(batch.index, {**batch.observed().columns, **latent})
        for replicate in range(max(first, block * size + 1), min(last, (block + 1) * size) + 1):
            alone = seen.only(replicate - block * size - 1)
            yield replicate, _frame(alone, f"{name or scenario.name}-{replicate:06d}")


def _frame(trial: ObservedBatch, name: str) -> pl.DataFrame:
    """A trial as it is written: everybody and every practice labelled, whole numbers without a point."""
    frame = trial_frame(trial).with_row_index("person", offset=1)
    trial_id = pl.lit(name).alias("trial_id")
    practice, participant = _labels("P", "practice", 2), _labels("S", "person", 4).alias("participant")
    rest = pl.exclude("practice", "arm", "person", "recruited")
    frame = frame.select(trial_id, practice, "arm", participant, rest)
    return frame.with_columns(pl.col(c).cast(pl.Int64) for c in frame.columns if _whole(frame[c]))


def _labels(letter: str, number: str, digits: int) -> pl.Expr:
    return (pl.lit(letter) + pl.col(number).cast(pl.String).str.zfill(digits)).alias(number)


def _whole(values: pl.Series) -> bool:
    return values.dtype == pl.Float64 and bool((values == values.round()).all())


def write_frame(frame: pl.DataFrame, file: Path, labels: dict[str, str]) -> None:
    """Write a data set as CSV, Parquet or Stata file, by the ending of its name."""
    if file.suffix == ".csv":
        write_bytes(file, frame.write_csv().encode())
    elif file.suffix == ".parquet":
        from simtrial.files.whole import parquet_bytes

        write_bytes(file, parquet_bytes(frame, {}))
    else:
        import pandas as pd

        short = stata_names(frame.columns)
        table = pd.DataFrame({short[n]: _stata(frame[n]) for n in frame.columns})
        shown = {short[n]: labels[n][:80] for n in frame.columns if n in labels}
        write_stata(table, file, variable_labels=shown)


def write_stata(table: Any, file: Path, **labels: Any) -> None:
    """Write a table of pandas as a Stata file, with its labels."""
    from io import BytesIO

    buffer = BytesIO()
    try:
        table.to_stata(buffer, write_index=False, version=118, **labels)
    except ValueError as error:
        raise EnvironmentFailure(f"{file}: cannot be written as a Stata file ({error})") from None
    write_bytes(file, buffer.getvalue())


def stata_names(names: Sequence[str]) -> dict[str, str]:
    """Names of at most 32 characters, as Stata wants them: long ones are cut, and numbered where two would be one."""
    found: dict[str, str] = {}
    for name in names:
        short, number = name[:32], 1
        while short in found.values() or (short != name and short in names):
            number += 1
            short = f"{name[: 31 - len(str(number))]}_{number}"
        found[name] = short
    return found


def _stata(values: pl.Series) -> object:
    import pandas as pd

    if isinstance(values.dtype, pl.Enum):
        return pd.Categorical(values.to_list(), categories=values.dtype.categories.to_list())
    if values.dtype == pl.String:
        return values.fill_null("").to_list()
    return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def codebook(mechanism: Mechanism, with_latent: bool) -> pl.DataFrame:
    """Every column of a data set: name, level, label, unit, values, source (table of the scenario), whether latent."""
    fixed = [
        ("trial_id", "trial", "Trial: scenario and replicate", "", "", "data set", ""),
        ("practice", "practice", "Practice, in order of recruitment", "", "P01, P02, ...", "data set", ""),
        ("participant", "participant", "Participant", "", "S0001, S0002, ...", "data set", ""),
    ]
    rows = [
        (n, v.level, v.label, v.unit, ", ".join(v.categories), f"mechanism.{stage}", "latent" * v.latent)
        for stage, step in mechanism.items()
        for n, v in step.adds().items()
        if n not in ("practice", "recruited") and (with_latent or not v.latent)
    ]
    names = ["name", "level", "label", "unit", "values", "source", "latent"]
    return pl.DataFrame([*fixed, *rows], schema=names, orient="row")
