"""Outputs of a check: JUnit, annotations, step summary, CSV and JSON; failed fits in all of them."""

import io
import json
import re
import shlex
from xml.etree import ElementTree

import polars as pl
import pytest
from commands import simtrial
from runs import quick
from tomls import head

from simtrial.check.findings import Finding
from simtrial.report import check_outputs as outputs
from simtrial.scenario.method_lines import method_lines

__all__ = ["quick"]

PLUGIN = '''
import os

import polars as pl
import simtrial

@simtrial.plain_method("planted-difference")
def planted_difference(trial):
    """Difference of the means, with what a test has planted."""
    trial = trial.drop_nulls(["mansa_followup"])
    t, c = (trial.filter(pl.col("arm") == arm)["mansa_followup"] for arm in (1, 0))
    planted = os.environ.get("PLANTED", "")
    if "failures" in planted and t.mean() > c.mean():
        raise ValueError("one arm is better")
    bias = 0.5 if "bias" in planted else 0.0
    error = (t.var() / len(t) + c.var() / len(c)) ** 0.5 * (1.01 if planted == "1%" else 1.0)
    return {"estimate": t.mean() - c.mean() + bias, "std_error": error, "df": 20}
'''

SCENARIO = (
    head("mine", 12, 5.0, 0.6)
    + """\
[[methods]]
name = "a, b: 100%"
kind = "planted-difference"

[[methods]]
name = "least squares"
kind = "ols"
adjust = []

[run]
replicates = 60
block = 30
"""
)


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """One file for all tests: a method is registered once."""
    file = tmp_path_factory.mktemp("plugin") / "method.py"
    file.write_text(PLUGIN)
    return file


@pytest.fixture
def check(tmp_path, quick, plugin, monkeypatch):
    """A check of the scenario against its baseline, with something planted in the method or nothing."""
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    (tmp_path / "mine.toml").write_text(SCENARIO)

    def checked(*more, planted="", what=tmp_path / "mine.toml"):
        monkeypatch.setenv("PLANTED", planted)
        return simtrial("check", what, "--plugin", plugin, "--workers", 1, *more)

    checked.baseline = ("--baseline", tmp_path / "b.parquet")
    assert checked(*checked.baseline, "--update-baseline", "--reason", "first").code == 0
    return checked


def test_text_shows_replicates_and_failures_of_every_line(check, tmp_path, monkeypatch):
    done = check(*check.baseline, planted="bias")
    assert done.code == 1
    assert "1 different, 1 identical" in done.out
    assert re.search(r"different +a, b: 100% +bias +60 +0 ", done.out)
    assert check(*check.baseline, "--format", "table", planted="bias").out == done.out
    (recipe,) = [line.strip() for line in done.out.splitlines() if line.strip().startswith("simtrial replay ")]
    assert "mine.toml --plugin" in recipe
    assert "--replicate 1 --baseline" in recipe
    monkeypatch.chdir(tmp_path)
    for planted in ("bias", "bias", "failures", ""):  # again and again, whatever becomes of the method
        monkeypatch.setenv("PLANTED", planted)
        shown = simtrial(*shlex.split(recipe)[1:])
        assert shown.code == (planted != ""), shown.err
        assert bool(re.search(r"a, b: 100%( against \w+)?: estimate \S+ in the baseline", shown.err)) == (
            planted == "bias"
        )
        assert ("status ok in the baseline, failed now" in shown.err) == (planted == "failures")
    assert "compared with the baseline" in shown.err
    assert "2 of 2 rows are the same" in shown.err
    assert not (tmp_path / "runs").exists()


