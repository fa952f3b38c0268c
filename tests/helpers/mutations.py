"""Files of data as they might arrive: mutations of a sound frame, written as CSV, Parquet or Stata.

Used for `analyse` and for `summarise`: `mutants` takes any frame, and `tally` holds every command to the same contract.
"""

import io
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
from commands import Result, simtrial

CELLS = (
    "", " ", "NA", ".", ".a", "NULL", "NaN", "inf", "-inf", "1e308", "-1e308", "1e-320", "1e400", "0", "-0", "7.0",
    "07",
    "1,5", "1.234,5", "1 234", "12%", "−3", "x", "TRUE", "false", "2020-01-02", '"', "'", "a,b", "a;b", "a\tb", "a\nb",
    "é", "\u4e2d", "\u00a0", "1E+15", "1.23457E+11", "=1+1", "#N/A", "[1]", "{}", "\\N", "9" * 400, "nan(1)", "0x1F",
    "1_0",
)  # fmt: skip
NAMES = (
    "",
    " ",
    "arm",
    "ARM",
    "practice ",
    "trial_id",
    "y",
    "é",
    "a b",
    "x" * 60,
    "sep=;",
    '"',
    "a,b",
    "_",
    "1",
    "\ufeffarm",
)
NUMBERS = (np.nan, np.inf, -np.inf, 1e308, -1e308, 1e-320, 0.0, -0.0, 1e16, 2.5, -9.0)


@dataclass(frozen=True)
class Mutant:
    """A file: what was done to it, the ending of its name, and its bytes."""

    label: str
    ending: str
    data: bytes


def _rows(frame: pl.DataFrame, rng: np.random.Generator) -> tuple[str, pl.DataFrame]:
    """Rows lost, doubled or shuffled, columns shuffled or dropped."""
    kind = int(rng.integers(9))
    if kind == 0:
        return "few rows", frame.head(int(rng.integers(0, 4)))
    if kind == 1:
        return "shuffled rows", frame.sample(fraction=1, shuffle=True, seed=int(rng.integers(1000)))
    if kind == 2:
        return "shuffled columns", frame.select(rng.permutation(frame.columns).tolist())
    if kind == 3:
        return "column dropped", frame.drop(str(rng.choice(frame.columns)))
    if kind == 4:
        return "doubled rows", pl.concat([frame, frame])
    return "as it is", frame


