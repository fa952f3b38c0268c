"""The form of scenario and methods files as a JSON schema (draft-07), assembled from the models that check them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema

from simtrial.estimators import Method, kinds
from simtrial.estimators.imputation.engine import IMPUTATION_ENGINES
from simtrial.generate import REQUIRED, steps
from simtrial.generate.allocation.allocation import Allocation
from simtrial.generate.generators import generators
from simtrial.performance import MEASURES, PAIRED, SEEN
from simtrial.sample_size import Design
from simtrial.scenario.schema import LISTS, TABLES
from simtrial.scenario.tables import Head

Schema = dict[str, Any]
DRAFT = "http://json-schema.org/draft-07/schema#"
OWN = "#/$defs/"
"""How pydantic refers to what one model defines for itself."""

FILLED = frozenset({"response", "allocation"})
"""Keys of methods and estimands that the file fills in where they are not stated."""


def scenario_schema() -> Schema:
    """Schema of scenario files; keys that a file may inherit by ``extends`` are demanded only without it."""
    found = _Definitions()
    head = found.table(Head, "file")["properties"]
    stages, demanded = _mechanism(found)
    properties: Schema = {
        **head,
        "extends": {"type": "string", "description": "built-in scenario, or .toml file beside this one, to start from"},
        "mechanism": stages,
        "methods": _methods(found),
        "design": found.reference(Design, "design"),
        **{name: found.reference(model, name) for name, model in TABLES.items()},
        **{name: {"type": "array", "items": found.reference(model, name)} for name, model in LISTS.items()},
    }
    _name_measures(found.all)
    whole = {"required": ["name", "mechanism"], "properties": {"mechanism": demanded}}
    inherits = {"if": {"required": ["extends"]}, "else": whole}
    return _file("simtrial scenario", "A scenario: one TOML file.", properties, found, inherits)


def methods_schema() -> Schema:
    """Schema of methods files, for data of one's own."""
    found = _Definitions()
    categories = {
        "type": "object",
        "description": "categories of a column in their order, the reference first",
        "additionalProperties": {"type": "array", "minItems": 1, "items": {"type": ["string", "number"]}},
    }
    head = found.table(Head, "file")["properties"]
    allocation = _without(found.reference(Allocation, "allocation"), found, "allocation")
    properties = {**head, "methods": _methods(found), "allocation": allocation, "categories": categories}
    return _file(
        "simtrial methods", "Methods for data sets: one TOML file.", properties, found, {"required": ["methods"]}
    )


def _file(title: str, meaning: str, properties: Schema, found: _Definitions, more: Schema) -> Schema:
    """Schema of a whole file."""
    head = {"$schema": DRAFT, "title": title, "description": meaning, "type": "object"}
    return {**head, "properties": properties, "additionalProperties": False, **more, "definitions": found.all}


class _Definitions:
    """Definitions of tables, each by its name; what a model refers to stands beside them."""

    def __init__(self) -> None:
        self.all: dict[str, Schema] = {}

    def reference(self, model: type[BaseModel], name: str) -> Schema:
        """Define a table, and refer to it."""
        self.all[name] = self.table(model, name)
        return _to(name)

    def table(self, model: type[BaseModel], name: str) -> Schema:
        """Table of a model; without one that can be written down, any table."""
        try:
            raw = model.model_json_schema(by_alias=True)
        except PydanticInvalidForJsonSchema:  # an option of a plug-in of some type of its own
            return {"type": "object", "description": (model.__doc__ or "").strip()}
        for inner, schema in raw.pop("$defs", {}).items():
            if inner != "Method":
                self.all[f"{name}-{inner}"] = _draft7(schema, name)
        return {"title": name, **_draft7(raw, name)}


def _to(name: str) -> Schema:
    """A reference to a definition."""
    return {"$ref": f"#/definitions/{quote(name)}"}


def _draft7(schema: Any, owner: str) -> Any:
    """Rewrite what pydantic says in the words of draft-07: without null, which TOML lacks, and without odd titles."""
    if isinstance(schema, list):
        return [_draft7(one, owner) for one in schema]
    if not isinstance(schema, dict):
        return schema
    words = {key: _draft7(value, owner) for key, value in schema.items() if key not in ("title", "properties")}
    if "properties" in schema:
        words["properties"] = {key: _draft7(value, owner) for key, value in schema["properties"].items()}
    if "prefixItems" in words:
        words["items"] = words.pop("prefixItems")
    if words.get("default", 0) is None:
        del words["default"]
    if "anyOf" in words:
        left = [one for one in words["anyOf"] if one != {"type": "null"}]
        words = (
            {**words, "anyOf": left}
            if len(left) > 1
            else {**{k: v for k, v in words.items() if k != "anyOf"}, **left[0]}
        )
    if "$ref" in words:
        named = words.pop("$ref")
        target = _to(f"{owner}-{named.removeprefix(OWN)}") if named.startswith(OWN) else {"$ref": named}
        return {**words, "allOf": [target]} if words else target  # what stands beside a reference is not looked at
    if isinstance(words.get("description"), str):
        words["description"] = words["description"].replace("``", "'").strip()
    return words