def test_a_method_that_fails_too_often_fails_the_check(check, tmp_path):
    """With and without a baseline; a bound of the scenario, or an expectation about failures, is another."""
    expect = '\n[[expect]]\nmeasure = "bias"\nmethod = "least squares"\nlower = -10.0\n'
    file = tmp_path / "expect.toml"
    file.write_text(SCENARIO + expect)
    assert check(what=file).code == 0
    done = check(what=file, planted="failures")
    assert done.code == 1
    assert re.search(r"FAIL +a, b: 100% +failures +60 +\d\d ", done.out)
    assert re.search(r"ok +least squares +bias +60 +0 ", done.out)
    rows = pl.read_csv(io.StringIO(check("--format", "csv", what=file, planted="failures").out))
    assert rows.filter(pl.col("against") == "failed fits")["verdict"].to_list() == ["FAIL"]
    stated = '\n[[expect]]\nmeasure = "failures"\nmethod = "a, b: 100%"\nupper = 0.9\n'
    for allowed in ("\n[check]\nfailures = 0.9\n", stated):
        file.write_text(SCENARIO + expect + allowed)
        assert check(what=file, planted="failures").code == 0
    against = check(*check.baseline, planted="failures")
    assert against.code == 1
    assert "Failed fits above the bound" in against.out
    assert re.search(r"different +a, b: 100% +failed fits +60 +\d\d ", against.out)


def test_an_alarm_about_failed_fits_quotes_the_exception(check, tmp_path):
    """In the text, in every form, with a baseline and without; and the other results are held against the baseline."""

    def text(*more, planted="failures", **what):
        return " ".join(check(*more, planted=planted, **what).out.split())  # sentences are wrapped

    told, first = (
        text(*check.baseline),
        r"the first that failed, replicate (\d+): ValueError: one arm is better; to see it: ",
    )
    words = re.search(f"{first}simtrial (.+? --baseline \\S+)", told)
    assert words, told
    assert shlex.split(words[2])[-4:] == ["--replicate", words[1], *map(str, check.baseline)]
    assert f"the first that failed only now, replicate {words[1]}: ValueError: one arm is better" in told
    (n,) = re.findall(r"a, b: 100%: fits that failed only now: (\d+) of 60", told)
    assert f"a, b: 100%: the other {60 - int(n)} results are unchanged" in told
    assert f"first replicate that differs: {words[1]} (failed now only)" in told
    for form in ("junit", "github"):
        assert "ValueError: one arm is better" in text(*check.baseline, "--format", form)
    both = text(*check.baseline, planted="failures and bias")
    assert f"a, b: 100%: the other {60 - int(n)} results are not all unchanged" in both
    expected = '\n[[expect]]\nmeasure = "failures"\nmethod = "a, b: 100%"\nupper = 0\n'
    (tmp_path / "bound.toml").write_text(SCENARIO + expected)
    assert re.search(first, text(what=tmp_path / "bound.toml"))


def test_bounds_and_margins_are_read_anew(check, tmp_path):
    """They say how rows are read, and may change in a run directory."""
    run = tmp_path / "run"
    assert check(*check.baseline, "-o", run, planted="bias").code == 1
    text = SCENARIO + "\n[margins]\nbias = 5.0\nrejection_rate = 1.0\ncoverage = 1.0\np_value = 1.0\n"
    (tmp_path / "mine.toml").write_text(text)
    assert check(*check.baseline, "-o", run, planted="bias").code == 0
    assert simtrial("check", run, *check.baseline).code == 0


def test_json_has_the_verdict_and_every_measure(check):
    found = json.loads(check(*check.baseline, "--format", "json", planted="bias").out)
    assert (found["schema"], found["verdict"], found["reason"]) == (1, "FAIL", "first")
    rows = [row for row in found["rows"] if row["method"] == "a, b: 100%"]
    assert {row["measure"] for row in rows} > {"bias", "std_error", "coverage", "failures"}
    bias = next(row for row in rows if row["measure"] == "bias")
    assert (bias["verdict"], bias["against"], bias["replicates"], bias["failed"]) == ("different", "baseline", 60, 0)
    assert bias["value"] - bias["baseline"] == pytest.approx(0.5)


