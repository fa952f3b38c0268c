"""Published results are shown beside trials of the mechanism they belong to, and no others."""

import pytest

from simtrial.scenario import load

CHILD = 'schema = 1\nname = "child"\nextends = "partners"\n'
OWN = '[[published]]\nmethod = "primary, full"\nestimate = 0.1\nci_lower = 0.0\nci_upper = 0.2\n'
OTHER = "[mechanism.practices]\nnumber = 20\n"


@pytest.mark.parametrize(("text", "rows"), [
    ("", 12), ("[run]\nreplicates = 50\n", 12), (OTHER, 0), (OWN, 1), (OTHER + OWN, 1),
])  # fmt: skip
def test_a_file_that_changes_the_mechanism_shows_only_what_it_states_itself(tmp_path, text, rows):
    file = tmp_path / "child.toml"
    file.write_text(CHILD + text)
    assert len(load(str(file))[0].published) == rows


@pytest.mark.parametrize(("setting", "rows"), [("run.seed=2", 12), ("mechanism.practices.number=20", 0)])
def test_so_does_a_setting(setting, rows):
    assert len(load("partners", [setting])[0].published) == rows
