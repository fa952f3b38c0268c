"""Reading data sets: what is laid out, and what is said of a file that cannot be a trial."""

import numpy as np
import polars as pl
import pytest
from reference import ORACLE, method
from trials import fit

from simtrial.errors import DataError
from simtrial.files.read_trials import read_trials

NEEDED = ("mansa_baseline", "mansa_followup")
HEAD = "practice,arm,mansa_baseline,mansa_followup\n"
GOOD = HEAD + "p1,1,4,5\np1,1,3.5,\np2,0,3,2\n"


@pytest.fixture
def write(tmp_path):
    """Write a file and return its path."""

    def write(text, name="trial.csv"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        return file

    return write


def values(batch, name):
    return batch.columns[name].values.tolist()


def test_a_file_is_a_trial_named_after_it_with_levels_and_blanks(write):
    ids, batch = read_trials([write(GOOD)], NEEDED, {})
    assert ids == ["trial"]
    assert (batch.index.trials, batch.index.practices, batch.index.participants) == (1, 2, 3)
    assert batch.index.participant_practice.tolist() == [0, 0, 1]
    assert {name: column.level for name, column in batch.columns.items()} == {
        "arm": "practice", "mansa_baseline": "participant", "mansa_followup": "participant",
    }  # fmt: skip
    assert values(batch, "arm") == [1.0, 0.0]
    assert values(batch, "mansa_followup") == pytest.approx([5.0, np.nan, 2.0], nan_ok=True)


@pytest.mark.parametrize("blank", ["", "NA", "NaN", "nan", ".", "  "])
def test_blanks_are_missing_values(write, blank):
    _, batch = read_trials([write(HEAD + f"p1,1,4,{blank}\np1,1,3,2\np2,0,3,2\n")], NEEDED, {})
    assert values(batch, "mansa_followup") == pytest.approx([np.nan, 2.0, 2.0], nan_ok=True)


def test_rows_of_a_practice_are_gathered_in_their_order(write):
    file = write(HEAD + "b,0,1,10\na,1,2,20\nb,0,3,30\na,1,4,40\nc,0,5,50\n")
    _, batch = read_trials([file], NEEDED, {})
    assert batch.index.participant_practice.tolist() == [0, 0, 1, 1, 2]
    assert values(batch, "arm") == [0, 1, 0]
    assert values(batch, "mansa_followup") == [10, 30, 20, 40, 50]


def test_several_trials_in_one_file_are_told_apart_even_where_practices_share_a_name(write):
    file = write("trial_id," + HEAD + "B,p1,1,4,5\nA,p1,0,3,2\nB,p2,0,1,1\nA,p2,1,2,9\nB,p1,1,6,7\n")
    ids, batch = read_trials([file], NEEDED, {})
    assert ids == ["B", "A"]  # in order of first appearance
    assert batch.index.practice_trial.tolist() == [0, 0, 1, 1]
    assert batch.index.participant_practice.tolist() == [0, 0, 1, 2, 3]
    assert values(batch, "mansa_followup") == [5, 7, 1, 2, 9]


def test_several_files_are_one_batch(write):
    files = [write(GOOD, "first.csv"), write(GOOD.replace("\np", "\nq"), "second.csv")]
    ids, batch = read_trials(files, NEEDED, {})
    assert ids == ["first", "second"]
    assert batch.index.practice_trial.tolist() == [0, 0, 1, 1]


def as_parquet(file):
    """Write a CSV file again as Parquet, beside it."""
    pl.read_csv(file).write_parquet(file.with_suffix(".parquet"))
    return file.with_suffix(".parquet")


@pytest.mark.parametrize("case", ["in two folders", "of two kinds", "given twice"])
def test_two_files_of_one_name_are_never_merged_into_one_trial(write, case):
    first = write(GOOD, "north/trial.csv")
    second = {
        "in two folders": lambda: write(GOOD.replace("\np", "\nq"), "south/trial.csv"),
        "of two kinds": lambda: as_parquet(first),
        "given twice": lambda: first,
    }[case]()
    try:
        ids, batch = read_trials([first, second], NEEDED, {})
    except DataError:
        return  # refused
    assert len(set(ids)) == 2
    assert batch.index.practice_trial.tolist() == [0, 0, 1, 1]


def test_a_column_is_renamed(write):
    file = write(GOOD.replace("practice", "gp_id").replace("mansa_followup", "mansa_12m"))
    _, batch = read_trials([file], NEEDED, {"practice": "gp_id", "mansa_followup": "mansa_12m"})
    _, expected = read_trials([write(GOOD, "other.csv")], NEEDED, {})
    assert batch.index.participant_practice.tolist() == expected.index.participant_practice.tolist()
    assert batch.columns["mansa_followup"].values.tobytes() == expected.columns["mansa_followup"].values.tobytes()


def test_a_renamed_column_takes_the_place_of_one_that_has_the_name_already(write):
    file = write("practice,gp_id,arm,mansa_baseline,mansa_followup\nx,p1,1,4,5\ny,p1,1,3,2\nz,p2,0,1,1\n")
    _, batch = read_trials([file], NEEDED, {"practice": "gp_id"})
    assert batch.index.participant_practice.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("labels", "categories"),
    [
        (("Somerset", "Birmingham", "Cornwall"), ("Birmingham", "Cornwall", "Somerset")),
        (("large", "Small", "medium"), ("Small", "medium", "large")),
        (("yes", "no", "yes"), ("no", "yes")),
        (("often", "never", "always"), ("never", "often", "always")),
        (("small", "large", "giant"), ("giant", "large", "small")),
        (("west", "East", "north"), ("East", "north", "west")),
        (("Plymouth", "Birmingham", "Wales"), ("Birmingham", "Plymouth", "Wales")),
    ],
)
def test_the_first_category_is_the_reference(write, labels, categories):
    rows = "".join(f"p{at},{at % 2},{label},{at}\n" for at, label in enumerate(labels))
    _, batch = read_trials([write("practice,arm,region,mansa_followup\n" + rows)], ("region", "mansa_followup"), {})
    region = batch.columns["region"]
    assert region.categories == categories
    assert [categories[code] for code in region.values] == list(labels)