def test_junit(check):
    text = check(*check.baseline, "--format", "junit", planted="bias").out
    suite = ElementTree.fromstring(text).find("testsuite")
    cases = suite.findall("testcase")
    assert (int(suite.get("tests")), int(suite.get("failures"))) == (len(cases), 1) == (4, 1)
    (failed,) = [case for case in cases if case.find("failure") is not None]
    assert failed.get("name") == "a, b: 100%: baseline: itt"
    assert "simtrial replay" in failed.find("failure").text
    assert "60 replicates, 0 failed" in failed.find("failure").text


def test_names_of_junit_do_not_depend_on_what_comes_of_it(check, tmp_path):
    """Nor do they end in a dot where there is one cell; no two cases have one name."""
    (tmp_path / "mine.toml").write_text(
        SCENARIO + '\n[[expect]]\nmeasure = "bias"\nmethod = "a, b: 100%"\nupper = 0.2\n'
    )
    named = []
    for planted in ("", "bias", "failures"):
        text = check(*check.baseline, "--format", "junit", planted=planted).out
        cases = ElementTree.fromstring(text).iter("testcase")
        named.append(sorted((case.get("classname"), case.get("name")) for case in cases))
    assert named[0] == named[1] == named[2]
    assert len(set(named[0])) == len(named[0]) == 5
    assert {classname for classname, _ in named[0]} == {str(tmp_path / "mine.toml")}


def test_a_change_inside_the_margin_fails_where_identity_is_wanted(check):
    """Standard errors 1% larger in every trial are equivalent."""
    usual = check(*check.baseline, planted="1%")
    assert (usual.code, "1 equivalent, 1 identical" in usual.out) == (0, True)
    done = check(*check.baseline, "--identical", planted="1%")
    assert done.code == 1
    text = " ".join(done.out.split())
    assert "a, b: 100% against itt: equivalent: no difference beyond the margins: " in text
    assert "shift +1.00% (margin 2.00%)" in text
    assert "first replicate that differs: 1 (" in text
    assert check(*check.baseline, "--identical").code == 0
    assert check("--identical").err == "error: --identical: to what? --baseline FILE names it\n"


