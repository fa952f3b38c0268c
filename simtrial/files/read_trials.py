"""Data sets of real trials: read, checked, and laid out as a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simtrial.batch import Column, Index, ObservedBatch
from simtrial.errors import MANY, DataError, nearest, unknown
from simtrial.files.formats import Content, Source, open_file
from simtrial.files.formats.cells import alike, as_text, rounded
from simtrial.files.formats.source import shown
from simtrial.files.trials.column_use import Use
from simtrial.files.trials.column_values import (
    Pieces,
    Place,
    categories_of,
    codes_of,
    numbers_of,
    wants_categories,
    words_of,
)
from simtrial.files.trials.missing_codes import blanked_codes
from simtrial.files.trials.value_maps import Mapped, recoded, unused
from simtrial.generate.column_names import FOLLOWUP

IDS = ("trial_id", "practice")


def read_frame(file: Path) -> tuple[pl.DataFrame, Place]:
    """Read a CSV, Parquet or Stata file, or a sheet, as text columns, blanks as nulls; empty rows are dropped.

    Text stays as it is written: a method called 1.0 in the file is called so in a summary. With the frame comes where
    its rows stand in the file.
    """
    source = open_file(file)
    content = source.read([name for name in source.columns if name not in source.other])
    columns = content.frame.get_columns()
    text = content.frame.select(c if c.dtype == pl.String else as_text(c).alias(c.name) for c in columns)
    for name, labels in content.labels.items():
        text = text.with_columns(pl.col(name).replace(words_of(labels)))
    return text, Place(file, source.unit, content.places)


def open_files(files: Sequence[Path]) -> list[Source]:
    """Open every file, once: its columns first say which outcomes there are, and are then read."""
    return [open_file(file) for file in files]


def read_trials(
    files: Sequence[Path | Source],
    needed: Iterable[str],
    renamed: Mapping[str, str],
    factors: Sequence[str] = (),
    use: Use | None = None,
    told: Callable[[str], object] | None = None,
    ways: Sequence[Mapped] = (),
) -> tuple[list[str], ObservedBatch]:
    """Read one or more files, one or more trials in each, as one batch.

    Parameters
    ----------
    files
        CSV, Parquet, .dta or a sheet, opened or not; one row per participant. Without a column trial_id a file is one
        trial named after it.
    needed
        Columns the methods read; what else a file holds is not looked at.
    renamed
        Our name -> the user's name of a column.
    factors
        Columns of numbers to be taken as categories.
    use
        How columns are taken where the data do not say it; by default as `Use` without anything stated.
    told
        Is told of codes of missing values, and of mapped values, that occur nowhere.
    ways
        Columns whose values are mapped to others; their names are in ``renamed`` as well.

    Returns
    -------
    trial_ids, batch
        In order of first appearance.
    """
    use = use or Use(factors=frozenset(factors))
    wanted = [*dict.fromkeys(["practice", "arm", *sorted(needed)])]
    others = [ours for ours in renamed if ours not in (*wanted, *IDS)]
    if others:
        stated = "; ".join(unknown("name", ours, {*wanted, *IDS}) for ours in others)
        raise DataError(f"--map name=yours: {stated}; methods read no other")
    names = _names([file.file if isinstance(file, Source) else file for file in files])
    recode = {way.ours: way for way in ways if way.values}
    read = [_one_file(file, name, wanted, renamed, use, recode) for file, name in zip(files, names, strict=True)]
    if told is not None:
        for code in sorted(use.missing.difference(*(part.codes for part in read))):
            told(f"--missing {code}: no cell of {', '.join(w for w in wanted if w not in (*IDS, 'arm'))} is {code}")
        occurring = {ours: frozenset[str]().union(*(part.mapped.get(ours, ()) for part in read)) for ours in recode}
        for sentence in unused([*recode.values()], occurring):
            told(sentence)
    rows = pl.concat([part.rows for part in read]).with_row_index("order")
    _refuse_spellings(rows)
    ids = rows["trial_id"].unique(maintain_order=True).to_list()
    places = {name: at for at, name in enumerate(ids)}
    rows = rows.with_columns(pl.col("trial_id").replace_strict(places, return_dtype=pl.Int64).alias("trial"))
    first = pl.col("order").min().over("trial", "practice")
    rows = rows.with_columns(first.alias("first")).sort("trial", "first", "order")
    practice = rows.select(pl.struct("trial", "first").rle_id()).to_series().to_numpy().astype(np.intp)
    starts = np.searchsorted(practice, np.arange(practice[-1] + 1))
    index = Index(len(ids), rows["trial"].to_numpy().astype(np.intp)[starts], practice)
    order = rows["order"].to_numpy()
    columns = {}
    for name in wanted:
        if name != "practice":
            pieces = Pieces(name, [part.content for part in read], [part.where for part in read])
            columns[name] = _column(pieces, use, index, starts, order)
    _check_arm(rows, columns["arm"], index, [part.where for part in read])
    return ids, ObservedBatch(index, columns)


def outcomes_in(files: Sequence[Source], renamed: Mapping[str, str]) -> list[str]:
    """Outcomes that every file has a column at follow-up of, its name given by ``renamed`` or its own."""
    by_file = [{*file.columns, *renamed} - {*renamed.values()} for file in files]
    names = sorted(set.intersection(*by_file)) if by_file else []
    return [name.removesuffix(FOLLOWUP) for name in names if name.endswith(FOLLOWUP)]


@dataclass(frozen=True)
class _Part:
    """What one file adds: trial and practice of each row, the cells of the other columns, and where rows stand.

    ``codes`` are the codes of missing values that occur in it, ``mapped`` the mapped values of each column.
    """

    rows: pl.DataFrame
    content: Content
    where: Place
    codes: frozenset[str] = frozenset()
    mapped: Mapping[str, frozenset[str]] = field(default_factory=dict)


def _names(files: Sequence[Path]) -> list[str]:
    """Names of the trials of files without a column trial_id: the file's, with its folder where two have one name."""
    stems = [file.stem for file in files]
    names = [f.stem if stems.count(f.stem) == 1 else str(f) for f in files]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{twice[0]}: given twice")
    return names