def csv_mutant(frame: pl.DataFrame, rng: np.random.Generator) -> tuple[str, bytes]:
    """CSV in some dialect and encoding, with odd cells and names."""
    label, frame = _rows(frame, rng)
    rows = [list(frame.columns), *([str(v) if v is not None else "" for v in row] for row in frame.iter_rows())]
    for _ in range(int(rng.choice([0, 1, 1, 3, 30]))):
        row = rows[int(rng.integers(len(rows)))]
        if row:
            row[int(rng.integers(len(row)))] = str(rng.choice(CELLS if row is not rows[0] else NAMES))
    if rng.random() < 0.15:
        rows[0][int(rng.integers(len(rows[0])))] = str(rng.choice(NAMES))
        label += ", header"
    if rng.random() < 0.15:
        column = int(rng.integers(len(rows[0])))
        for row in rows[1:]:
            row[column] = str(rng.choice(CELLS))
        label += ", odd column"
    separator = str(rng.choice([",", ",", ";", "\t", "|"]))
    if rng.random() < 0.2:
        end = str(rng.choice([separator, separator * 3, " ", '"']))
        rows = [[*row[:-1], row[-1] + end] if row else row for row in rows]
        label += ", ragged ends"
    quote = rng.random() < 0.3
    line = str(rng.choice(["\n", "\r\n", "\r"]))
    text = line.join(separator.join(f'"{c}"' if quote else c for c in row) for row in rows)
    text += line * int(rng.integers(0, 4))
    if rng.random() < 0.15:
        text = f"sep={separator}{line}{text}"
    encoding = str(rng.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"]))
    return f"{label}, {encoding}, {separator!r}", text.encode(encoding, errors="replace")


def _odd_column(values: pl.Series, rng: np.random.Generator) -> pl.Series:
    """Cells of another type, or odd values among them."""
    n = len(values)
    made: list[Callable[[], pl.Series]] = [
        lambda: values.cast(pl.String),
        lambda: values.cast(pl.String).cast(pl.Categorical),
        lambda: values.cast(pl.Float32, strict=False),
        lambda: values.cast(pl.Float64, strict=False).cast(pl.Decimal(20, 3), strict=False),
        lambda: pl.Series([[1, 2]] * n, dtype=pl.List(pl.Int64)),
        lambda: pl.Series([{"a": 1}] * n, dtype=pl.Struct({"a": pl.Int64})),
        lambda: pl.Series([b"x"] * n, dtype=pl.Binary),
        lambda: pl.Series([None] * n, dtype=pl.Null),
        lambda: pl.Series([1] * n).cast(pl.Date),
        lambda: pl.Series([1] * n).cast(pl.Duration("us")),
        lambda: pl.Series([1] * n).cast(pl.Datetime("us", "UTC")),
        lambda: pl.Series([1] * n).cast(pl.Time),
        lambda: pl.Series(rng.random(n) < 0.5),
        lambda: pl.Series(rng.choice(NUMBERS, n)),
        lambda: pl.Series([2**63 + 7] * n, dtype=pl.UInt64),
        lambda: pl.Series(rng.choice(CELLS, n).tolist()),
        lambda: pl.Series(rng.choice(["b", "a", "10", "2"], n).tolist(), dtype=pl.Enum(["b", "10", "a", "2"])),
        lambda: pl.Series([[1, 2]] * n, dtype=pl.Array(pl.Int64, 2)),
    ]
    try:
        return made[int(rng.integers(len(made)))]()
    except pl.exceptions.PolarsError:  # was changed into something else already
        return values


def parquet_mutant(frame: pl.DataFrame, rng: np.random.Generator) -> tuple[str, bytes]:
    """Parquet with columns of other types."""
    label, frame = _rows(frame, rng)
    for _ in range(int(rng.integers(0, 3))):
        name = str(rng.choice([*frame.columns, "another"]))
        values = frame[name] if name in frame.columns else frame[frame.columns[0]]
        odd = _odd_column(values, rng)
        frame = frame.with_columns(odd.alias(name))
        label += f", {name} as {odd.dtype}"
    if rng.random() < 0.1:
        frame = frame.rename({frame.columns[0]: str(rng.choice([n for n in NAMES if n not in frame.columns]))})
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression=str(rng.choice(["zstd", "snappy", "uncompressed"])))  # type: ignore[arg-type]
    return label, buffer.getvalue()


def stata_mutant(frame: pl.DataFrame, rng: np.random.Generator) -> tuple[str, bytes]:
    """A Stata file of some version, with labels, dates, long strings and large numbers."""
    label, frame = _rows(frame, rng)
    table = pd.DataFrame({name: frame[name].to_list() for name in frame.columns})
    for _ in range(int(rng.integers(0, 3))):
        name = str(rng.choice([*table.columns, "another"]))
        n, kind = len(table), int(rng.integers(6))
        odd = [
            lambda n=n: pd.Categorical(rng.choice(["b", "a", "10", "é"], n)),
            lambda n=n: pd.Categorical(rng.choice(["no", "yes"], n)),
            lambda n=n: [str(c).replace("\x00", "") for c in rng.choice(CELLS, n)],
            lambda n=n: rng.choice([np.nan, 1e300, -1e300, 0.0, 2.5], n),
            lambda n=n: rng.integers(-5, 100, n).astype("int8"),
            lambda n=n: pd.Categorical(rng.integers(1, 4, n)),
        ][kind]()
        table[name] = odd
        label += f", {name} {kind}"
    version = int(rng.choice([114, 117, 118, 119]))
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            table.to_stata(buffer, write_index=False, version=version)  # type: ignore[call-overload]
        except (UnicodeEncodeError, ValueError, IndexError):  # a version without these letters
            buffer = io.BytesIO()
            numbers = table.select_dtypes("number").assign(row=range(len(table)))
            numbers.to_stata(buffer, write_index=False, version=118)
    return f"{label}, version {version}", buffer.getvalue()