def test_a_missing_category_is_no_category(write):
    file = write("practice,arm,region,mansa_followup\np1,1,east,1\np2,0,,2\np3,0,west,3\n")
    _, batch = read_trials([file], ("region", "mansa_followup"), {})
    assert values(batch, "region") == [0, -1, 1]


def test_numbers_can_be_taken_as_categories(write):
    file = write("practice,arm,region,mansa_followup\np1,1,3,1\np2,0,1,2\np3,0,2,3\n")
    _, batch = read_trials([file], ("region", "mansa_followup"), {}, factors=("region",))
    assert batch.columns["region"].categories == ("1", "2", "3")
    assert values(batch, "region") == [2, 0, 1]


REFUSED = {
    "missing arm column": (GOOD.replace("arm", "group"), "no column 'arm'; available columns: practice, group,"),
    "misspelt columns": (
        GOOD.replace("arm", "Arm").replace("mansa_baseline", "mansa_base"),
        "no column 'arm' (did you mean 'Arm'?); no column 'mansa_baseline' (did you mean 'mansa_base'?);",
    ),
    "text among numbers": (
        GOOD + "p2,0,three,2\n",
        ":5: column 'mansa_baseline' must hold numbers (blank or NA if missing); 'three' given",
    ),
    "an outcome of text": (HEAD + "p1,1,4,good\np2,0,3,bad\n", ":2: column 'mansa_followup' must hold numbers"),
    "infinity": (GOOD + "p2,0,inf,2\n", ":5: column 'mansa_baseline' must hold numbers"),
    "practice in both arms": (GOOD + "p1,0,3,2\n", "practice 'p1' has participants in both arms"),
    "arm coded 1 and 2": (HEAD + "p1,1,4,5\np2,2,3,2\n", ":3: arm must be 0 (control) or 1 (intervention); '2' given"),
    "arm in words": (HEAD + "p1,treated,4,5\np2,control,3,2\n", ":2: column 'arm' must hold numbers"),
    "blank arm": (GOOD + "p3,,3,2\n", ":5: arm must be 0 (control) or 1 (intervention); a blank given"),
    "blank practice": (GOOD + ",0,3,2\n", ":5: practice is blank"),
    "blank trial": ("trial_id," + HEAD + "A,p1,1,4,5\n,p2,0,3,2\n", ":3: trial_id is blank"),
    "empty file": ("", ": the file is empty; expected a header line, and rows below it"),
    "header only": (HEAD, ": no rows"),
    "a row too long": (GOOD + "p2,0,3,2,9\n", ": cannot be read as CSV"),
    "blanks between cells": (GOOD.replace(",", " "), "no column 'practice'; no column 'arm'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_cannot_be_a_trial_is_refused_with_file_place_and_remedy(write, case):
    text, told = REFUSED[case]
    file = write(text)
    with pytest.raises(DataError) as caught:
        read_trials([file], NEEDED, {})
    assert str(caught.value).startswith(str(file))
    assert told in str(caught.value)
    assert caught.value.exit_code == 2


def test_the_line_told_is_that_of_the_file_however_rows_are_sorted(write):
    file = write("trial_id," + HEAD + "A,p1,1,4,5\nB,p1,1,4,x\nA,p2,0,4,5\n")
    with pytest.raises(DataError, match=r"trial\.csv:3: column 'mansa_followup'"):
        read_trials([file], NEEDED, {})


def test_the_file_told_is_the_one_at_fault(write):
    files = [write(GOOD, "good.csv"), write(HEAD + "p1,1,4,5\np2,3,3,2\n", "bad.csv")]
    with pytest.raises(DataError, match=r"bad\.csv:3: arm must be 0"):
        read_trials(files, NEEDED, {})


def test_a_file_that_is_not_there_or_of_another_kind_is_refused(write, tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_trials([tmp_path / "absent.csv"], NEEDED, {})
    with pytest.raises(
        DataError,
        match=r"unknown kind of file '\.numbers' \(allowed: \.csv, \.parquet, \.dta, \.xlsx\); save the sheet",
    ):
        read_trials([write(GOOD, "trial.numbers")], NEEDED, {})
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_trials([write(GOOD, "trial.parquet")], NEEDED, {})
    with pytest.raises(DataError, match="cannot be read as a Stata file"):
        read_trials([write(GOOD, "trial.dta")], NEEDED, {})


def test_a_column_to_rename_that_is_not_there_is_refused(write):
    with pytest.raises(DataError, match=r"--map practice=gpid: no column 'gpid' \(did you mean 'gp_id'\?\)"):
        read_trials([write(GOOD.replace("practice", "gp_id"))], NEEDED, {"practice": "gpid"})


@pytest.mark.parametrize("kind", ["parquet", "dta"])
def test_parquet_and_stata_files_hold_the_same_trial_as_csv(tmp_path, kind):
    source = ORACLE / "data" / "D10_missing_baseline.csv"
    frame = pl.read_csv(source, null_values=[""])
    file = tmp_path / f"trial.{kind}"
    if kind == "parquet":
        frame.write_parquet(file)
    else:
        pandas = pytest.importorskip("pandas")
        pandas.read_csv(source).to_stata(file, write_index=False)
    full = method("lmm", adjust=["mansa_baseline", "region", "practice_size"])
    (ids, expected), (same_ids, batch) = (read_trials([f], full.reads(), {}) for f in (source, file))
    assert same_ids == ids
    assert batch.columns.keys() == expected.columns.keys()
    for name, column in expected.columns.items():
        assert batch.columns[name].values.tobytes() == column.values.tobytes(), name
        assert (batch.columns[name].level, batch.columns[name].categories) == (column.level, column.categories)
    assert fit(batch, full).estimate.tobytes() == fit(expected, full).estimate.tobytes()


def test_a_file_with_semicolons_is_read_like_one_with_commas(write):
    ids, batch = read_trials([write(GOOD.replace(",", ";"), "one.csv")], NEEDED, {})
    _, expected = read_trials([write(GOOD, "other.csv")], NEEDED, {})
    assert ids == ["one"]
    for name, column in expected.columns.items():
        assert batch.columns[name].values.tobytes() == column.values.tobytes()
