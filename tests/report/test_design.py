"""The design in sentences: values of the scenario, all levels of varied keys, practices that open one by one."""

from pathlib import Path

from tomls import SMALL, changed, written

from simtrial.report.page.design import sentences
from simtrial.scenario import load


def said(tmp_path: Path, text: str) -> str:
    scenario, cells = load(written(tmp_path, text))
    return " ".join(sentences(scenario, {cell.id: cell.factors for cell in cells}))


def test_values_stand_in_sentences(tmp_path: Path) -> None:
    text = said(tmp_path, SMALL)
    assert "Cluster-randomised trials of 12 practices with " in text
    assert "practices are allocated 1:1 (" in text
    assert "Outcome mansa: ICC at follow-up given baseline 0.1, effect of the intervention " in text


def test_varied_keys_have_all_their_levels_and_stated_ones_their_arms(tmp_path: Path) -> None:
    vary = '\n[vary.cross]\n"mechanism.practices.number" = [12, 16, 20]\n'
    text = said(tmp_path, f'{SMALL}{vary}"mechanism.dropout.rate_intervention" = [0.1, 0.3]\n')
    assert "12, 16 or 20 practices" in text
    assert " in control and 0.1 or 0.3 in intervention" in text


def test_practices_that_open_until_enough_people_are_in(tmp_path: Path) -> None:
    text = said(tmp_path, changed("number = 12", "number = 40\nuntil_participants = 60"))
    assert "at most 40 practices" in text
    assert "opened until 60 people are in" in text