def _one_file(
    opened: Path | Source, name: str, wanted: Sequence[str], renamed: Mapping[str, str], use: Use,
    recode: Mapping[str, Mapped],
) -> _Part:  # fmt: skip
    """Read one file; ``name`` names its trial if no column does."""
    source = opened if isinstance(opened, Source) else open_file(opened)
    file, codes = source.file, frozenset[str]()
    theirs_of = _matched(source, wanted, renamed)
    content = _renamed(source.read([*dict.fromkeys(theirs_of.values())]), theirs_of)
    if use.missing:
        blanked, codes = blanked_codes(content.frame, use.missing, but=(*IDS, "arm"))
        content = replace(content, frame=blanked)
    where = Place(file, source.unit, content.places)
    content, occurring = _recoded(content, recode, where)
    rows = content.frame.select(_id(content, id_).alias(id_) for id_ in IDS if id_ in theirs_of)
    if "trial_id" not in theirs_of:
        rows = rows.with_columns(pl.lit(name).alias("trial_id"))
    for id_ in IDS:
        blank = rows[id_].is_null().arg_true()
        if len(blank):
            raise DataError(f"{where.at(blank[0])}: {id_} is blank")
    rows = rows.select(*IDS, pl.lit(str(file)).alias("file"), pl.int_range(pl.len(), dtype=pl.Int64).alias("row"))
    return _Part(rows, content, where, codes, occurring)


def _recoded(
    content: Content, recode: Mapping[str, Mapped], where: Place
) -> tuple[Content, dict[str, frozenset[str]]]:  # fmt: skip
    """Map values of columns; what labels and orders said of them is no longer so."""
    frame, occurring = content.frame, dict[str, frozenset[str]]()
    for ours, way in recode.items():
        if ours in frame.columns:
            cells, occurring[ours] = recoded(frame[ours], content.labels.get(ours), way, where)
            frame = frame.with_columns(cells.alias(ours))
    labels = {name: found for name, found in content.labels.items() if name not in occurring}
    orders = {name: found for name, found in content.orders.items() if name not in occurring}
    return Content(frame, content.places, labels, orders), occurring


def _matched(source: Source, wanted: Sequence[str], renamed: Mapping[str, str]) -> dict[str, str]:
    """Our names of the columns to read -> the file's; trial_id only if present."""
    moved = {ours: theirs.strip() for ours, theirs in renamed.items()}
    for ours, theirs in moved.items():
        if theirs not in source.columns:
            near = hint(theirs, source.columns)
            raise DataError(f"{source.file}: --map {ours}={theirs}: no column '{theirs}'{near}")
    there = set(source.columns) - {theirs for ours, theirs in moved.items() if ours != theirs}  # the name is given up
    known = moved | {name: name for name in there if name not in moved}
    missing = [name for name in wanted if name not in known]
    if missing:
        absent = "; ".join(f"no column '{name}'{hint(name, source.columns)}" for name in missing)
        listed = ", ".join(map(shown, source.columns[:MANY])) + (", ..." if len(source.columns) > MANY else "")
        raise DataError(f"{source.file}: {absent}; available columns: {listed}; rename with --map name=yours")
    return {name: known[name] for name in (*wanted, "trial_id") if name in known}


