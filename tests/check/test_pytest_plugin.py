"""Somebody else's package gates its own estimator: the marker, the fixture, and what they say."""

import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from tomls import head

ROOT = Path(__file__).parents[2]

ESTIMATOR = '''
import polars as pl
import simtrial

@simtrial.plain_method("theirs")
def theirs(trial):
    """Difference of the means."""
    t, c = (trial.drop_nulls("mansa_followup").filter(pl.col("arm") == arm)["mansa_followup"] for arm in (1, 0))
    return {"estimate": t.mean() - c.mean(), "std_error": (t.var() / len(t) + c.var() / len(c)) ** 0.5, "df": 30}
'''

SCENARIO = (
    head("theirs", 12, 5.0, 0.6)
    + """\
[[methods]]
name = "theirs"
kind = "theirs"
"""
)

TEST = """
import pytest

@pytest.mark.simtrial("theirs.toml", replicates=50, plugin="their_package")
def test_theirs(assert_no_regression):
    assert_no_regression("theirs")
"""


@pytest.fixture
def package(tmp_path):
    """A package with an estimator, a scenario and a test of nine lines at most; a function runs the tests."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "their_package.py").write_text(ESTIMATOR)
    (tmp_path / "tests" / "theirs.toml").write_text(SCENARIO)
    (tmp_path / "tests" / "test_theirs.py").write_text(TEST)
    assert len(TEST.strip().splitlines()) < 10
    there = any(point.value == "simtrial.pytest_plugin" for point in metadata.entry_points(group="pytest11"))

    def run(*more, **environment):
        plugin = [] if there else ["-p", "simtrial.pytest_plugin"]
        command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:randomly"]
        done = subprocess.run([*command, *plugin, *more], cwd=tmp_path, capture_output=True, text=True, check=False,
                              timeout=120, env={**os.environ, **environment})  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    return run


def test_a_package_gates_its_estimator(package, tmp_path):
    code, text = package()
    assert code == 1
    assert "there is no baseline tests/baselines/theirs.parquet yet" in text
    assert "--simtrial-update-baseline 'REASON'" in text
    assert package("--simtrial-update-baseline", "first")[0] == 0
    assert {f.name for f in (tmp_path / "tests" / "baselines").iterdir()} == {"theirs.parquet", "theirs.parquet.md"}
    assert package()[0] == 0
    test, source = tmp_path / "tests" / "test_theirs.py", tmp_path / "their_package.py"
    source.write_text(ESTIMATOR.replace(') ** 0.5, "df"', ') ** 0.5 * 1.01, "df"'))
    assert package()[0] == 0
    test.write_text(TEST.replace("replicates=50", "replicates=50, identical=True"))
    code, text = package()
    assert (code, "equivalent: no difference beyond the margins" in text) == (1, True)
    test.write_text(TEST)
    source = tmp_path / "their_package.py"
    source.write_text(ESTIMATOR.replace(".var()", ".var(ddof=4)"))
    code, text = package()
    assert code == 1
    assert "The estimator 'theirs' gives other results than when tests/baselines/theirs.parquet was written" in text
    assert "(50 of scenario tests/theirs.toml)" in text
    assert "standard errors" in text
    recipe = "simtrial replay tests/theirs.toml --plugin their_package --replicate 1"
    assert f"{recipe} --baseline tests/baselines/theirs.parquet" in text
    assert "Traceback" not in text
    assert package(SIMTRIAL_UPDATE_BASELINE="meant")[0] == 0
    assert package()[0] == 0
    assert "2. meant" in (tmp_path / "tests" / "baselines" / "theirs.parquet.md").read_text()


def test_what_cannot_be_judged_is_said_in_words(package, tmp_path):
    assert package("--simtrial-update-baseline", "first")[0] == 0
    cases = {
        "write it anew with --simtrial-update-baseline 'REASON'": ("replicates=50", "replicates=50, seed=8"),
        "settings mechanism.practices.numbr": ("replicates=50", 'settings={"mechanism.practices.numbr": 4}'),
        "did you mean 'theirs'?": ('assert_no_regression("theirs")', 'assert_no_regression("their")'),
        "run.seed is 1 in the baseline and 9 here": ("replicates=50", "replicates=50, seed=9"),
        "unknown keyword of the marker 'repetitions'": ("replicates=50", "repetitions=50"),
        "no module 'their_pakage'": ('plugin="their_package"', 'plugin="their_pakage"'),
        "no file 'other.toml'": ("theirs.toml", "other.toml"),
        "the test is marked and compares nothing": ('    assert_no_regression("theirs")', "    pass"),
    }
    for at, (before, after) in enumerate(cases.values()):
        (tmp_path / "tests" / f"test_{at}.py").write_text(TEST.replace(before, after))
    code, text = package()
    assert code == 1
    assert "1 passed" in text
    assert [words for words in cases if words not in text] == []
    assert not re.search("--update-baseline|--reason|--set|--plugin", text)
    assert "Traceback" not in text
    assert "During handling of the above exception" not in text


def test_a_marked_test_without_the_fixture_fails(package, tmp_path):
    assert package("--simtrial-update-baseline", "first")[0] == 0
    file = tmp_path / "tests" / "test_theirs.py"
    file.write_text(TEST.replace("(assert_no_regression)", "()").replace('assert_no_regression("theirs")', "pass"))
    code, text = package()
    assert code == 1
    assert "the test is marked and compares nothing" in text


def test_a_fit_that_fails_too_often_fails_the_test(package, tmp_path):
    (tmp_path / "their_package.py").write_text(
        ESTIMATOR.replace("    return", "    if t.mean() > c.mean():\n        raise ValueError(1)\n    return")
    )
    assert package("--simtrial-update-baseline", "first")[0] == 0
    code, text = package()
    assert code == 1
    assert "of 50 fits failed" in text
    assert re.search(r"the first that failed, replicate \d+: ValueError: 1", text)


def test_nothing_heavy_is_imported_by_tests_that_do_not_use_it(tmp_path):
    script = (
        "import sys, simtrial.pytest_plugin\n"
        "print(*[m for m in ('numpy', 'polars', 'scipy', 'pydantic', 'click') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_pytest_is_told_of_the_plugin():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"simtrial": "simtrial.pytest_plugin"}
