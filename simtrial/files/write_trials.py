"""Simulated trials as data sets, with a codebook."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from simtrial.batch import Column, Index, ObservedBatch
from simtrial.errors import EnvironmentFailure, RunError
from simtrial.files.whole import write_bytes
from simtrial.generate import Mechanism, simulate
from simtrial.scenario import Cell

FORMATS = ("csv", "parquet", "dta")


def refuse_others(folder: Path, names: Iterable[str]) -> None:
    """Refuse a folder with data files other than those about to be written, which would stay among the new ones."""
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
    index = trial.index
    people = index.participants
    data: dict[str, object] = {
        "trial_id": [name] * people,
        "practice": [f"P{k + 1:02d}" for k in index.participant_practice],
        "arm": trial.at("arm"),
    }
    for key, column in trial.columns.items():
        if key not in ("practice", "arm", "recruited"):
            data[key] = _values(column, index)
    data["participant"] = [f"S{k + 1:04d}" for k in range(people)]
    order = ["trial_id", "practice", "arm", "participant"]
    frame = pl.DataFrame(data).select(*order, pl.exclude(order))
    frame = frame.with_columns(pl.col(pl.Float64).fill_nan(None))
    return frame.with_columns(pl.col(c).cast(pl.Int64) for c in frame.columns if _whole(frame[c]))


def _values(column: Column, index: Index) -> pl.Series:
    rows = index.rows(column.level, "participant")
    values = column.values if rows is None else column.values[rows]
    if column.categories:
        labels = np.array([*column.categories, None], dtype=object)[values]
        return pl.Series(labels.tolist(), dtype=pl.Enum(column.categories))  # keeps the order, the reference first
    return pl.Series(values.astype(np.float64))


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
        from io import BytesIO

        import pandas as pd

        short = stata_names(frame.columns)
        table = pd.DataFrame({short[n]: _stata(frame[n]) for n in frame.columns})
        buffer = BytesIO()
        shown = {short[n]: labels[n][:80] for n in frame.columns if n in labels}
        try:
            table.to_stata(buffer, write_index=False, variable_labels=shown, version=118)
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
