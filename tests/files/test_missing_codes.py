"""Codes of missing values: a likely one is pointed at, and one that the user names is blank everywhere."""

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from commands import simtrial

from simtrial.files import read_trials as reading
from simtrial.files.read_trials import read_trials
from simtrial.files.trials.column_use import Use
from simtrial.files.trials.missing_codes import likely_codes

METHODS = '[[methods]]\nname = "a"\nkind = "ols"\nadjust = []\n'
BLANK = [3.0, 2.0, 4.0, None, 3.0, 2.0, 4.5, 5.0]


def _frame(code: object) -> pl.DataFrame:
    cells = [code if v is None else v for v in BLANK]
    return pl.DataFrame({"practice": [1, 1, 2, 2, 3, 3, 99, 99], "arm": [0, 0, 1, 1] * 2, "mansa_followup": cells})


def _written(frame: pl.DataFrame, folder: Path, ending: str) -> Path:
    file = folder / f"t{ending}"
    frame.write_parquet(file) if ending == ".parquet" else frame.write_csv(file)
    return file


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
@pytest.mark.parametrize(("stated", "written"), [("-99", -99.0), ("-99.0", -99), ("99", 99.0), ("1e3", 1000.0)])
def test_a_code_that_is_named_is_blank(tmp_path: Path, ending: str, stated: str, written: float) -> None:
    values = [written if v is None else v for v in BLANK]
    frame = _frame(None).with_columns(pl.Series("mansa_followup", values, strict=False))
    file = _written(frame, tmp_path, ending)
    batch = read_trials([file], ["mansa_followup"], {}, use=Use(missing=frozenset({stated})))[1]
    np.testing.assert_array_equal(batch.columns["mansa_followup"].values, np.array(BLANK, dtype=float))
    assert batch.index.participant_practice.max() == 3, "a practice may bear the number of a code"


def test_a_word_may_be_a_code(tmp_path: Path) -> None:
    frame = _frame(None).with_columns(pl.Series("mansa_followup", ["refused" if v is None else str(v) for v in BLANK]))
    batch = read_trials(
        [_written(frame, tmp_path, ".csv")], ["mansa_followup"], {}, use=Use(missing=frozenset({"refused"}))
    )[1]
    np.testing.assert_array_equal(batch.columns["mansa_followup"].values, np.array(BLANK, dtype=float))


@pytest.mark.parametrize("code", [-9.0, -8.0, -99.0, -999.0, -77.0, 99.0, 888.0, 9999.0])
def test_a_likely_code_is_pointed_at(tmp_path: Path, code: float) -> None:
    batch = read_trials([_written(_frame(code), tmp_path, ".csv")], ["mansa_followup"], {})[1]
    (said,) = likely_codes(batch)
    assert said == f"mansa_followup is {code:g} in 1 row, 2 to 5 in others; if it means missing: --missing {code:g}"


@pytest.mark.parametrize("value", [7.0, -3.0, 0.0, 12.5, -98.0])
def test_other_values_are_not(tmp_path: Path, value: float) -> None:
    batch = read_trials([_written(_frame(value), tmp_path, ".csv")], ["mansa_followup"], {})[1]
    assert likely_codes(batch) == []


def test_a_usual_code_among_values_like_it_is_a_value(tmp_path: Path) -> None:
    frame = _frame(99.0).with_columns(pl.Series("mansa_followup", [60.0, 120.0, 80.0, 99.0, 70.0, 101.0, 98.0, 77.0]))
    batch = read_trials([_written(frame, tmp_path, ".csv")], ["mansa_followup"], {})[1]
    assert likely_codes(batch) == []


def test_analyse_warns_and_obeys(tmp_path: Path) -> None:
    methods = tmp_path / "m.toml"
    methods.write_text(METHODS)
    (tmp_path / "blank").mkdir()
    coded = _written(_frame(-99.0), tmp_path, ".csv")
    blank = _written(_frame(None), tmp_path / "blank", ".csv")
    warned = simtrial("analyse", coded, "--methods", methods, "--format", "csv")
    assert warned.code == 0
    assert "mansa_followup is -99 in 1 row, 2 to 5 in others; if it means missing: --missing -99" in warned.err
    obeyed = simtrial("analyse", coded, "--methods", methods, "--format", "csv", "--missing", "-99")
    assert obeyed.out == simtrial("analyse", blank, "--methods", methods, "--format", "csv").out != warned.out
    assert obeyed.err == ""


def test_a_code_that_occurs_nowhere_is_pointed_at(tmp_path: Path) -> None:
    """Files are looked at together; practices and arms do not count, for they are left as they are."""
    (tmp_path / "m.toml").write_text(METHODS)
    _written(_frame(-99.0), tmp_path, ".csv"), _written(_frame(-77.0), tmp_path, ".parquet")
    command = ("analyse", tmp_path / "t.csv", "--methods", tmp_path / "m.toml")
    found = simtrial(*command, "--missing", "-99.0", "--missing", "99", "--missing", "refused")
    assert found.code == 0
    assert [line for line in found.err.splitlines() if "--missing" in line] == [
        "warning: --missing 99: no cell of mansa_followup is 99",
        "warning: --missing refused: no cell of mansa_followup is refused",
    ]
    both = ("--missing", "-99", "--missing", "-77")
    frame = _frame(-77.0).with_columns(pl.lit("b").alias("trial_id"))
    frame.write_csv(tmp_path / "b.csv")
    assert simtrial("analyse", tmp_path / "b.csv", *command[1:], *both).err == ""


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".dta"])
def test_every_file_is_opened_once(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.toml").write_text(METHODS)
    frame = _frame(3.5)
    file = tmp_path / f"t{ending}"
    if ending == ".dta":
        pd.DataFrame(frame.to_dict(as_series=False)).to_stata(file)
    else:
        _written(frame, tmp_path, ending)
    opened, held = list[Path](), reading.open_file
    monkeypatch.setattr(reading, "open_file", lambda file: opened.append(file) or held(file))
    assert simtrial("analyse", file, "--methods", tmp_path / "m.toml").code == 0
    assert opened == [file]
