"""Generators of the user's own: the documentation's example, and what happens when one goes wrong."""

import re
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from simtrial.cli import cli
from simtrial.errors import ScenarioError, SimtrialError
from simtrial.estimands import true_values
from simtrial.generate import before_allocation, practices_per_trial, simulate
from simtrial.generate.generators import Drawn, Generator, Variable, generators, register_generator
from simtrial.plugins.load import load_plugins
from simtrial.scenario import load
from simtrial.store.reading import read_rows
from simtrial.testing import ContractError, check_generator

DOC = Path(__file__).parents[2] / "docs" / "own-generator.md"
CLASS, SCENARIO, CHECK = (text for _, text in re.findall(r"```(python|toml)\n(.*?)```", DOC.read_text(), re.S))
SMALL = SCENARIO.replace("replicates = 500", "replicates = 40\nblock = 20")


def run(*arguments):
    return CliRunner().invoke(cli, [*map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A user's folder with the documented files; what its plugins register is forgotten afterwards."""
    from simtrial.generate import generators as home

    before = dict(generators())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two_sizes.py").write_text(CLASS)
    (tmp_path / "two-sizes.toml").write_text(SMALL)
    yield tmp_path
    home._FOUND.clear()
    home._FOUND.update(before)
    for name in [n for n in sys.modules if n.startswith("simtrial_plugin_")]:
        del sys.modules[name]


def test_the_documented_generator_runs(folder):
    done = run("run", "two-sizes.toml", "-o", "out", "--plugin", "two_sizes.py")
    assert done.exit_code == 0
    rows, cells, _ = read_rows(folder / "out")
    assert rows.filter(status="ok").height == 2 * 2 * 40
    truths = {
        (f, e): (v, m) for f, e, v, m in cells.select("factors", "estimand", "true_value", "true_value_mcse").rows()
    }
    large = '{"mechanism.generator.effect_large": 0.5}'
    assert truths[large, "over practices"] == (0.25, 0.0)
    value, mcse = truths[large, "over people"]
    assert 0 < mcse < 0.001
    assert value == pytest.approx(0.5 * 100 / 120, abs=4.5 * mcse)


def test_it_is_the_same_in_worker_processes_and_after_an_interruption(folder):
    one = ("run", "two-sizes.toml", "--plugin", "two_sizes.py")
    assert run(*one, "-o", "one", "--engine", "serial").exit_code == 0
    assert run(*one, "-o", "two", "--replicates", "20", "--workers", "2").exit_code == 0
    assert run(*one, "-o", "two", "--workers", "2").exit_code == 0
    assert read_rows(folder / "one")[0].equals(read_rows(folder / "two")[0])


def test_a_run_is_not_continued_with_another_version(folder):
    run("run", "two-sizes.toml", "-o", "out", "--plugin", "two_sizes.py", "--replicates", "20")
    (folder / "two_sizes.py").write_text(CLASS + "\n# changed\n")
    with pytest.raises(SimtrialError, match="made with other plugins"):
        run("run", "two-sizes.toml", "-o", "out", "--plugin", "two_sizes.py")


def test_show_and_generate_know_it(folder):
    shown = run("show", "two-sizes.toml", "--plugin", "two_sizes.py", "--set", "mechanism.generator.icc=0.2")
    assert "mechanism.generator.icc" in shown.stdout
    assert run("generate", "two-sizes.toml", "-n", 2, "-o", "data", "--plugin", "two_sizes.py").exit_code == 0
    files = ("two-sizes-effect_large=0.0-000001.csv", "codebook.csv")
    trial, codes = (pl.read_csv(folder / "data" / name) for name in files)
    assert trial["practice"].n_unique() <= 30
    assert "y_if_control" not in trial.columns
    assert trial.filter(pl.col("followed_up") == 0)["y_followup"].null_count() == trial.filter(followed_up=0).height > 0
    assert dict(codes.select("name", "source").iter_rows())["y_followup"] == "mechanism.generator"


def test_documented_check(folder, monkeypatch):
    load_plugins(["two_sizes.py"])
    (module,) = (m for n, m in sys.modules.items() if n.startswith("simtrial_plugin_two_sizes"))
    monkeypatch.setitem(sys.modules, "two_sizes", module)
    exec(CHECK, {})


def test_without_the_plugin_a_scenario_imports_nothing(folder):
    with pytest.raises(ScenarioError, match=r"unknown generator 'two-sizes'.*load your own by --plugin"):
        load("two-sizes.toml")
    assert "two_sizes" not in sys.modules


@pytest.mark.parametrize("name", generators())
def test_built_in_generators_keep_the_contract(name):
    check_generator(name)


def test_they_are_listed():
    assert "wang-2024" in run("list", "--format", "csv").stdout


@pytest.mark.parametrize(("change", "told"), [
    (('icc = 0.1', 'icc = 1.5'), "two-sizes.toml:7: mechanism.generator.icc:"),
    (('icc = 0.1', 'iccc = 0.1'), "did you mean 'icc'"),
    (('name = "two-sizes"\nicc', 'icc'), "missing key 'name' .*wang-2024"),
    (('icc = 0.1', '[mechanism.dropout]\nrate = 0.1'), "mechanism.dropout: a generator draws the whole trial"),
    (('weights = "register_size"', 'weights = "arm"'), "'arm' comes after allocation"),
    (('weights = "register_size"', 'weights = "register"'), "not a number that every practice has"),
    (('response = "y"\nadjust', 'response = "z"\nadjust'), "unknown column 'z_followup'"),
    (('"mechanism.generator.effect_large" = [0.0, 0.5]', '"mechanism.generator.lost" = [0.0, 2.0]'), "lost"),
])  # fmt: skip
def test_mistakes_are_told_at_load(folder, change, told):
    load_plugins(["two_sizes.py"])
    (folder / "two-sizes.toml").write_text(SMALL.replace(*change))
    with pytest.raises(ScenarioError, match=told):
        load("two-sizes.toml")


def test_what_is_named_before_the_arm_is_known_before_allocation(folder):
    load_plugins(["two_sizes.py"])
    text = SMALL.replace('kind = "itt"\nresponse = "y"\nunit = "cluster"\nweights = "register_size"',
                         'kind = "subgroup"\nresponse = "y"\namong = "register_size == 100"')  # fmt: skip
    (folder / "two-sizes.toml").write_text(text)
    scenario, cells = load("two-sizes.toml")
    assert before_allocation(scenario.mechanism) == {"register_size"}
    assert practices_per_trial(scenario.mechanism) == 30
    found = {t.estimand: t for t in true_values(cells[-1].scenario.estimands, cells[-1].scenario.mechanism, 1, "")}
    assert (found["over people"].value, found["over people"].mcse) == (0.5, 0.0)
    (folder / "two-sizes.toml").write_text(text.replace("register_size == 100", "followed_up == 1"))
    with pytest.raises(ScenarioError, match="comes after allocation"):
        load("two-sizes.toml")


def test_a_replicate_can_be_drawn_again_and_blocks_differ(folder):
    load_plugins(["two_sizes.py"])
    mechanism = load("two-sizes.toml")[0].mechanism
    first, again = simulate(mechanism, 5, 1, "", 3), simulate(mechanism, 5, 1, "", 3)
    others = [simulate(mechanism, 5, *address) for address in ((2, "", 3), (1, "x", 3), (1, "", 4))]
    truth = simulate(mechanism, 5, 1, "", 3, purpose="true values: ")
    assert np.array_equal(first.at("y_followup"), again.at("y_followup"))
    assert all(not np.array_equal(first.at("y_followup"), o.at("y_followup")) for o in (*others, truth))


OUTCOMES = ("y_if_control", "y_if_intervention", "y_followup")


class Good(Generator):
    """Four practices of five people, no effect."""

    name: str = "good"

    def adds(self):
        people = {n: Variable("participant", "Outcome", latent=n != "y_followup") for n in OUTCOMES}
        kinds = Variable("practice", "Kind", categories=("a", "b"))
        return {"kind": kinds, "arm": Variable("practice", "Arm"), **people}

    def draw_trials(self, trials, rng):
        y = rng.standard_normal(20 * trials)
        columns = {"kind": np.tile([0, 0, 1, 1], trials), "arm": np.tile([0, 1, 0, 1], trials)}
        columns |= dict.fromkeys(OUTCOMES, y)
        return Drawn(np.full(trials, 4), np.full(4 * trials, 5), columns)


def test_the_good_one_passes():
    check_generator(Good())


def changed(**columns):
    def draw(self, trials, rng):
        drawn = Good.draw_trials(self, trials, rng)
        return drawn._replace(columns={**drawn.columns, **{n: f(drawn) for n, f in columns.items()}})

    return {"draw_trials": draw}


def promising(**more):
    return {"adds": lambda self: {**Good.adds(self), **more}}


@pytest.mark.parametrize(("broken", "told"), [
    (promising(age=Variable("participant", "Age")), "promised .*age.* and drew"),
    (promising(practice=Variable("practice", "Practice")), "which every data set has already"),
    (promising(z_if_control=Variable("participant", "z", latent=True)), "needs 'z_if_intervention'"),
    (promising(y_if_control=Variable("participant", "y")), "needs 'y_if_control' at participant level, latent"),
    (promising(arm=Variable("participant", "Arm")), "practice-level column 'arm'"),
    (promising(**{"a b": Variable("practice", "x")}), "letters, digits"),
    (promising(m=Variable("practice", "x", latent=True, hides=("y_followup",))), "must be an observed 0/1 number"),
    (changed(arm=lambda d: d.columns["arm"] + 1), "'arm' holds values other than 0 to 1"),
    (changed(kind=lambda d: d.columns["kind"] * 2), "'kind' holds values other than 0 to 1"),
    (changed(arm=lambda d: d.columns["arm"][1:]), "column 'arm' has shape"),
    (changed(y_followup=lambda d: d.columns["y_followup"] + 1), "not the potential outcome of the arm"),
    (changed(y_followup=lambda d: d.columns["y_followup"] * np.nan), "not numbers"),
    (changed(y_if_control=lambda d: np.random.default_rng().random(len(d.columns["y_followup"]))), "same stream"),
    (changed(**dict.fromkeys(OUTCOMES, lambda d: 0.0 * d.columns["y_followup"])), "nothing is drawn from rng"),
    ({"draw_trials": lambda self, trials, rng: Drawn(np.full(1, 4), np.full(4, 5), {})}, "one per trial"),
    ({"draw_trials": lambda self, trials, rng: Drawn(np.full(trials, 4), np.full(3, 5), {})}, "one per practice"),
    ({"draw_trials": lambda self, trials, rng: 1 / 0}, "draw_trials raised ZeroDivisionError"),
    ({"known": lambda self, estimand: 0.1}, "true value known of .* is 0.1, and simulation gives 0"),
])  # fmt: skip
def test_the_contract_names_the_rule_that_is_broken(broken, told):
    with pytest.raises(ContractError, match=told):
        check_generator(type("Broken", (Good,), broken)())


def test_a_built_in_name_cannot_be_taken():
    generators()
    with pytest.raises(SimtrialError, match=r"twice, at .*wang_2024.py:\d+ \(built in\) and at .*test_generators"):
        register_generator("wang-2024")(Good)
