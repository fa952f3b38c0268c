"""Changing keys on the command line, and building on another file."""

from pathlib import Path

import pytest
from tomls import SMALL, changed, complaint, written

from simtrial.errors import ScenarioError
from simtrial.scenario import load


@pytest.mark.parametrize(
    ("setting", "stage", "key", "value"),
    [
        ("mechanism.practices.number=20", "practices", "number", 20),
        ("mechanism.outcomes.mansa.icc=0.05", "outcomes.mansa", "icc", 0.05),
        ("mechanism.outcomes.mansa.icc = 0", "outcomes.mansa", "icc", 0.0),
        ("mechanism.allocation.method=simple", "allocation", "method", "simple"),
        ('mechanism.allocation.method="simple"', "allocation", "method", "simple"),
        ('mechanism.allocation.factors=["region"]', "allocation", "factors", ["region"]),
        ("mechanism.practices.regions={ A = 1, B = 2 }", "practices", "regions", {"A": 1.0, "B": 2.0}),
        ("mechanism.outcomes.mansa.effect_among=sessions >= 4", "outcomes.mansa", "effect_among", "sessions >= 4"),
    ],
)
def test_values_are_taken_as_toml_or_else_as_text(
    setting: str, stage: str, key: str, value: object, tmp_path: Path
) -> None:
    scenario, _ = load(written(tmp_path, SMALL), [setting])
    assert getattr(scenario.mechanism[stage], key) == value


def test_the_last_setting_of_a_key_holds(tmp_path: Path) -> None:
    scenario, _ = load(written(tmp_path, SMALL), ["run.seed=7", "run.seed=8"])
    assert scenario.run.seed == 8


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("mechanism.outcomes.mansa.iccc=0.1", ["--set mechanism.outcomes.mansa.iccc", "did you mean 'icc'"]),
        ("mechanism.outcomes.mansa.icc=1.2", ["--set mechanism.outcomes.mansa.icc", "must be < 1", "1.2"]),
        ("mechanism.outcomes.mansa.icc=high", ["--set mechanism.outcomes.mansa.icc", "a number", "'high'"]),
        ("mechanizm.practices.number=3", ["mechanizm", "did you mean 'mechanism'"]),
        ("mechanism.practises.number=3", ["practises", "did you mean 'mechanism.practices'"]),
        ("run.replicates=-1", ["--set run.replicates", "must be >= 1"]),
        ("name.first=3", ["--set name.first", "not a table"]),
        ("number", ["--set takes path=value", "'number' given"]),
        ("=3", ["--set takes path=value"]),
    ],
)
def test_a_wrong_setting_is_told_as_such(setting: str, told: list[str], tmp_path: Path) -> None:
    message = complaint(tmp_path, SMALL, setting)
    for piece in told:
        assert piece in message


def child(extra: str, base: str = "base.toml") -> str:
    return f'schema = 1\nname = "child"\nextends = "{base}"\n{extra}'


def test_tables_are_merged_and_lists_replaced(tmp_path: Path) -> None:
    written(tmp_path, SMALL, "base.toml")
    extra = '[mechanism.practices]\nnumber = 30\n\n[[methods]]\nname = "only"\nkind = "ols"\n'
    scenario, _ = load(written(tmp_path, child(extra)))
    base, _ = load(str(tmp_path / "base.toml"))
    practices, before = scenario.mechanism["practices"], base.mechanism["practices"]
    assert practices.model_dump() == {**before.model_dump(), "number": 30}
    assert [m.name for m in scenario.methods] == ["only"]
    assert scenario.estimands == base.estimands
    assert scenario.name == "child"
    assert all(scenario.mechanism[s] == base.mechanism[s] for s in base.mechanism if s != "practices")


def test_a_built_in_scenario_can_be_extended(tmp_path: Path) -> None:
    scenario, _ = load(written(tmp_path, child("[run]\nreplicates = 10\n", "partners")))
    partners, _ = load("partners")
    assert scenario.mechanism == partners.mechanism
    assert (scenario.run.replicates, scenario.run.seed) == (10, partners.run.seed)


def test_mistakes_are_told_of_the_file_that_makes_them(tmp_path: Path) -> None:
    written(tmp_path, changed("icc = 0.1", "icc = 1.2"), "base.toml")
    message = complaint(tmp_path, child("\n[mechanism.dropout]\nrate = 2.0\n"))
    assert f"base.toml:{SMALL[: SMALL.index('icc = 0.1')].count(chr(10)) + 1}: mechanism.outcomes.mansa.icc" in message
    assert "trial.toml:6: mechanism.dropout.rate" in message


def test_a_child_can_mend_its_parent(tmp_path: Path) -> None:
    written(tmp_path, changed("icc = 0.1", "icc = 1.2"), "base.toml")
    load(written(tmp_path, child("[mechanism.outcomes.mansa]\nicc = 0.2\n")))


@pytest.mark.parametrize(
    ("base", "told"),
    [
        ("nothing.toml", ["nothing.toml", "no file"]),
        ("partnerz", ["unknown scenario 'partnerz'", "did you mean 'partners'"]),
    ],
)
def test_a_parent_that_is_not_there_is_told(base: str, told: list[str], tmp_path: Path) -> None:
    message = complaint(tmp_path, child("", base))
    for piece in told:
        assert piece in message


def test_one_level_is_allowed(tmp_path: Path) -> None:
    written(tmp_path, child("", "partners"), "base.toml")
    assert "one level is allowed" in complaint(tmp_path, child(""))


def test_a_parent_must_be_named_in_text(tmp_path: Path) -> None:
    assert "extends must be" in complaint(tmp_path, 'schema = 1\nname = "child"\nextends = 3\n')


def test_a_file_of_the_users_is_not_taken_for_a_built_in_one(tmp_path: Path) -> None:
    """A path that ends in .toml is a file, whatever its name."""
    file = written(tmp_path, SMALL, "partners.toml")
    assert load(file)[0].name == "small"


def test_a_scenario_of_an_unreadable_setting_changes_nothing(tmp_path: Path) -> None:
    file = written(tmp_path, SMALL)
    with pytest.raises(ScenarioError):
        load(file, ["run.block=0"])
    assert load(file)[0].run.block == 20
