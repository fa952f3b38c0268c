"""Parquet files: unused columns of any type, used ones of every type that can be a number or a word."""

import io
import os
from decimal import Decimal
from pathlib import Path

import own_data
import polars as pl
import pytest
from commands import program
from own_data import CASES, analysed, refused
from tomls import written

from simtrial.files.formats.parquet_file import parquet_source
from simtrial.files.formats.parquet_pages import sound


def parquet(folder: Path, frame: pl.DataFrame) -> Path:
    file = folder / "data.parquet"
    frame.write_parquet(file)
    return file


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return analysed(parquet(tmp_path_factory.mktemp("plain"), own_data.frame()))


def test_the_case_of_a_public_report(tmp_path: Path, plain) -> None:
    file = tmp_path / "list_col.parquet"
    file.write_bytes((CASES / "list_col.parquet").read_bytes())
    assert analysed(file) == plain


def column(kind: str) -> pl.Series:
    """96 values of a type."""
    ones = pl.Series([1] * 96)
    return {
        "list": lambda: pl.Series([[1, 2]] * 96),
        "array": lambda: pl.Series([[1, 2]] * 96, dtype=pl.Array(pl.Int64, 2)),
        "struct": lambda: pl.Series([{"a": 1}] * 96),
        "date": lambda: ones.cast(pl.Date),
        "datetime": lambda: ones.cast(pl.Datetime("us", "UTC")),
        "duration": lambda: ones.cast(pl.Duration("us")),
        "time": lambda: ones.cast(pl.Time),
        "binary": lambda: pl.Series([b"\x00"] * 96),
        "null": lambda: pl.Series([None] * 96, dtype=pl.Null),
        "decimal": lambda: ones.cast(pl.Decimal(20, 2)),
        "categorical": lambda: pl.Series(["a"] * 96, dtype=pl.Categorical),
        "enum": lambda: pl.Series(["a"] * 96, dtype=pl.Enum(["b", "a"])),
        "uint64": lambda: pl.Series([2**64 - 1] * 96, dtype=pl.UInt64),
        "int128": lambda: pl.Series([2**100] * 96, dtype=pl.Int128),
    }[kind]()


KINDS = ["list", "array", "struct", "date", "datetime", "duration", "time", "binary", "null", "decimal", "categorical",
         "enum", "uint64", "int128"]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_an_unused_column_may_be_of_any_type(tmp_path: Path, plain, kind: str) -> None:
    assert analysed(parquet(tmp_path, own_data.frame().with_columns(column(kind).alias("more")))) == plain


@pytest.mark.parametrize("kind", KINDS[:8])
@pytest.mark.parametrize("name", ["practice", "y_followup", "more"])
def test_a_used_column_of_no_number_nor_word_is_refused(tmp_path: Path, kind: str, name: str) -> None:
    file = parquet(tmp_path, own_data.frame().with_columns(column(kind).alias(name)))
    said = refused(file, ("y_baseline", "more") if name == "more" else ("y_baseline",))
    assert f"column '{name}' holds values of type" in said
    assert "numbers or words are needed" in said


