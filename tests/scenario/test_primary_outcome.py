"""The primary outcome: the only one, the one a file states, or an error that names those there are."""

from pathlib import Path

import pytest
from commands import simtrial
from tomls import SMALL, changed, complaint, written

from simtrial.errors import ScenarioError
from simtrial.scenario import load, load_methods

TUS = """
[mechanism.outcomes.tus]
baseline_mean = 5.0
baseline_sd = 2.0
change = 1.0
followup_sd = 2.0
rho = 0.5
lowest = 0.0
highest = 10.0
"""
ALONE = f"""
name = "alone"
[mechanism.practices]
number = 20
cluster_size_mean = 6.0
cluster_size_cv = 0.0
[mechanism.allocation]
method = "simple"
[mechanism.dropout]
rate = 0.1
[mechanism.missingness.instruments.tus]
followup = 0.1
{TUS}
[[estimands]]
name = "itt"
kind = "itt"
[[methods]]
name = "a"
kind = "lmm"
"""
WITH_TUS = changed("[mechanism.dropout]", TUS + "[mechanism.dropout]", SMALL)


def responses(text: str, folder: Path) -> set[str]:
    scenario, _ = load(written(folder, text))
    return {m.response for m in scenario.methods} | {e.response for e in scenario.estimands}


def test_the_only_outcome_is_primary_whichever_it_is(tmp_path: Path) -> None:
    assert responses(SMALL, tmp_path) == {"mansa"}
    assert responses(ALONE, tmp_path) == {"tus"}


@pytest.mark.parametrize("primary", ["mansa", "tus"])
def test_of_several_the_file_states_it(primary: str, tmp_path: Path) -> None:
    assert responses(f'primary = "{primary}"\n{WITH_TUS}', tmp_path) == {primary}


def test_several_without_a_primary_one_are_listed(tmp_path: Path) -> None:
    lines = complaint(tmp_path, WITH_TUS).splitlines()
    assert lines
    assert all("missing key 'response'" in line for line in lines)
    assert any("methods[1]: missing key 'response': the outcomes are mansa, tus" in line for line in lines)


def test_a_misspelt_one_is_told_with_the_nearest(tmp_path: Path) -> None:
    lines = complaint(tmp_path, f'primary = "manza"\n{WITH_TUS}').splitlines()
    assert lines[0] == "trial.toml:1: primary: unknown outcome 'manza'; did you mean 'mansa'? (allowed: mansa, tus)"


def test_a_mechanism_without_an_outcome_is_refused(tmp_path: Path) -> None:
    text = complaint(
        tmp_path, ALONE.replace(TUS, "").replace("[mechanism.missingness.instruments.tus]\nfollowup = 0.1", "")
    )
    assert "missing table [mechanism.outcomes.NAME], NAME one of mansa, tus" in text
    assert "response" not in text


def test_a_trial_without_mansa_is_shown_drawn_and_analysed(tmp_path: Path) -> None:
    file = written(tmp_path, ALONE)
    assert "tus" in simtrial("show", file).out
    run = simtrial("run", file, "-o", tmp_path / "run", "--replicates", 20, "--workers", 1)
    assert run.code == 0, run.err
    assert simtrial("generate", file, "-o", tmp_path / "sets", "--replicates", 1).code == 0
    header = next((tmp_path / "sets").glob("*1*.csv")).read_text().splitlines()[0]
    assert "tus_followup" in header
    assert "mansa" not in header


def analysed(folder: Path, columns: str, methods: str, *options: str) -> tuple[int, str]:
    (folder / "m.toml").write_text(methods)
    rows = "".join(f"{p},{p % 2},{p + k},{p - k}\n" for p in range(1, 7) for k in range(3))
    (folder / "d.csv").write_text(f"practice,arm,{columns}\n{rows}")
    done = simtrial("analyse", folder / "d.csv", "--methods", folder / "m.toml", *options)
    return done.code, done.out + done.err


METHOD = '[[methods]]\nname = "a"\nkind = "ols"\nadjust = []\n'


def test_of_own_data_the_only_outcome_is_analysed(tmp_path: Path) -> None:
    code, text = analysed(tmp_path, "pain_followup,other", METHOD)
    assert code == 0, text
    stated = analysed(tmp_path, "pain_followup,other", METHOD + 'response = "pain"\n')
    assert stated == (code, text) == analysed(tmp_path, "pain_followup,other", 'primary = "pain"\n' + METHOD)
    assert analysed(tmp_path, "score,other", METHOD, "--map", "pain_followup=score") == (code, text)


def test_of_own_data_with_several_outcomes_one_must_be_named(tmp_path: Path) -> None:
    code, text = analysed(tmp_path, "pain_followup,sleep_followup", METHOD)
    assert code == 2
    assert "m.toml:1: methods[1]: missing key 'response': the outcomes are pain, sleep" in text
    assert analysed(tmp_path, "pain_followup,sleep_followup", 'primary = "sleep"\n' + METHOD)[0] == 0


def test_own_data_without_an_outcome(tmp_path: Path) -> None:
    code, text = analysed(tmp_path, "pain,sleep", METHOD)
    assert code == 2
    assert "missing key 'response': no column ends in _followup (--map NAME_followup=yours renames one)" in text


def test_a_methods_file_needs_no_data_where_it_names_its_responses(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(METHOD + 'response = "y"\n')
    assert load_methods(str(tmp_path / "m.toml"))[0].response == "y"
    (tmp_path / "m.toml").write_text(METHOD)
    with pytest.raises(ScenarioError, match="missing key 'response'"):
        load_methods(str(tmp_path / "m.toml"))