def _mechanism(found: _Definitions) -> tuple[Schema, Schema]:
    """Schema of [mechanism], and what it must hold in a file that extends none."""
    stages: Schema = {}
    outcomes: Schema = {}
    demanded: Schema = {}
    for stage, model in steps().items():
        reference = found.reference(model, stage)
        needed = found.all[stage].pop("required", [])
        group, _, outcome = stage.rpartition(".")
        (outcomes if group else stages)[outcome] = reference
        if needed and not group:
            demanded[stage] = {"required": needed}
        elif needed:
            demanded.setdefault(group, {"properties": {}})["properties"][outcome] = {"required": needed}
    stages["outcomes"] = {"type": "object", "properties": outcomes, "additionalProperties": False}
    drawn = [found.reference(model, f"generator-{name}") for name, model in generators().items()]
    for name in generators():
        found.all[f"generator-{name}"].setdefault("required", []).append("name")
    stages["generator"] = {"description": "a class that draws whole trials, in place of the stages", "anyOf": drawn}
    by_stages = {"required": [*REQUIRED, "outcomes"], "properties": demanded}
    description = "the stages of a trial's life, or a generator"
    table = {"type": "object", "description": description, "properties": stages, "additionalProperties": False}
    return table, {"if": {"required": ["generator"]}, "else": by_stages}


def _methods(found: _Definitions) -> Schema:
    """Schema of [[methods]]: each kind with its options, `mi` with those of each engine as well."""
    names = []
    for kind, model in kinds().items():
        variants = _variants(kind, model)
        for name, variant in variants.items():
            table = found.table(variant, name)
            _analysis_inside(table)
            _of_engine(table, name, kind)
            table["properties"]["kind"] = {
                "const": kind,
                "description": table.get("description", "").partition("\n")[0],
            }
            found.all[name] = _without(table, found, name)
            found.all[name]["required"] = ["kind", *(k for k in table.get("required", []) if k not in ("kind", "name"))]
            names.append(name)
    found.all["method"] = {"anyOf": [{"$ref": f"#/definitions/{name}"} for name in names]}
    return {"type": "array", "items": {"allOf": [{"$ref": "#/definitions/method"}, {"required": ["name"]}]}}


def _variants(kind: str, model: type[Method]) -> Mapping[str, type[Method]]:
    """Models of a kind by the name of their definition; `mi` has one for each engine."""
    if "imputation" not in model.model_fields:
        return {f"method-{kind}": model}
    return {f"method-{kind}-{engine}": model.variant({"imputation": engine}) for engine in IMPUTATION_ENGINES.all()}


def _analysis_inside(table: Schema) -> None:
    """Let the method inside another be one of any kind; it takes its name and common options from that around it."""
    if "analysis" in table.get("properties", {}):
        described = table["properties"]["analysis"].get("description", "")
        table["properties"]["analysis"] = {"description": described, "allOf": [_to("method")]}


def _of_engine(table: Schema, name: str, kind: str) -> None:
    """Tie the options of an engine to its name; the default engine need not be named."""
    option = table.get("properties", {}).get("imputation")
    if option is None:
        return
    engine = name.removeprefix(f"method-{kind}-")
    if engine != option.pop("default", None):
        table.setdefault("required", []).append("imputation")
    option["const"] = engine


def _without(table: Schema, found: _Definitions, name: str) -> Schema:
    """A table of which the file fills in some keys; a reference is followed to what it refers to."""
    target = found.all[name] if "$ref" in table else table
    if "required" in target:
        target["required"] = [key for key in target["required"] if key not in FILLED]
    return table


def _name_measures(definitions: dict[str, Schema]) -> None:
    """Offer the names of measures where one is wanted."""
    flags = {"type": "string", "pattern": f"^({'|'.join(SEEN)})"}
    names = {"anyOf": [{"enum": ["failures", *MEASURES, *PAIRED]}, flags]}
    performance, expectation = definitions["performance"]["properties"], definitions["expect"]["properties"]
    performance["measures"] = {**performance["measures"], "items": names}
    expectation["measure"] = {"description": expectation["measure"]["description"], **names}
    estimands, vary = definitions["estimands"], definitions["vary"]
    estimands["required"] = [key for key in estimands["required"] if key not in FILLED]
    vary["properties"]["table"] = {"type": "string", "description": "CSV file of combinations, a column for each key"}
    for name, meaning in (("cross", "values of keys, in every combination"), ("zip", "values of keys, moved together")):
        paths = {"propertyNames": {"pattern": r"^(mechanism|design)\."}}
        vary["properties"][name] = {**vary["properties"][name], **paths, "description": meaning}
    vary["properties"]["exclude"]["description"] = "combinations that are left out"
