"""Analysing data sets from the command line."""

import json
from pathlib import Path

import polars as pl
import pytest
from commands import simtrial
from tomls import written

METHODS = """\
[[methods]]
name = "mixed model"
kind = "lmm"
adjust = ["mansa_baseline"]

[[methods]]
name = "least squares"
kind = "ols"
adjust = ["mansa_baseline"]
"""
TABLE = ["trial_id", "method", "term", "estimate", "std_error", "df", "statistic", "p_value", "ci_lower", "ci_upper",
         "status", "flags", "n_used", "clusters_used", "extra"]  # fmt: skip


@pytest.fixture
def methods(tmp_path: Path) -> str:
    return written(tmp_path, METHODS, "methods.toml")


def trial(practices: list[int], people: int = 4) -> pl.DataFrame:
    """Data of practices whose arms are given, without any random number."""
    rows = [
        {"practice": f"P{p}", "arm": arm, "mansa_baseline": 4 + (7 * p + 3 * i) % 5 / 4,
         "mansa_followup": 4.2 + (5 * p + 2 * i) % 7 / 5 + 0.1 * arm}
        for p, arm in enumerate(practices) for i in range(people)
    ]  # fmt: skip
    return pl.DataFrame(rows)


def test_an_arm_of_one_practice_is_a_flag_and_not_an_error(tmp_path: Path, methods: str) -> None:
    trial([1, 0, 0, 0, 0]).write_csv(tmp_path / "trial.csv")
    found = simtrial("analyse", tmp_path / "trial.csv", "--methods", methods, "--format", "json")
    assert (found.code, found.err) == (0, "")
    rows = json.loads(found.out)["rows"]
    assert len(rows) == 2
    for row in rows:
        assert "too_few_clusters" in row["flags"].split(";")


def test_an_arm_of_none_is_a_failed_fit_and_not_an_error(tmp_path: Path, methods: str) -> None:
    trial([0, 0, 0, 0]).write_csv(tmp_path / "trial.csv")
    found = simtrial("analyse", tmp_path / "trial.csv", "--methods", methods, "--format", "json")
    assert found.code == 0
    assert {row["status"] for row in json.loads(found.out)["rows"]} == {"failed"}


@pytest.mark.parametrize("arm", [0, 1])
def test_a_trial_in_one_arm_fails_for_that_reason_alone_and_the_others_stand(tmp_path: Path, arm: int) -> None:
    """Flags that follow from it, and their advice to adjust for fewer, are not printed beside it."""
    options = 'adjust = ["mansa_baseline"]\n'
    kinds = "".join(f'[[methods]]\nname = "{kind}"\nkind = "{kind}"\n{options}' for kind in EFFECTS)
    wrapped = f'[[methods]]\nname = "mi"\nkind = "mi"\n{options}analysis = {{ kind = "lmm" }}\n'
    methods = written(tmp_path, kinds + wrapped, "methods.toml")
    trial([arm] * 6).write_csv(tmp_path / "one.csv")
    trial([0, 1] * 6).write_csv(tmp_path / "two.csv")
    files = (tmp_path / "one.csv", tmp_path / "two.csv")
    found = simtrial("analyse", *files, "--methods", methods, "--format", "json")
    assert found.code == 0
    rows = json.loads(found.out)["rows"]
    one = {r["method"]: (r["status"], r["flags"]) for r in rows if r["trial_id"] == "one"}
    assert one.pop("mi") == ("failed", "imputation_failed;one_arm")
    assert one == dict.fromkeys(EFFECTS, ("failed", "one_arm"))
    assert {r["status"] for r in rows if r["trial_id"] == "two"} == {"ok"}
    table = simtrial("analyse", *files, "--methods", methods).out
    assert "adjust for fewer" not in table
    assert "one_arm: All analysed practices are in one arm" in table


EFFECTS = ("lmm", "ols", "gee", "clda", "g-computation", "cluster-means", "wild-bootstrap")


def test_columns_of_the_table(tmp_path: Path, methods: str) -> None:
    trial([0, 1] * 6).write_csv(tmp_path / "trial.csv")
    found = simtrial("analyse", tmp_path / "trial.csv", "--methods", methods, "--format", "csv")
    table = pl.read_csv(found.out.encode())
    assert table.columns == TABLE
    assert table["method"].to_list() == ["mixed model", "least squares"]
    assert set(table["trial_id"]) == {"trial"}
    assert all(isinstance(json.loads(text), dict) for text in table["extra"])
    every = simtrial("analyse", tmp_path / "trial.csv", "--methods", methods, "--format", "csv", "--all-terms")
    assert pl.read_csv(every.out.encode()).filter(method="least squares")["term"].to_list() == [
        "arm", "intercept", "mansa_baseline",
    ]  # fmt: skip


def test_a_users_own_names_are_mapped(tmp_path: Path, methods: str) -> None:
    data = trial([0, 1] * 6)
    data.write_csv(tmp_path / "trial.csv")
    (tmp_path / "mine").mkdir()
    data.rename({"practice": "gp_id", "arm": "treated"}).write_csv(tmp_path / "mine" / "trial.csv")
    mine = simtrial("analyse", tmp_path / "mine" / "trial.csv", "--methods", methods, "--format", "csv",
                    "--map", "practice=gp_id", "--map", "arm=treated")  # fmt: skip
    assert mine.code == 0, mine.err
    assert mine.out == simtrial("analyse", tmp_path / "trial.csv", "--methods", methods, "--format", "csv").out