def truncated(data: bytes, rng: np.random.Generator) -> bytes:
    """Cut the end off."""
    return data[: int(rng.integers(len(data) + 1))]


def flipped(data: bytes, rng: np.random.Generator) -> bytes:
    """Flip some bits."""
    made = bytearray(data)
    for _ in range(int(rng.choice([1, 3, 20]))):
        if made:
            made[int(rng.integers(len(made)))] ^= 1 << int(rng.integers(8))
    return bytes(made)


def overwritten(data: bytes, rng: np.random.Generator) -> bytes:
    """Write random bytes over a place, more often near the ends, where headers stand."""
    made, length = bytearray(data), int(rng.integers(1, 9))
    span = max(min(len(made), int(rng.choice([200, len(made) or 1]))), 1)
    start = int(rng.integers(span))
    start = start if rng.random() < 0.5 else max(len(made) - start, 0)
    made[start : start + length] = rng.bytes(length)
    return bytes(made)


def cut_out(data: bytes, rng: np.random.Generator) -> bytes:
    """Lose or double a part."""
    first, last = sorted(rng.integers(0, len(data) + 1, 2).tolist())
    return data[:first] + data[last:] if rng.random() < 0.5 else data[:last] + data[first:]


BYTES = (truncated, flipped, overwritten, cut_out)
WRITERS = {".csv": csv_mutant, ".parquet": parquet_mutant, ".dta": stata_mutant}


def mutants(frame: pl.DataFrame, number: int, seed: int, endings: tuple[str, ...] = tuple(WRITERS)) -> Iterator[Mutant]:
    """Draw mutants; the n-th does not depend on how many are drawn."""
    for at in range(number):
        rng = np.random.default_rng([seed, at])
        ending = endings[at % len(endings)]
        label, data = WRITERS[ending](frame, rng)
        more = rng.random()
        if more < 0.35:
            change = BYTES[rng.integers(len(BYTES))]
            label, data = f"{label}, {change.__name__}", change(data, rng)
        yield Mutant(f"{at}: {ending}: {label}", ending, data)


LONGEST = 2000
"""Characters of a message that can still be read."""


def ends_well(found: Result) -> bool:
    """Whether a command made its table, or said in one message of one line what is wrong and nothing more."""
    message = found.err.strip()
    if any(word in message for word in ("fault of simtrial", "Traceback", "Warning", "panick")):
        return False
    clear = message.startswith("error: ") and len(message.splitlines()) == 1 and len(message) < LONGEST
    return bool(found.out) if found.code == 0 else found.code == 2 and clear and not found.out


def tally(
    files: Iterable[Mutant], folder: Path, command: str, options: Callable[[int], Sequence[object]], first: int = 0
) -> tuple[list[str], dict[int, int]]:
    """Give mutants from number ``first`` on to a command; those that end otherwise than they may, and how many how."""
    wrong, counts = [], {0: 0, 2: 0}
    for at, mutant in enumerate(files):
        if at < first:
            continue
        file = folder / f"data{mutant.ending}"
        file.write_bytes(mutant.data)
        found = simtrial(command, file, *options(at))
        if not ends_well(found):
            wrong.append(f"{mutant.label}, {options(at)}: exit {found.code}: {found.err.strip()[:300]}")
        counts[found.code] = counts.get(found.code, 0) + 1
    return wrong, counts


def agrees(wrong: list[str], counts: dict[int, int], seed: int, least: int) -> None:
    """All ended well, and at least so many each way."""
    print(f"seed {seed}: {counts}")
    assert wrong == [], f"seed {seed}"
    assert min(counts[0], counts[2]) > least
