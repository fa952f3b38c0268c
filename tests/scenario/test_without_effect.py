"""What is written in a scenario and changes no result is named; what changes one is not."""

from pathlib import Path

import pytest
from tomls import changed

from simtrial.generate import drawn_for
from simtrial.scenario import load
from simtrial.scenario.without_effect import without_effect

WEMWBS = """\
schema = 1
name = "wellbeing"
primary = "wemwbs"

[mechanism.practices]
number = 12
cluster_size_mean = 6
cluster_size_cv = 0

[mechanism.allocation]
method = "complete"

[mechanism.outcomes.wemwbs]
baseline_mean = 40
baseline_sd = 10
change = 2
followup_sd = 10
rho = 0.6
lowest = 14
highest = 70
effect = 0

[mechanism.dropout]
rate = 0.20

[[estimands]]
name = "itt"
kind = "itt"

[[methods]]
name = "mixed model"
kind = "lmm"
"""

MANSA_INCOMPLETE = "\n[mechanism.missingness]\nfollowup = 0.3\n"
WEMWBS_INCOMPLETE = "\n[mechanism.missingness.instruments.wemwbs]\nfollowup = 0.3\n"


def sentences(folder: Path, text: str) -> list[str]:
    path = folder / "scenario.toml"
    path.write_text(text, encoding="utf-8")
    return without_effect(*load(str(path)))


def test_tables_about_another_outcome_are_named(tmp_path: Path) -> None:
    assert sentences(tmp_path, WEMWBS) == []
    found = sentences(tmp_path, WEMWBS + MANSA_INCOMPLETE)
    assert len(found) == 1
    assert found[0].startswith("[mechanism.missingness] changes no result: it is about mansa_baseline and mansa_")
    found = sentences(tmp_path, WEMWBS + "\n[mechanism.baseline]\nmean = 4.0\n")
    assert len(found) == 1
    assert found[0].startswith("[mechanism.baseline] changes no result: it is about mansa_baseline, which no method")
    assert sentences(tmp_path, WEMWBS + WEMWBS_INCOMPLETE) == []


@pytest.mark.parametrize("other", ["", WEMWBS_INCOMPLETE])
def test_levels_that_differ_by_chance_alone_are_named(tmp_path: Path, other: str) -> None:
    vary = '\n[vary.cross]\n"mechanism.missingness.followup" = [0.0, 0.3]\n"mechanism.dropout.rate" = [0.1, 0.2]\n'
    found = sentences(tmp_path, WEMWBS + (other or MANSA_INCOMPLETE) + vary)
    assert [s for s in found if s.startswith("levels")] == [
        "levels of mechanism.missingness.followup differ by chance alone: no method or estimand reads what it acts on"
    ]


def test_factors_of_methods_and_of_what_is_analysed_are_not_named(tmp_path: Path) -> None:
    vary = """
[vary.cross]
"mechanism.missingness.instruments.wemwbs.followup" = [0.0, 0.3]
"mechanism.practices.number" = [12, 14]
"""
    assert sentences(tmp_path, WEMWBS + WEMWBS_INCOMPLETE + vary) == []


def test_built_in_scenarios_have_no_such_table() -> None:
    for name in ("partners", "partners-full", "partners-design", "partners-interim", "verify/itt-sweep"):
        assert without_effect(*load(name)) == []


def test_scores_that_nobody_reads_are_drawn_complete_and_move_no_other(tmp_path: Path) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text(changed("[[estimands]]", WEMWBS_INCOMPLETE + "\n[[estimands]]"), encoding="utf-8")
    mechanism = load(str(path))[0].mechanism
    step = drawn_for(mechanism, frozenset({"wemwbs_followup_complete"}))["missingness"]
    assert step.model_dump()["followup"] == 0.0  # of MANSA, which is drawn by as many numbers as ever
