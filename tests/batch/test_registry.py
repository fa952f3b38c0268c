"""What has a name is entered once: a second entry is refused and names both places, the same one made again is fine."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from simtrial.errors import SimtrialError
from simtrial.registry import Registry

ROOT = Path(__file__).parents[2]
METHOD = """
from simtrial import plain_method

@plain_method("{kind}")
def {name}(trial):
    '''Nothing.'''
    return {{"estimate": 0.0}}
"""
BATCHED = """
from simtrial import Method, register

@register("{kind}")
class {name}(Method):
    '''Nothing.'''
    kind: str = "{kind}"
"""
GENERATOR = """
from simtrial import Generator, register_generator

@register_generator("{kind}")
class {name}(Generator):
    '''Nothing.'''
"""
IMPUTATION = """
from simtrial import ImputationEngine, register_imputation

@register_imputation("{kind}")
class {name}(ImputationEngine):
    '''Nothing.'''
"""
ENGINE = """
from simtrial.run.engines import register_engine

@register_engine("{kind}")
def {name}(function, tasks, workers):
    yield from ()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A user's folder; what its plugins enter is forgotten afterwards."""
    from simtrial.estimators import METHODS
    from simtrial.estimators.imputation.engine import IMPUTATION_ENGINES
    from simtrial.generate.generators import GENERATORS
    from simtrial.run.engines import ENGINES

    registries = (METHODS, GENERATORS, IMPUTATION_ENGINES, ENGINES)
    before = [(dict(r.all()), set(sys.modules)) for r in registries]
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for registry, (found, modules) in zip(registries, before, strict=True):
        registry.found.clear()
        registry.found.update(found)
        for name in set(sys.modules) - modules:
            if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
                del sys.modules[name]


def load(*names):
    from simtrial.plugins.load import load_plugins

    return load_plugins([str(name) for name in names])


@pytest.mark.parametrize(("text", "kind", "home"), [
    (METHOD, "lmm", "lmm.py"), (METHOD, "mi", "mi.py"), (BATCHED, "iv", "iv.py"), (BATCHED, "icc", "icc.py"),
    (GENERATOR, "wang-2024", "wang_2024.py"), (ENGINE, "serial", "serial.py"),
    (IMPUTATION, "random-intercept", "random_intercept.py"), (ENGINE, "processes", "processes.py"),
])  # fmt: skip
def test_a_built_in_name_is_refused_with_both_places(folder, text, kind, home):
    (folder / "mine.py").write_text(text.format(kind=kind, name="Mine"))
    said = rf"--plugin mine.py: .*'{kind}' is registered twice, at .*{home}:\d+ \(built in\) and at .*mine.py:\d+"
    with pytest.raises(SimtrialError, match=said):
        load("mine.py")
    with pytest.raises(SimtrialError, match=said):  # and again: a plugin that failed is not taken for one that loaded
        load("mine.py")


def test_a_built_in_name_is_refused_whatever_is_loaded_first(folder):
    """A fresh process, in which no built-in method was looked for yet."""
    (folder / "mine.py").write_text(BATCHED.format(kind="lmm", name="Mine"))
    command = [sys.executable, "-c", "import mine"]
    path = os.pathsep.join([str(folder), str(ROOT)])  # the program need not be installed
    clean = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=clean)
    assert done.returncode == 1
    assert "kind of method 'lmm' is registered twice" in done.stderr


@pytest.mark.parametrize("text", [METHOD, BATCHED, GENERATOR, IMPUTATION, ENGINE])
@pytest.mark.parametrize("second", ["mine", "theirs"])
def test_two_plugins_cannot_take_one_name(folder, text, second):
    """Nor can two files of one name in two folders."""
    for name in ("one/mine.py", f"two/{second}.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text.format(kind="own", name="Mine"))
    load("one/mine.py")
    with pytest.raises(SimtrialError, match=rf"one/mine.py:\d+ and at .*two/{second}.py:\d+"):
        load(f"two/{second}.py")


@pytest.mark.parametrize("text", [METHOD, BATCHED, GENERATOR, IMPUTATION, ENGINE])
@pytest.mark.parametrize("name", ["Mine", "Other"])
def test_one_plugin_cannot_take_a_name_twice(folder, text, name):
    (folder / "mine.py").write_text(text.format(kind="own", name="Mine") + text.format(kind="own", name=name))
    with pytest.raises(SimtrialError, match=r"mine.py:4 and at .*mine.py:\d+"):
        load("mine.py")


@pytest.mark.parametrize("text", [METHOD, BATCHED, GENERATOR, IMPUTATION, ENGINE])
def test_the_same_plugin_loads_again(folder, text):
    """By the same name, by another, by a link, by hand, and after an edit that moved its lines."""
    (folder / "mine.py").write_text(text.format(kind="own", name="Mine"))
    (folder / "linked.py").symlink_to("mine.py")
    load("mine.py", "mine.py", "./mine.py", folder / "mine.py", "mine", "linked.py")
    importlib.reload(sys.modules["mine"])
    (folder / "mine.py").write_text("\n# Longer than it was.\n" + text.format(kind="own", name="Mine"))
    os.utime(folder / "mine.py", (1e9, 1e9))
    importlib.reload(sys.modules["mine"])


def test_two_files_of_one_name_are_two_plugins(folder):
    from simtrial.estimators import kinds

    for name in ("one", "two"):
        (folder / name).mkdir()
        (folder / name / "mine.py").write_text(METHOD.format(kind=name, name="mine"))
    load("one/mine.py", "two/mine.py")
    assert {"one", "two"} <= set(kinds())


def test_a_cell_of_a_notebook_runs_again():
    registry: Registry[object] = Registry("thing", "simtrial.run.engines")
    for cell in ("<cell 1>", "<cell 2>"):
        space = {"__name__": "notebook", "registry": registry}
        exec(compile("def mine(): pass\nregistry.enter('own', mine)", cell, "exec"), space)
    with pytest.raises(SimtrialError, match="registered twice, at <cell 2>:2 and at <cell 3>:2"):
        exec(compile("def other(): pass\nregistry.enter('own', other)", "<cell 3>", "exec"), space)


def test_nothing_built_in_is_lost():
    from simtrial.estimators import kinds
    from simtrial.estimators.imputation.engine import IMPUTATION_ENGINES
    from simtrial.generate.generators import generators
    from simtrial.run.engines import ENGINES

    places = (
        (kinds(), "estimators"), (IMPUTATION_ENGINES.all(), "estimators/imputation"),
        (generators(), "generate/generators"), (ENGINES.all(), "run/engines"),
    )  # fmt: skip
    for found, package in places:
        text = "".join(f.read_text(encoding="utf-8") for f in (ROOT / "simtrial" / package).rglob("*.py"))
        for name in found:
            assert f'("{name}")' in text


def test_every_engine_is_offered_under_the_name_of_its_file():
    from simtrial.run.engines import ENGINES, engine_names

    assert engine_names() == sorted(ENGINES.all())