NUMBERS = {
    "decimal": lambda c: c.cast(pl.Decimal(10, 2)),
    "text": lambda c: c.cast(pl.String),
    "float with NaN for nothing": lambda c: c,
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_outcomes_of_other_types_are_read_rightly(tmp_path: Path, plain, kind: str) -> None:
    frame = own_data.frame().with_columns(NUMBERS[kind](pl.col("y_followup", "y_baseline")))
    assert frame["y_followup"].dtype == {"decimal": pl.Decimal(10, 2), "text": pl.String}.get(kind, pl.Float64)
    assert analysed(parquet(tmp_path, frame)) == plain
    if kind == "decimal":
        assert frame["y_followup"][0] == Decimal("3.48")


@pytest.mark.parametrize(
    "dtype", [pl.Int8, pl.UInt16, pl.Int64, pl.Float32, pl.Float64, pl.Decimal(5, 1), pl.String, pl.Boolean]
)
def test_an_arm_of_any_type(tmp_path: Path, plain, dtype) -> None:
    assert analysed(parquet(tmp_path, own_data.frame().with_columns(pl.col("arm").cast(dtype)))) == plain


@pytest.mark.parametrize(
    "dtype", [pl.Int8, pl.UInt64, pl.Float32, pl.Float64, pl.Decimal(5, 1), pl.String, pl.Categorical]
)
def test_practices_of_any_type(tmp_path: Path, plain, dtype) -> None:
    practice = pl.col("practice")
    practice = practice.cast(pl.String).cast(dtype) if dtype == pl.Categorical else practice.cast(dtype)
    assert analysed(parquet(tmp_path, own_data.frame().with_columns(practice))) == plain


def test_long_whole_numbers_stay_apart(tmp_path: Path, plain) -> None:
    """2^60 + 1 and 2^60 + 2 are one floating-point number and two practices."""
    frame = own_data.frame().with_columns(practice=pl.col("practice").cast(pl.Int64) + 2**60)
    assert analysed(parquet(tmp_path, frame)) == plain
    frame.write_csv(tmp_path / "data.csv")
    assert analysed(tmp_path / "data.csv") == plain


def test_nan_null_and_a_column_of_nothing_are_missing(tmp_path: Path) -> None:
    frame = own_data.frame()
    first, second = frame.with_row_index("n"), frame.with_row_index("n")
    first = first.with_columns(y_followup=pl.when(pl.col("n") == 3).then(None).otherwise(pl.col("y_followup")))
    second = second.with_columns(
        y_followup=pl.when(pl.col("n") == 3).then(float("nan")).otherwise(pl.col("y_followup"))
    )
    assert analysed(parquet(tmp_path, first)) == analysed(parquet(tmp_path, second))
    nothing = analysed(parquet(tmp_path, frame.with_columns(y_followup=pl.lit(None))))
    assert (nothing[0]["status"], nothing[0]["flags"]) == ("failed", "too_few_clusters;no_data")


def test_an_enumeration_keeps_its_order_and_a_categorical_is_sorted(tmp_path: Path) -> None:
    words = pl.col("edu").replace_strict({1: "low", 2: "middle", 3: "high"}, return_dtype=pl.String)
    frame = own_data.frame()
    ordered = frame.with_columns(edu=words.cast(pl.Enum(["low", "middle", "high"])))
    found = analysed(parquet(tmp_path, ordered), ("edu",))
    assert [row["term"] for row in found][2:] == ["edu=middle", "edu=high"]
    assert found[0]["extra"]["reference"] == {"edu": "low"}
    found = analysed(parquet(tmp_path, frame.with_columns(edu=words.cast(pl.Categorical))), ("edu",))
    assert [row["term"] for row in found][2:] == ["edu=low", "edu=middle"]


def test_numbers_of_the_data_that_are_infinite_are_refused(tmp_path: Path) -> None:
    frame = own_data.frame().with_row_index("n")
    frame = frame.with_columns(y_baseline=pl.when(pl.col("n") == 7).then(float("inf")).otherwise(pl.col("y_baseline")))
    assert "data.parquet: row 8: column 'y_baseline' must hold numbers" in refused(parquet(tmp_path, frame))


def test_a_panic_of_the_reader_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A panic is an exception beside `Exception`, and writes to stderr by itself."""
    file = parquet(tmp_path, own_data.frame())

    def panics(*_: object, **__: object) -> pl.DataFrame:
        os.write(2, b"thread 'polars-0' panicked at parquet.rs: index out of bounds\n")
        raise pl.exceptions.PanicException("index out of bounds: the len is 3 but the index is 7")

    assert not issubclass(pl.exceptions.PanicException, Exception)
    monkeypatch.setattr(pl, "read_parquet", panics)
    said = refused(file)
    assert said == f"error: {file}: cannot be read as Parquet (index out of bounds: the len is 3 but the index is 7)"
    assert "panicked" not in capfd.readouterr().err


def test_an_interruption_stays_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from simtrial.files.read_trials import read_trials

    def interrupted(*_: object, **__: object) -> pl.DataFrame:
        raise KeyboardInterrupt

    file = parquet(tmp_path, own_data.frame())
    monkeypatch.setattr(pl, "read_parquet", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read_trials([file], {"y_followup"}, {})


def with_endless_page(folder: Path) -> Path:
    """A file with a page of 160 values that claims to hold -161: in 64 bits without a sign, 2^64 - 161."""
    blank = [None if row % 2 else 0.5 for row in range(160)]
    file = folder / "endless.parquet"
    columns = {"method": ["A"] * 160, "est": [0.1] * 160, "practice": [*range(8)] * 20, "arm": [0, 1] * 80, "se": blank}
    pl.DataFrame(columns).write_parquet(file, compression="uncompressed", statistics=False)
    data = file.read_bytes()
    levels = bytes([20 << 1 | 1]) + b"\x55" * 20  # a run of 20 groups of 8 bits
    assert data.count(levels) == 1
    at = data[: data.index(levels)].rindex(b"\x15\xc0\x02")  # the number of values, as a zigzag integer
    file.write_bytes(data[: at + 1] + b"\xc1" + data[at + 2 :])
    return file


@pytest.mark.parametrize("command", ["summarise", "analyse"])
def test_a_page_that_ends_the_reader_is_refused_in_one_message(tmp_path: Path, command: str) -> None:
    file = with_endless_page(tmp_path)
    methods = written(tmp_path, '[[methods]]\nname = "a"\nkind = "ols"\nresponse = "y"\nadjust = []\n', "methods.toml")
    chosen = ["--methods", methods, "--map", "y_followup=se"] if command == "analyse" else []
    found = program(command, file, *chosen)
    assert found.code == 2
    assert found.err == f"error: {file}: cannot be read as Parquet (a damaged page ends the reader)\n"
    assert not found.out


def test_a_file_whose_columns_are_sound_needs_no_other(tmp_path: Path) -> None:
    """The damaged column is not read."""
    content = parquet_source(with_endless_page(tmp_path)).read(["method", "est"])
    assert content.frame.height == 160


@pytest.mark.parametrize("compression", ["zstd", "snappy", "uncompressed", "lz4", "gzip", "brotli"])
@pytest.mark.parametrize("page", [None, 64])
@pytest.mark.parametrize("group", [None, 7])
def test_pages_of_sound_files_are_what_the_footer_says(compression: str, page: int | None, group: int | None) -> None:
    every = own_data.frame().with_columns(column(kind).alias(kind) for kind in KINDS)
    buffer = io.BytesIO()
    every.write_parquet(buffer, compression=compression, data_page_size=page, row_group_size=group)
    assert sound(buffer.getvalue())


def test_no_bytes_are_taken_for_sound_pages_or_read_for_ever(tmp_path: Path) -> None:
    whole = parquet(tmp_path, own_data.frame()).read_bytes()
    assert not any(sound(whole[:end]) for end in range(0, len(whole), 7))
    assert not sound(b"")
    footer = b"\x09\xf7" + b"\xff" * 8 + b"\x7f"  # a list of 2^63 numbers of 8 bytes
    assert not sound(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")


def test_a_file_is_read_where_no_other_process_can_be_started(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "none"))
    content = parquet_source(with_endless_page(tmp_path)).read(["method", "est"])
    assert content.frame.height == 160
