"""Categories of people's own data: their order, the reference, and where it is printed."""

import json
import subprocess
from pathlib import Path

import own_data
import polars as pl
import pytest
from commands import simtrial
from own_data import METHODS, analysed, refused

from simtrial.estimators.lmm import LinearMixedModel
from simtrial.files.formats.cells import as_numbers, as_text, in_order, merged
from simtrial.files.read_trials import read_trials
from simtrial.files.trials.column_use import Use, use_of

ADJUST = ("y_baseline", "group")


def csv(folder: Path, labels: list[object], name: str = "data.csv") -> Path:
    """The trial with a column group that goes through the labels, practice by practice."""
    frame = own_data.frame()
    group = [labels[p // 2 % len(labels)] for p in frame["practice"].to_list()]
    file = folder / name
    frame.with_columns(pl.Series("group", group, strict=False)).write_csv(file)
    return file


def terms(rows: list[dict[str, object]]) -> list[object]:
    return [row["term"] for row in rows][3:]


@pytest.mark.parametrize(
    ("labels", "ordered"),
    [
        (["10", "2", "1"], ["1", "2", "10"]),
        (["10", "9.5", "-1"], ["-1", "9.5", "10"]),
        (["b", "A", "C"], ["A", "b", "C"]),
        (["x", "10", "2"], ["2", "10", "x"]),
        (["é", "z", "a"], ["a", "z", "é"]),
        (["a", "A", "B"], ["A", "a", "B"]),
    ],
)
def test_order_of_categories(labels: list[str], ordered: list[str]) -> None:
    assert in_order(labels) == in_order(labels[::-1]) == ordered


def test_numbers_taken_as_categories_sort_as_numbers(tmp_path: Path) -> None:
    found = analysed(csv(tmp_path, [10, 2, 1]), ADJUST, "--factor", "group")
    assert terms(found) == ["group=2", "group=10"]
    assert all(row["extra"]["reference"] == {"group": "1"} for row in found)


def test_a_number_written_in_two_ways_is_one_category(tmp_path: Path) -> None:
    assert terms(analysed(csv(tmp_path, ["1", "2.0", "1.0", "2"]), ADJUST, "--factor", "group")) == ["group=2"]
    said = refused(csv(tmp_path, ["x", "01", "1"]), ADJUST, "--factor", "group")
    assert "of 'group' are one number written in two ways" in said


def test_words_sort_whatever_the_order_of_rows(tmp_path: Path) -> None:
    file = csv(tmp_path, ["West", "east", "North"])
    found = analysed(file, ADJUST)
    assert terms(found) == ["group=North", "group=West"]
    pl.read_csv(file).reverse().write_csv(file)
    again = analysed(file, ADJUST)
    assert terms(again) == terms(found)
    for mine, theirs in zip(again, found, strict=True):
        assert abs(mine["estimate"] - theirs["estimate"]) < 1e-10 * theirs["std_error"]


LISTED = '[categories]\ngroup = ["West", "North", "East"]\n'


def test_the_methods_file_orders_categories(tmp_path: Path) -> None:
    found = analysed(csv(tmp_path, ["West", "East", "North"]), ADJUST, extra=LISTED)
    assert terms(found) == ["group=North", "group=East"]
    assert found[0]["extra"]["reference"] == {"group": "West"}
    plain = analysed(csv(tmp_path, ["West", "East", "North"]), ADJUST)
    assert plain[0]["extra"]["reference"] == {"group": "East"}
    assert found[0]["estimate"] == pytest.approx(plain[0]["estimate"], rel=1e-10)


def test_numbers_in_the_methods_file_make_categories(tmp_path: Path) -> None:
    found = analysed(csv(tmp_path, [10, 2, 1]), ADJUST, extra="[categories]\ngroup = [2, 10.0, 1]\n")
    assert terms(found) == ["group=10", "group=1"]


def test_a_listed_category_that_does_not_occur_is_no_column(tmp_path: Path) -> None:
    found = analysed(csv(tmp_path, ["North", "East"]), ADJUST, extra=LISTED)
    assert terms(found) == ["group=East"]
    assert found[0]["flags"] == ""


BAD = {
    '[categories]\ngroup = ["West", "North"]\n': "'East' is none of the categories of 'group' in the methods file",
    '[categories]\ngroup = ["West", "West"]\n': "categories.group: category 'West' is listed twice",
    '[categories]\ngroup = "West"\n': "categories.group: list every category",
    "[categories]\ngroup = []\n": "categories.group: list every category",
    "[categories]\ngroup = [true]\n": "categories.group: list every category",
    '[categories]\ngruop = ["West"]\n': "[categories]: unknown column 'gruop'; did you mean 'group'?",
    '[categories]\narm = ["0", "1"]\n': "[categories]: unknown column 'arm'",
    '[[categories]]\ngroup = ["West"]\n': "categories must be a table",
    '[catgories]\ngroup = ["West"]\n': "unknown table 'catgories'; did you mean 'categories'?",
}


@pytest.mark.parametrize("table", BAD)
def test_a_table_of_categories_that_cannot_be_is_refused(tmp_path: Path, table: str) -> None:
    assert BAD[table] in refused(csv(tmp_path, ["East", "West", "North"]), ADJUST, extra=table)


def test_options_for_columns_that_no_method_reads_are_refused(tmp_path: Path) -> None:
    file = csv(tmp_path, ["East", "West"])
    assert "--factor: unknown column 'gruop'; did you mean 'group'?" in refused(file, ADJUST, "--factor", "gruop")
    assert "--number: unknown column 'edu'" in refused(file, ADJUST, "--number", "edu")
    said = refused(file, ADJUST, "--number", "group", "--factor", "group")
    assert "--number group: the column is also requested as categories" in said


def test_the_reference_is_the_one_of_each_trial(tmp_path: Path) -> None:
    """A trial without the first category is compared with the first it has, whatever trials are analysed beside it."""
    first, second = csv(tmp_path, ["a", "b", "c"], "first.csv"), csv(tmp_path, ["b", "c"], "second.csv")
    found = analysed(first, ADJUST, str(second))
    said = {row["extra"]["reference"]["group"] for row in found[:5]}
    assert said == {"a"}
    blank = [row["term"] for row in found[5:] if row["estimate"] is None]
    assert found[5]["extra"]["reference"] == {"group": "b"}
    assert blank == ["group=b"]
    alone = analysed(second, ADJUST)
    assert alone[0]["extra"]["reference"] == {"group": "b"}
    assert [row["estimate"] for row in found[5:] if row["estimate"]] == [row["estimate"] for row in alone]
    assert found[5]["flags"] == alone[0]["flags"]


def test_the_table_prints_reference_categories(tmp_path: Path) -> None:
    file, methods = csv(tmp_path, ["West", "East"]), tmp_path / "methods.toml"
    methods.write_text(METHODS.format(adjust='"y_baseline", "group"'))
    found = simtrial("analyse", file, "--methods", methods)
    assert "reference categories: group East" in found.out
    methods.write_text(METHODS.format(adjust='"y_baseline"'))
    assert "reference" not in simtrial("analyse", file, "--methods", methods).out


def test_show_prints_reference_categories() -> None:
    assert "Reference categories: region Birmingham; practice_size small" in simtrial("show", "partners").out


@pytest.mark.parametrize("form", ["csv", "parquet", "dta"])
def test_written_trials_are_read_with_the_categories_of_the_scenario(tmp_path: Path, form: str) -> None:
    written = simtrial("generate", "partners", "--replicate", 3, "-o", tmp_path, "--format", form)
    assert written.code == 0
    file = next(tmp_path.glob(f"*.{form}") if form != "csv" else tmp_path.glob("partners*.csv"))
    found = simtrial("analyse", file, "--methods", "partners", "--format", "json")
    assert found.code == 0
    said = [json.loads(row["extra"]) for row in json.loads(found.out)["rows"]]
    assert {"region": "Birmingham", "practice_size": "small"} in [extra.get("reference") for extra in said]
    if form != "csv":  # the file keeps the order by itself
        _, batch = read_trials([file], {"region", "practice_size", "mansa_followup"}, {})
        assert batch.columns["region"].categories == ("Birmingham", "Plymouth", "Cornwall", "Somerset")
        assert batch.columns["practice_size"].categories == ("small", "large")


def test_orders_of_several_files_agree_or_give_way() -> None:
    assert merged([["low", "middle"], ["middle", "high"]]) == ["low", "middle", "high"]
    assert merged([["low", "high"], ["high", "low"]]) is None


def test_no_place_of_a_trial_is_named_in_the_code() -> None:
    root = Path(__file__).parents[2] / "simtrial"
    names = "Somerset|Plymouth|Cornwall|Truro|Exeter"
    lines = subprocess.run(["grep", "-rnE", names, root, "--include=*.py"], capture_output=True, text=True).stdout
    allowed = ("simtrial/generate/",)  # an example in a message of a stage
    assert [line for line in lines.splitlines() if not any(part in line for part in allowed)] == []


def test_cells_as_numbers_and_text() -> None:
    assert as_numbers(pl.Series(["TRUE", None, "false"])).to_list() == [1.0, None, 0.0]
    assert as_numbers(pl.Series(["TRUE", "1"])).to_list() == [None, 1.0]
    assert as_numbers(pl.Series(["1e400", "inf", "nan", "1_0", "0x1", "+5", "5."])).to_list() == [None] * 5 + [5.0, 5.0]
    text = as_text(pl.Series(["7", "7.0", "7.", "1e+05", "1e+99999", "1.50", "1E+15", None, "a.0"]))
    assert text.to_list() == ["7", "7", "7", "100000", "1e+99999", "1.50", "1E+15", None, "a.0"]
    assert as_text(pl.Series([7.0, 1e16, 0.5])).to_list() == ["7", "10000000000000000", "0.5"]


def test_what_methods_want_of_columns() -> None:
    method = LinearMixedModel(
        name="m", response="y", adjust=["mean(age)", "group"], subset="age > 3 and not (edu == 'low' or sex == 1)"
    )
    use = use_of([method], factors=["group"])
    assert use == Use(
        factors=frozenset({"group"}),
        compared_with_number=frozenset({"age", "sex"}),
        compared_with_text=frozenset({"edu"}),
        averaged=frozenset({"age"}),
    )


def test_a_category_that_is_not_there_is_a_mistake_of_the_request_and_no_failed_fit(tmp_path: Path) -> None:
    said = refused(csv(tmp_path, ["East", "West"]), ADJUST, extra="subset = \"group == 'Wset'\"\n")
    assert "unknown category of group 'Wset'; did you mean 'West'?" in said
