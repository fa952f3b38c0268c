"""The JSON schema of scenario and methods files: what is sound fits it, and what is wrong does not."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from commands import simtrial
from tomls import SMALL, changed

from simtrial.catalogue import builtin_folder, builtin_names
from simtrial.errors import SimtrialError
from simtrial.estimators import kinds
from simtrial.generate import steps
from simtrial.scenario import load, load_methods
from simtrial.scenario.json_schema import methods_schema, scenario_schema

jsonschema = pytest.importorskip("jsonschema")
ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SCENARIOS = jsonschema.Draft7Validator(scenario_schema())
METHODS = jsonschema.Draft7Validator(methods_schema())


def test_they_are_schemas_of_draft_07() -> None:
    for command, validator in (("scenario", SCENARIOS), ("methods", METHODS)):
        jsonschema.Draft7Validator.check_schema(validator.schema)
        printed = simtrial("schema", command)
        assert json.loads(printed.out) == validator.schema
        assert "$comment" not in printed.out
        named = set(re.findall(r'"#/definitions/([^"]+)"', printed.out))
        assert named <= set(validator.schema["definitions"])
    assert json.loads(simtrial("schema").out) == SCENARIOS.schema


def test_every_key_is_described() -> None:
    def nameless(schema: Any, place: str) -> list[str]:
        found = []
        for key, option in schema.get("properties", {}).items():
            inner = f"{place}.{key}"
            found += nameless(option, inner)
            if "description" not in option and "$ref" not in option and "items" not in option and key != "outcomes":
                found.append(inner)
        return found

    definitions = SCENARIOS.schema["definitions"].items()
    assert [p for name, table in definitions for p in nameless(table, name) if not p.startswith("generator-")] == []
    assert nameless(SCENARIOS.schema, "") == []
    assert {
        f"method-{kind}"
        for kind, made in kinds().items()
        if kind != "mi" and made.__module__.startswith("simtrial.estimators.")
    } | set(steps()) <= SCENARIOS.schema["definitions"].keys()


@pytest.mark.parametrize("name", builtin_names())
def test_every_built_in_scenario_fits(name: str) -> None:
    SCENARIOS.validate(tomllib.loads((builtin_folder() / f"{name}.toml").read_text(encoding="utf-8")))


def test_every_file_in_the_documentation_that_loads_fits(tmp_path: Path) -> None:
    fitting = {"scenario": 0, "methods": 0}
    for page in PAGES:
        for number, text in enumerate(
            re.findall(r"^```toml\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
        ):
            file = tmp_path / f"{page.stem}{number}.toml"
            file.write_text(text, encoding="utf-8")
            for what, loads, validator in (("scenario", load, SCENARIOS), ("methods", load_methods, METHODS)):
                try:
                    loads(str(file))
                except (SimtrialError, tomllib.TOMLDecodeError):
                    continue
                if what == "methods" and re.search(r"^(extends|\[mechanism)", text, re.M):
                    continue  # a scenario, which stands for its methods
                fitting[what] += 1
                validator.validate(tomllib.loads(text))
    assert fitting["scenario"] >= 1
    assert fitting["methods"] >= 1


WRONG = {
    "a key misspelt": ("number = 12", "numbr = 12"),
    "a key that is missing": ("number = 12\n", ""),
    "a stage that is missing": (
        '[mechanism.allocation]\nmethod = "minimisation"\nfactors = ["region", "practice_size"]\n',
        "",
    ),
    "an unknown stage": ("[mechanism.dropout]", "[mechanism.drop_out]"),
    "an unknown outcome": ("[mechanism.outcomes.mansa]", "[mechanism.outcomes.mansia]"),
    "a number too large": ("rate = 0.15", "rate = 1.5"),
    "text for a number": ("number = 12", 'number = "12"'),
    "a value that is none of its words": ('method = "minimisation"', 'method = "minimization"'),
    "an unknown kind of method": ('kind = "lmm"', 'kind = "lm"'),
    "an option of another kind": ('kind = "lmm"', 'kind = "lmm"\nm = 20'),
    "a method without a name": ('name = "mixed model"\n', ""),
    "a wrong option of the method inside": ('analysis = { kind = "ols" }', 'analysis = { kind = "ols", se = "CR9" }'),
    "an unknown engine of imputation": ("m = 2", 'm = 2\nimputation = "chained"'),
    "an unknown kind of estimand": ('kind = "cace"', 'kind = "late"'),
    "an unknown table": ("[run]", "[runs]"),
    "a table for a number": ("replicates = 100", "replicates = { a = 1 }"),
    "a factor that is no key of the mechanism": ("[run]", '[vary.cross]\n"run.seed" = [1, 2]\n[run]'),
    "an unknown measure": ("[run]", '[performance]\nmeasures = ["bais"]\n[run]'),
}


@pytest.mark.parametrize(("old", "new"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_does_not_fit(tmp_path: Path, old: str, new: str) -> None:
    SCENARIOS.validate(tomllib.loads(SMALL))
    text = changed(old, new)
    (tmp_path / "wrong.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SimtrialError):
        load(str(tmp_path / "wrong.toml"))
    assert not SCENARIOS.is_valid(tomllib.loads(text))


def test_a_file_that_extends_another_may_say_little() -> None:
    assert SCENARIOS.is_valid({"name": "more", "extends": "partners", "mechanism": {"practices": {"number": 20}}})
    assert not SCENARIOS.is_valid({"name": "more", "mechanism": {"practices": {"number": 20}}})
    assert not SCENARIOS.is_valid({"extends": "partners", "mechanism": {"practices": {"numbr": 20}}})


def test_methods_files_are_no_scenarios() -> None:
    methods = {"primary": "mansa", "methods": [{"name": "a", "kind": "lmm"}], "categories": {"region": ["N", "S"]}}
    assert METHODS.is_valid(methods)
    assert not SCENARIOS.is_valid(methods)
    assert not METHODS.is_valid({"methods": [{"name": "a", "kind": "lmm", "imputation": "fcs"}]})
    assert not METHODS.is_valid({**methods, "categories": {"region": "N"}})


def test_methods_of_ones_own_are_in_it(tmp_path: Path) -> None:
    plugin = tmp_path / "own_schema.py"
    plugin.write_text(
        "import simtrial\n\n\n@simtrial.plain_method('own-of-schema')\n"
        'def own(trial, trim: float = 0.1):\n    """A mean of one\'s own."""\n    return {"estimate": 0.0}\n'
    )
    from simtrial.estimators.method import METHODS as REGISTERED

    try:
        found = json.loads(simtrial("schema", "methods", "--plugin", plugin).out)
        validator = jsonschema.Draft7Validator(found)
        assert validator.is_valid({"methods": [{"name": "a", "kind": "own-of-schema", "trim": 0.2}]})
        assert not validator.is_valid({"methods": [{"name": "a", "kind": "own-of-schema", "trim": "much"}]})
    finally:
        REGISTERED.found.pop("own-of-schema")