def test_github(check, tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    done = check(*check.baseline, "--format", "github", planted="bias")
    assert done.code == 1
    lines = done.out.splitlines()
    (alarm,) = [line for line in lines if line.startswith("::error")]
    line = SCENARIO.splitlines().index('name = "a, b: 100%"') + 1
    file = str(tmp_path / "mine.toml").replace(":", "%3A").replace(",", "%2C")
    title = "a%2C b%3A 100%25%3A different"
    assert alarm.startswith(f"::error file={file},line={line},title={title}::a, b: 100%25: different: bias")
    word = re.fullmatch(r"::stop-commands::(\w{32})", lines[0])[1]
    assert lines.index(f"::{word}::") < lines.index(alarm)
    summary = (tmp_path / "summary.md").read_text()
    assert summary.startswith("### simtrial check ")
    assert "1 of 4 checks fail" in summary
    assert r"| different |  | a, b\: 100% | bias | 60 | 0 |" in summary
    assert check(*check.baseline, "--format", "github").code == 0
    assert (tmp_path / "summary.md").read_text().count("###") == 2  # steps add to it


def test_a_refusal_is_told_to_github_as_well(check, tmp_path):
    done = check(*check.baseline, "--format", "github", "--seed", 5, "--summary", tmp_path / "s.md")
    assert done.code == 2
    assert done.out.startswith("::error title=simtrial check::")
    assert "run.seed is 1 in the baseline and 5 here" in done.out
    assert "nothing was checked" in (tmp_path / "s.md").read_text()


def test_every_file_is_read_before_anything_is_simulated(check, tmp_path, monkeypatch):
    """One that is not there, not what it should be, or about something else costs no run."""
    (tmp_path / "words.toml").write_text("not TOML")
    (tmp_path / "other.toml").write_text('[[expect]]\nmeasure = "bias"\nmethod = "nobody"\nvalue = 0\nmcse = 0\n')
    (tmp_path / "damaged.parquet").write_bytes(check.baseline[1].read_bytes()[:-9])
    monkeypatch.setattr("simtrial.commands.run_directories.fill", lambda *found, **how: pytest.fail("it was run"))
    reason = ("--update-baseline", "--reason", "why")
    for code, words, options in (
        (2, "none.toml", ["--against", tmp_path / "none.toml"]),
        (2, "not valid TOML", ["--against", tmp_path / "words.toml"]),
        (2, "unknown method 'nobody'", ["--against", tmp_path / "other.toml"]),
        (4, "damaged.parquet: damaged", ["--baseline", tmp_path / "damaged.parquet"]),
        (4, "damaged.parquet: damaged", ["--baseline", tmp_path / "damaged.parquet", *reason]),
        (2, "none.parquet: no such baseline", ["--baseline", tmp_path / "none.parquet"]),
        (5, "there is no folder", [*check.baseline, "--summary", tmp_path / "none" / "s.md"]),
    ):
        done = check(*options)
        assert (done.code, words in done.err, done.out) == (code, True, ""), done.err


def test_strict_fails_what_is_undecided(check):
    few = ("--replicates", 5)
    loose, strict = (check(*check.baseline, *few, *more, planted="bias") for more in ((), ("--strict",)))
    assert (loose.code, strict.code) == (0, 1)
    assert "undecided" in loose.out
    assert re.search(r"5 replicates do not decide it; about \d+ would", " ".join(loose.out.split()))


def finding(at, *, fails=True, text="bias 1 -> 2"):
    return Finding(source="baseline", cell="", method=f"m{at}", measure="bias", verdict="different", fails=fails,
                   doubtful=not fails, n=9, failed=1, sentence=text)  # fmt: skip


def test_annotations_are_ten_at_most_errors_first():
    many = [finding(0, fails=False), *(finding(at) for at in range(1, 30))]
    lines = outputs.github_annotations(many, {})
    assert len(lines) == 10
    assert all(line.startswith("::error") for line in lines)
    assert "21 more findings" in lines[-1]
    few = outputs.github_annotations(many[:3], {})
    assert [line.split()[0] for line in few] == ["::error", "::error", "::warning"]


@pytest.mark.parametrize("text", [
    "a\n::error::b", "x\r\ny", "<script>|`|", "\x1b[31mred\u202e", "\x00 & ]]>", "::warning::",
])  # fmt: skip
def test_text_from_outside_is_only_text(text):
    one = finding(text, text=text)
    (line,) = outputs.github_annotations([one], {text: (f"{text},line=9", 3)})
    assert "\n" not in line
    assert "\r" not in line
    tree = ElementTree.fromstring(outputs.junit([one], text))
    assert len(tree.findall(".//testcase")) == 1
    table = [row for row in outputs.markdown([one], text, [text]).splitlines() if row.startswith("|")]
    assert len(table) == 3
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 8 for row in table)
    assert "<script>" not in "".join(table)
    printed = outputs.fenced(f"{text}\n::error::x").splitlines()
    word = printed[0].removeprefix("::stop-commands::")
    assert printed[-1] == f"::{word}::"
    assert all(f"::{word}::" not in line for line in printed[:-1])


def test_lines_of_methods_in_a_file_and_in_the_one_it_extends(tmp_path):
    (tmp_path / "base.toml").write_text(SCENARIO)
    child = tmp_path / "child.toml"
    child.write_text('schema = 1\nname = "child"\nextends = "base.toml"\n')
    line = SCENARIO.splitlines().index('name = "least squares"') + 1
    assert method_lines(str(tmp_path / "base.toml"))["least squares"] == (str(tmp_path / "base.toml"), line)
    assert method_lines(str(child))["least squares"] == (str(tmp_path / "base.toml"), line)
    child.write_text(child.read_text() + '\n[[methods]]\nkind = "ols"\nname = "own"\n')
    assert method_lines(str(child)) == {"own": (str(child), 7)}
    assert method_lines("partners") == method_lines(str(tmp_path)) == {}