def _renamed(content: Content, theirs_of: Mapping[str, str]) -> Content:
    """Rename columns to our names; one column may get several names."""
    frame = content.frame.select(pl.col(theirs).alias(ours) for ours, theirs in theirs_of.items())
    labels = {ours: content.labels[theirs] for ours, theirs in theirs_of.items() if theirs in content.labels}
    orders = {ours: content.orders[theirs] for ours, theirs in theirs_of.items() if theirs in content.orders}
    return Content(frame, content.places, labels, orders)


def _id(content: Content, name: str) -> pl.Series:
    """Names of trials or practices; a labelled trial bears its label, a practice is its code."""
    text = as_text(content.frame[name])
    labels = content.labels.get(name)
    words = words_of(labels) if labels is not None and name == "trial_id" else {}
    return text.replace(words) if set(text.drop_nulls().unique()) <= set(words) else text


def _refuse_spellings(rows: pl.DataFrame) -> None:
    """Refuse a trial that is in two files, and names of trials and practices that may or may not be the same."""
    seen = rows.group_by("trial_id", maintain_order=True).agg(pl.col("file").unique(maintain_order=True))
    for name, places in seen.iter_rows():
        if len(places) > 1:
            raise DataError(f"{places[1]}: trial '{shown(name)}' is in {places[0]} as well")
    if not any(find(rows[name].unique().to_list()) for name in IDS for find in (alike, rounded)):
        return
    groups = [("trial_id", rows["file"][0], rows["trial_id"].unique(maintain_order=True).to_list())]
    practices = rows.group_by("trial_id", maintain_order=True).agg(
        pl.col("file").first(), pl.col("practice").unique(maintain_order=True)
    )
    groups += [("practice", file, names) for _, file, names in practices.iter_rows()]
    for what, file, names in groups:
        same, short = alike(names), rounded(names)
        if same is not None:
            raise DataError(
                f"{file}: {what} '{shown(same[0])}' and '{shown(same[1])}' are one number written in two "
                "ways; write it in one way"
            )
        if short is not None:
            raise DataError(
                f"{file}: {what} '{short}' shows the first digits of a longer number; give the column the format "
                "'text' in the spreadsheet and save it again"
            )


def hint(name: str, columns: Sequence[str]) -> str:
    """Which column was probably meant, as the end of a message."""
    close = nearest(name, columns)
    return f" (did you mean '{shown(close)}'?)" if close else ""


def _column(
    pieces: Pieces, use: Use, index: Index, starts: NDArray[np.intp], order: NDArray[np.unsignedinteger]
) -> Column:
    """Numbers or categories; practice level where constant in every practice."""
    categories: tuple[str, ...] = ()
    if wants_categories(pieces, use):
        categories = categories_of(pieces, use)
        values = codes_of(pieces, categories)[order]
    else:
        values = numbers_of(pieces)[order]
    at_practice = values[starts]
    spread = at_practice[index.participant_practice]
    same = ((values == spread) | (np.isnan(values) & np.isnan(spread))).all()
    return Column(at_practice if same else values, "practice" if same else "participant", categories)


def _check_arm(rows: pl.DataFrame, arm: Column, index: Index, where: Sequence[Place]) -> None:
    values = arm.values if arm.level == "participant" else arm.values[index.participant_practice]
    wrong = np.flatnonzero((values != 0.0) & (values != 1.0))
    if len(wrong):
        first = wrong[np.argmin(rows["order"].to_numpy()[wrong])]
        given = "a blank" if np.isnan(values[first]) else f"'{values[first]:g}'"
        raise DataError(
            f"{_place(rows, int(first), where)}: arm must be 0 (control) or 1 (intervention); {given} given"
        )
    if arm.level == "participant":
        mixed = np.flatnonzero(
            values != values[np.searchsorted(index.participant_practice, index.participant_practice)]
        )
        first = mixed[np.argmin(rows["order"].to_numpy()[mixed])]
        raise DataError(
            f"{_place(rows, int(first), where)}: practice '{shown(rows['practice'][int(first)])}' has participants in "
            "both arms; practices are allocated as a whole"
        )


def _place(rows: pl.DataFrame, at: int, where: Sequence[Place]) -> str:
    file, row = rows["file"][at], rows["row"][at]
    return next(place.at(row) for place in where if str(place.file) == file)
