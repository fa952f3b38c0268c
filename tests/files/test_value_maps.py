"""`--map "arm=group: Control=0, Intervention=1"`: the grammar, every cell mapped or refused; outcomes of any name."""

from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from commands import simtrial
from own_data import analysed, frame, refused

from simtrial.errors import DataError
from simtrial.files.trials.value_maps import Mapped, mapped


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("arm=group", Mapped("arm", "group")),
        ("arm=group: Control=0, Intervention=1", Mapped("arm", "group", {"Control": "0", "Intervention": "1"})),
        ("arm=group:C=0,I=1", Mapped("arm", "group", {"C": "0", "I": "1"})),
        ('arm="my, group": "a=b"=0, "say ""x"""=1', Mapped("arm", "my, group", {"a=b": "0", 'say "x"': "1"})),
        ("edu=e: none=, GCSE=1", Mapped("edu", "e", {"none": "", "GCSE": "1"})),
        ("arm=time: hh", Mapped("arm", "time: hh")),
    ],
)
def test_the_grammar(text: str, found: Mapped) -> None:
    assert mapped(text, {"time: hh"}) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arm", "--map takes name=yours"),
        ("arm=group: Control", "pairs THEIRS=OURS are wanted"),
        ("arm=group: Control=0=1", "pairs THEIRS=OURS are wanted"),
        ("arm=group: Control=0,", "pairs THEIRS=OURS are wanted"),
        ("arm=group:", "pairs THEIRS=OURS are wanted"),
        ('arm=group: "Control=0', "quotes that do not match"),
        ("arm=group: C=0, C=1", "the value 'C' is mapped twice"),
        ("arm=group: =0", "blank cells are missing and cannot be mapped"),
    ],
)
def test_mistakes_in_it(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        mapped(text, ())


def words() -> pl.DataFrame:
    """The trial with words for arms, in a column of another name."""
    arm = pl.col("arm").cast(pl.Int64).replace_strict({0: "Control", 1: "Treated"})
    return frame().with_columns(arm.alias("group")).drop("arm")


MAP = ("--map", "arm=group: Control=0, Treated=1")


def test_mapped_words_are_the_numbers(tmp_path: Path) -> None:
    plain, own = tmp_path / "plain.csv", tmp_path / "own.csv"
    frame().write_csv(plain)
    words().write_csv(own)
    assert analysed(own, ("y_baseline",), *MAP) == analysed(plain)


def test_numbers_in_any_spelling_and_blanks(tmp_path: Path) -> None:
    file, plain = tmp_path / "a.csv", tmp_path / "b.csv"
    one = frame().with_columns((pl.col("arm").cast(pl.Float64) + 1).alias("arm"))
    one.write_csv(file)
    frame().write_csv(plain)
    assert analysed(file, ("y_baseline",), "--map", "arm=arm: 1=0, 2.00=1") == analysed(plain)


def test_labels_of_stata_are_mapped_by_their_words(tmp_path: Path) -> None:
    file, plain = tmp_path / "a.dta", tmp_path / "b.csv"
    table = pd.DataFrame(words().to_dict(as_series=False))
    table["group"] = table["group"].astype("category")
    table.to_stata(file, write_index=False)
    frame().write_csv(plain)
    found, known = analysed(file, ("y_baseline",), *MAP), analysed(plain)
    assert [row["estimate"] for row in found] == pytest.approx([row["estimate"] for row in known])


def test_a_value_that_is_not_mapped_names_its_place_and_the_nearest(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    cells = words().with_columns(
        pl.when(pl.int_range(pl.len()) == 3).then(pl.lit("Contrl")).otherwise(pl.col("group")).alias("group")
    )
    cells.write_csv(file)
    message = refused(file, ("y_baseline",), *MAP)
    assert f"{file}:5: column 'group' (arm) is 'Contrl', which --map does not map" in message
    assert "(mapped: 'Control', 'Treated'); is it 'Control'?" in message


def test_a_column_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    words().write_csv(file)
    message = refused(file, ("y_baseline",), "--map", "arm=grup: Control=0, Treated=1")
    assert "no column 'grup' (did you mean 'group'?)" in message


def test_a_mapped_value_that_occurs_nowhere_is_warned_of(tmp_path: Path) -> None:
    file, methods = tmp_path / "a.csv", tmp_path / "m.toml"
    words().write_csv(file)
    methods.write_text('[[methods]]\nname = "m"\nkind = "lmm"\nresponse = "y"\nadjust = []\n')
    found = simtrial("analyse", file, "--methods", methods, "--map", "arm=group: Control=0, Treated=1, Placebo=0")
    assert found.code == 0
    assert "warning: --map arm=group: no cell is 'Placebo'" in found.err


def test_a_name_mapped_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    words().write_csv(file)
    assert "--map arm=...: given twice" in refused(file, ("y_baseline",), *MAP, "--map", "arm=y_baseline")


def test_words_for_arms_without_a_map_are_refused_with_the_way_out(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    words().rename({"group": "arm"}).write_csv(file)
    assert "--map 'arm=COLUMN: Control=0, Intervention=1' turns words into numbers" in refused(file)


def test_words_in_place_of_numbers_are_refused_with_the_map_before_the_loss(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    names = {"y_followup": pl.Series(["yes", "no"] * (len(frame()) // 2) + ["no"] * (len(frame()) % 2))}
    frame().with_columns(**names).write_csv(file)
    told = refused(file)
    assert "--map 'y_followup=COLUMN: yes=0, OTHER=1' turns words into numbers; --missing yes would take" in told


def test_any_outcome_with_columns_of_any_name(tmp_path: Path) -> None:
    """An outcome called qol, whose columns are called something else, analysed as any other."""
    file, plain, methods = tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "m.toml"
    frame().rename({"y_followup": "EQ5D month 12", "y_baseline": "EQ5D month 0", "practice": "GP"}).write_csv(file)
    frame().write_csv(plain)
    methods.write_text('[[methods]]\nname = "m"\nkind = "lmm"\nresponse = "qol"\n')
    maps = ("--map", "qol_followup=EQ5D month 12", "--map", "qol_baseline=EQ5D month 0", "--map", "practice=GP")
    adjust = 'adjust = ["qol_baseline"]\n'
    methods.write_text(methods.read_text() + adjust)
    found = simtrial("analyse", file, "--methods", methods, "--format", "csv", *maps)
    assert found.code == 0, found.err
    known = tmp_path / "known.toml"
    known.write_text('[[methods]]\nname = "m"\nkind = "lmm"\nresponse = "y"\nadjust = ["y_baseline"]\n')
    other = simtrial("analyse", plain, "--methods", known, "--format", "csv")
    assert found.out.split(",", 20)[15:] == other.out.split(",", 20)[15:]


def test_without_response_the_only_mapped_outcome_is_taken(tmp_path: Path) -> None:
    file, methods = tmp_path / "a.csv", tmp_path / "m.toml"
    frame().select("practice", "arm", pl.col("y_followup").alias("score")).write_csv(file)
    methods.write_text('[[methods]]\nname = "m"\nkind = "lmm"\nadjust = []\n')
    found = simtrial("analyse", file, "--methods", methods, "--map", "qol_followup=score")
    assert found.code == 0, found.err
