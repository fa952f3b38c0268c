"""Flags and counts of a plain function are about what it was given and uses."""

import io
from pathlib import Path

import polars as pl
import pytest
from commands import program

PLUGIN = """
import simtrial

@simtrial.plain_method("alone", reads=["sex"])
def alone(trial):
    return {"estimate": 0.5, "std_error": 1.0}

@simtrial.plain_method("counted")
def counted(trial):
    return {"estimate": float(trial.height), "std_error": 1.0}

@simtrial.plain_method("adjusted")
def adjusted(trial, adjust=()):
    return {"estimate": 0.5, "std_error": 1.0}
"""
AMONG = """
[[methods]]
name = "counted"
kind = "counted"
response = "y"
adjust = []
subset = "sex == 1"

[[methods]]
name = "kept"
kind = "per-protocol"
response = "y"
adjust = []
keep = "twin == 1"
analysis = { kind = "counted" }
"""
METHODS = AMONG + "".join(
    f'[[methods]]\nname = "{kind}"\nkind = "{kind}"\nresponse = "y"\nadjust = ["sex", "twin"]\n\n'
    for kind in ("alone", "adjusted", "ols")
)


@pytest.fixture
def rows(tmp_path: Path) -> dict[str, dict[str, object]]:
    """Two covariates of which one is the other, and one blank among the covariates."""
    (tmp_path / "mine.py").write_text(PLUGIN)
    (tmp_path / "methods.toml").write_text(METHODS)
    lines = [f"{p},{p % 2},{p + i},{(p + i) % 2},{(p + i) % 2}" for p in range(8) for i in range(4)]
    lines[3] = lines[3][:-1]
    (tmp_path / "trial.csv").write_text("\n".join(["practice,arm,y_followup,sex,twin", *lines]) + "\n")
    found = program("analyse", "trial.csv", "--methods", "methods.toml", "--plugin", "mine.py", "--format", "csv",
                    cwd=tmp_path)  # fmt: skip
    assert found.code == 0, found.err
    return {row["method"]: row for row in pl.read_csv(io.StringIO(found.out)).iter_rows(named=True)}


def test_covariates_that_a_function_does_not_take_raise_no_flag(rows: dict[str, dict[str, object]]) -> None:
    assert rows["alone"]["flags"] in ("", None)
    assert rows["alone"]["n_used"] == 32


def test_a_function_without_subset_is_given_the_people_who_are_analysed(rows: dict[str, dict[str, object]]) -> None:
    """Alone and inside per-protocol; a person whose condition is unknown is left out."""
    assert rows["counted"]["estimate"] == rows["counted"]["n_used"] == 16
    assert rows["kept"]["estimate"] == rows["kept"]["n_used"] == 15


def test_covariates_that_it_takes_do(rows: dict[str, dict[str, object]]) -> None:
    assert rows["adjusted"]["flags"] == rows["ols"]["flags"] == "aliased"
    assert rows["adjusted"]["n_used"] == rows["ols"]["n_used"] == 31
