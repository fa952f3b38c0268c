"""Stata files: only needed columns, codes as numbers, labels as categories in the order of their codes."""

import struct
from pathlib import Path

import numpy as np
import own_data
import pandas as pd
import polars as pl
import pytest
from own_data import CASES, analysed, refused

from simtrial.files.formats import open_file


def table() -> pd.DataFrame:
    """The trial as pandas has it."""
    return pd.DataFrame({name: own_data.frame()[name].to_list() for name in own_data.frame().columns})


def stata(
    folder: Path, data: pd.DataFrame, version: int = 118, labels: dict[str, dict[int, str]] | None = None
) -> Path:
    file = folder / "data.dta"
    data.to_stata(file, write_index=False, version=version, value_labels=labels)
    return file


def csv(folder: Path, frame: pl.DataFrame) -> Path:
    file = folder / "data.csv"
    frame.write_csv(file)
    return file


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return analysed(csv(tmp_path_factory.mktemp("plain"), own_data.frame()))


def older(data: bytes, version: int) -> bytes:
    """A file of version 114 as 113, whose formats have 12 bytes, or as 115, which differs in its first byte."""
    if version == 115:
        return bytes([115]) + data[1:]
    columns = struct.unpack("<h", data[4:6])[0]
    start = 109 + columns + 33 * columns + 2 * (columns + 1)
    formats = [data[start + 49 * at : start + 49 * at + 12] for at in range(columns)]
    return bytes([113]) + data[1:start] + b"".join(formats) + data[start + 49 * columns :]


@pytest.mark.parametrize("version", [113, 114, 115, 117, 118, 119])
def test_every_version_is_the_same_trial(tmp_path: Path, plain, version: int) -> None:
    file = stata(tmp_path, table(), 114 if version < 117 else version)
    if version in (113, 115):
        file.write_bytes(older(file.read_bytes(), version))
    assert analysed(file) == plain


@pytest.mark.parametrize("name", ["numeric_label_text", "unrelated_duplicate_label"])
def test_cases_of_public_reports(tmp_path: Path, plain, name: str) -> None:
    file = tmp_path / f"{name}.dta"
    file.write_bytes((CASES / f"{name}.dta").read_bytes())
    assert analysed(file) == plain


def test_labels_that_are_numbers_do_not_replace_codes(tmp_path: Path) -> None:
    """kids is 1, 2, 3, 4 under the labels 0, 1, 2, 5: the coefficient is per code, as in Stata's regress and R's lm."""
    file = tmp_path / "data.dta"
    file.write_bytes((CASES / "numeric_label_text.dta").read_bytes())
    codes = pd.read_stata(file, convert_categoricals=False)
    assert sorted(codes["kids"].unique()) == [1, 2, 3, 4]
    found = analysed(file, ("y_baseline", "kids"))
    frame = own_data.frame().with_columns(kids=pl.Series(codes["kids"].to_list()))
    assert found == analysed(csv(tmp_path, frame), ("y_baseline", "kids"))
    assert [row["term"] for row in found] == ["arm", "intercept", "y_baseline", "kids"]
    chosen = analysed(file, ("y_baseline", "kids"), "--factor", "kids")
    assert [row["term"] for row in chosen][3:] == ["kids=1", "kids=2", "kids=5"]
    assert chosen[0]["extra"]["reference"] == {"kids": "0"}


EDU = {1: "Primary", 2: "Secondary", 3: "Other"}


def test_categories_keep_their_labels_in_the_order_of_their_codes(tmp_path: Path) -> None:
    data = table()
    file = stata(tmp_path, data, labels={"edu": EDU})
    found = analysed(file, ("y_baseline", "edu"))
    assert [row["term"] for row in found] == ["arm", "intercept", "y_baseline", "edu=Secondary", "edu=Other"]
    assert found[0]["extra"]["reference"] == {"edu": "Primary"}
    by_code = analysed(csv(tmp_path, own_data.frame()), ("y_baseline", "edu"), "--factor", "edu")
    assert [row["estimate"] for row in found] == pytest.approx([row["estimate"] for row in by_code], rel=1e-12)
    as_number = analysed(file, ("y_baseline", "edu"), "--number", "edu")
    assert as_number == analysed(csv(tmp_path, own_data.frame()), ("y_baseline", "edu"))


def test_labels_of_some_codes_leave_a_number_a_number(tmp_path: Path) -> None:
    file = stata(tmp_path, table(), labels={"edu": {1: "lowest", 3: "highest"}})
    expected = analysed(csv(tmp_path, own_data.frame()), ("y_baseline", "edu"))
    assert analysed(file, ("y_baseline", "edu")) == expected


def test_a_labelled_outcome_baseline_and_arm_are_numbers(tmp_path: Path) -> None:
    data = table()
    for name in ("y_baseline", "y_followup"):
        data[name] = data[name].round().astype(int)
    words = {n: f"level {n}" for n in range(-5, 20)}
    file = stata(
        tmp_path, data, labels={"y_baseline": words, "y_followup": words, "arm": {0: "control", 1: "new care"}}
    )
    assert analysed(file) == analysed(csv(tmp_path, pl.DataFrame(data.to_dict("list"))))