def test_several_files_and_several_trials_in_one_are_the_same(tmp_path: Path, methods: str) -> None:
    first, second = trial([0, 1] * 6), trial([1, 0, 0] * 4)
    first.write_csv(tmp_path / "a.csv")
    second.write_csv(tmp_path / "b.csv")
    both = pl.concat([first.with_columns(trial_id=pl.lit("a")), second.with_columns(trial_id=pl.lit("b"))])
    both.write_csv(tmp_path / "both.csv")
    files = simtrial("analyse", tmp_path / "a.csv", tmp_path / "b.csv", "--methods", methods, "--format", "csv")
    assert files.out == simtrial("analyse", tmp_path / "both.csv", "--methods", methods, "--format", "csv").out
    assert pl.read_csv(files.out.encode())["trial_id"].to_list() == ["a", "a", "b", "b"]


def test_the_table_explains_its_flags(tmp_path: Path, methods: str) -> None:
    from simtrial.flags import CAUSES

    trial([1, 0, 0, 0, 0]).write_csv(tmp_path / "trial.csv")
    found = simtrial("analyse", tmp_path / "trial.csv", "--methods", methods)
    assert CAUSES["too_few_clusters"] in found.out
    assert "mixed model" in found.out


def test_people_left_out_because_something_is_unknown_are_counted_in_the_table(tmp_path: Path) -> None:
    """The sentence of the flag names n_unknown, so the table has it; a table without any such people has not."""
    options = 'adjust = []\nreceived = "sessions >= 6"\n'
    methods = written(tmp_path, f'[[methods]]\nname = "compliers"\nkind = "iv"\n{options}', "methods.toml")
    whole = trial([0, 1] * 6).with_columns((pl.col("arm") * (5 + pl.int_range(pl.len()) % 4)).alias("sessions"))
    blank = whole.with_columns(pl.when(pl.int_range(pl.len()) % 16 != 5).then("sessions").alias("sessions"))
    for frame, told in ((whole, False), (blank, True)):
        frame.write_csv(tmp_path / "trial.csv")
        found = simtrial("analyse", tmp_path / "trial.csv", "--methods", methods).out
        assert ("n_unknown" in found.split("blank_receipt:")[0]) == told
        assert ("(see n_unknown)" in found) == told


def test_a_trial_of_another_name_draws_otherwise_whatever_is_analysed_beside_it(tmp_path: Path) -> None:
    """Random numbers belong to the trial's name; what does not draw has the same numbers under any name."""
    options = 'adjust = ["mansa_baseline"]\n'
    wrapped = f'[[methods]]\nname = "mi"\nkind = "mi"\n{options}analysis = {{ kind = "lmm" }}\n'
    methods = written(tmp_path, METHODS + wrapped, "methods.toml")
    frame = trial([0, 1] * 6).with_columns(
        pl.when(pl.int_range(pl.len()) % 7 != 3).then("mansa_followup").alias("mansa_followup")
    )
    for name in ("one", "two"):
        frame.write_csv(tmp_path / f"{name}.csv")
    both = {}
    for files in (("one", "two"), ("one",)):
        given = [tmp_path / f"{name}.csv" for name in files]
        rows = json.loads(simtrial("analyse", *given, "--methods", methods, "--format", "json").out)["rows"]
        both[files] = {(row["trial_id"], row["method"]): row["estimate"] for row in rows}
    found = both["one", "two"]
    assert found["one", "mixed model"] == found["two", "mixed model"]
    assert found["one", "mi"] != found["two", "mi"]
    assert both["one",]["one", "mi"] == found["one", "mi"]


def test_the_table_says_which_covariates_the_methods_have(tmp_path: Path, methods: str) -> None:
    """A line for methods with the same ones, what `mi` wraps included; in the table alone."""
    more = "".join(
        f'[[methods]]\nname = "{name}"\nkind = "{kind}"\n{options}\n\n'
        for name, kind, options in (
            ("crude", "ols", "adjust = []"),
            ("imputed", "mi", 'm = 2\nadjust = ["mansa_baseline"]\nauxiliary = ["age"]\nanalysis = { kind = "lmm" }'),
            ("both", "lmm", 'adjust = ["mansa_baseline", "age"]'),
        )
    )
    trial([0, 1] * 6).with_columns(age=pl.int_range(pl.len()) % 9).write_csv(tmp_path / "trial.csv")
    command = ("analyse", tmp_path / "trial.csv", "--methods", written(tmp_path, METHODS + "\n" + more, "m.toml"))
    lines = simtrial(*command).out.splitlines()
    assert [line for line in lines if "adjusted" in line] == [
        "adjusted for mansa_baseline: mixed model; least squares; imputed",
        "not adjusted: crude",
        "adjusted for mansa_baseline, age: both",
    ]
    assert "adjusted" not in simtrial(*command, "--format", "csv").out
    assert "adjusted" not in simtrial(*command, "--format", "json").out