def test_a_labelled_indicator_is_compared_by_number_or_by_word(tmp_path: Path) -> None:
    data = table()
    data["smoker"] = (data["sex"] == 2).astype(int)
    file = stata(tmp_path, data, labels={"smoker": {0: "no", 1: "yes"}})
    by_number = analysed(file, extra='subset = "smoker == 1"\n')
    assert by_number == analysed(file, extra="subset = \"smoker == 'yes'\"\n")
    assert by_number == analysed(csv(tmp_path, pl.DataFrame(data.to_dict("list"))), extra='subset = "smoker == 1"\n')
    assert by_number[0]["n_used"] == int((data["smoker"] == 1).sum())


def test_a_labelled_category_used_as_a_number_is_decided_by_the_user(tmp_path: Path) -> None:
    file = stata(tmp_path, table(), labels={"edu": EDU})
    said = refused(file, ("y_baseline", "edu"), extra='subset = "edu >= 2"\n')
    assert "--number edu takes its codes, --factor edu its labels" in said
    assert analysed(file, ("y_baseline",), "--number", "edu", extra='subset = "edu >= 2"\n')[0]["n_used"] == int(
        (own_data.frame()["edu"] >= 2).sum()
    )


def test_two_codes_with_one_label_are_refused_where_needed_and_decided_by_the_user(tmp_path: Path) -> None:
    file = tmp_path / "data.dta"
    file.write_bytes((CASES / "unrelated_duplicate_label.dta").read_bytes())
    assert "the label 'Other' stands for two codes; --factor ethnic takes" in refused(file, ("y_baseline", "ethnic"))
    codes = own_data.frame().with_columns(ethnic=pl.Series(pd.read_stata(file, convert_categoricals=False)["ethnic"]))
    for option in ("--factor", "--number"):
        chosen = ("y_baseline", "ethnic"), option, "ethnic"
        assert analysed(file, *chosen) == analysed(csv(tmp_path, codes), *chosen)


def test_two_practices_with_one_label_stay_two(tmp_path: Path, plain) -> None:
    file = stata(tmp_path, table(), labels={"practice": {1: "Health Centre", 12: "Health Centre", 2: "Surgery"}})
    assert analysed(file) == plain


def test_a_labelled_trial_bears_its_label(tmp_path: Path) -> None:
    data = table()
    data["trial_id"] = 5
    file = stata(tmp_path, data, labels={"trial_id": {5: "pilot"}})
    from simtrial.files.read_trials import read_trials

    assert read_trials([file], {"y_followup"}, {})[0] == ["pilot"]


@pytest.mark.parametrize("code", [0, 1, 2, 13, 26])
@pytest.mark.parametrize("kind", ["float64", "int16"])
def test_every_extended_missing_value_is_missing(tmp_path: Path, code: int, kind: str) -> None:
    """. and .a to .z: 2^1023 x (1 + code/4096) as double, 32741 + code as int."""
    data = table()
    data["y_followup"] = (data["y_followup"] * 100).round().astype(kind)
    data.loc[4, "y_followup"] = 12345
    file = stata(tmp_path, data)
    stored = {"float64": struct.pack("<d", 12345.0), "int16": struct.pack("<h", 12345)}[kind]
    missing = {
        "float64": struct.pack("<Q", 0x7FE0000000000000 + (code << 40)),
        "int16": struct.pack("<h", 32741 + code),
    }
    content = file.read_bytes()
    assert content.count(stored) == 1
    file.write_bytes(content.replace(stored, missing[kind]))
    without = pl.DataFrame(data.to_dict("list")).with_columns(
        pl.when(pl.int_range(pl.len()) == 4).then(None).otherwise(pl.col("y_followup")).alias("y_followup")
    )
    found = analysed(file)
    assert found == analysed(csv(tmp_path, without))
    assert found[0]["n_used"] == 95


@pytest.mark.parametrize("version", [114, 117, 118])
def test_letters_beyond_ascii_and_long_texts(tmp_path: Path, version: int) -> None:
    data = table()
    data["ort"] = pd.Categorical(np.where(data["practice"] % 3 == 0, "Ærø", "Köln"), categories=["Köln", "Ærø"])
    data["note"] = ["x" * (3000 if version > 114 else 200)] * len(data)
    file = tmp_path / "data.dta"
    long = ["note"] if version > 114 else None
    data.to_stata(file, write_index=False, version=version, convert_strl=long)
    found = analysed(file, ("y_baseline", "ort"))
    assert found[3]["term"] == "ort=Ærø"
    assert open_file(file).read(["note"]).frame["note"][0] == data["note"][0]


def test_a_long_text_can_be_a_category(tmp_path: Path) -> None:
    data = table()
    data["ort"] = np.where(data["practice"] % 3 == 0, "B" * 2100, "A" * 2100)
    data.to_stata(tmp_path / "data.dta", write_index=False, version=118, convert_strl=["ort"])
    assert analysed(tmp_path / "data.dta", ("ort",))[2]["term"] == "ort=" + "B" * 2100


def test_numbers_are_those_that_are_stored(tmp_path: Path) -> None:
    """A float of Stata's is what it is, 4.38 to seven digits: as R and Stata read it."""
    data = table()
    data["y_followup"] = data["y_followup"].astype("float32")
    file = stata(tmp_path, data)
    values = open_file(file).read(["y_followup"]).frame["y_followup"].to_numpy()
    assert values.tolist() == data["y_followup"].astype("float64").tolist()


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    file = stata(tmp_path, table())
    content = file.read_bytes()
    for share in (0.0, 0.1, 0.5, 0.9):
        file.write_bytes(content[: int(share * len(content))])
        assert "cannot be read as a Stata file" in refused(file)
