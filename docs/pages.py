"""Pages of the documentation that are made from the program: keys of scenario files, and every name."""

from collections.abc import Iterator
from typing import Any

from simtrial.catalogue import catalogue
from simtrial.scenario.json_schema import scenario_schema

Schema = dict[str, Any]
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def pages() -> dict[str, str]:
    """Text of each page by its file name."""
    return {"scenario-reference.md": scenario_reference(), "catalogue.md": names()}


def scenario_reference() -> str:
    """Every key of every table, from the JSON schema."""
    schema = scenario_schema()
    definitions = schema["definitions"]
    top = {key: option for key, option in schema["properties"].items() if "type" in option or "const" in option}
    lines = ["# Every key of a scenario file", "", "Made from the schema that `simtrial schema` prints. Keys without a"]
    lines += ["default that a table cannot do without are marked *required*; with `extends` they may be inherited.", ""]
    lines += [
        "## Above the first table",
        "",
        *_table({"properties": {k: v for k, v in top.items() if k not in TABLES}}),
    ]
    needed = schema["else"]["properties"]["mechanism"]["else"]["properties"]
    for name, table in definitions.items():
        if name == "method" or ("-" in name and not name.startswith(("method-", "generator-"))):
            continue
        inner = {k.removeprefix(f"{name}-"): v for k, v in definitions.items() if k.startswith(f"{name}-")}
        group, _, outcome = name.rpartition(".")
        demanded = needed.get(group, {}).get("properties", {}).get(outcome, {}) if group else needed.get(name, {})
        stated = {**table, "required": table.get("required") or demanded.get("required", [])}
        lines += [
            f"## {_heading(name)}",
            "",
            _escaped(table.get("description", "").partition("\n\n")[0]),
            "",
            *_table(stated),
        ]
        for part, more in inner.items():
            if name.startswith(("method-", "generator-")) and part == "random-intercept":
                continue
            lines += [f"### {_heading(name)}, `{part}`", "", *_table(more)]
    return "\n".join(lines) + "\n"


TABLES = ("mechanism", "methods", "design", "estimands", "published", "expect")
LISTS = ("estimands", "published", "expect")
OTHERS = ("aims", "performance", "run", "vary", "check", "margins", "design")


def _heading(name: str) -> str:
    if name.startswith("method-"):
        return f"`[[methods]]`, kind `{name.removeprefix('method-')}`"
    if name.startswith("generator-"):
        return f"`[mechanism.generator]`, name `{name.removeprefix('generator-')}`"
    if name in LISTS:
        return f"`[[{name}]]`"
    return f"`[{name}]`" if name in OTHERS else f"`[mechanism.{name}]`"


def _table(schema: Schema) -> list[str]:
    rows = ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
    needed = schema.get("required", [])
    for key, option in schema.get("properties", {}).items():
        default = "*required*" if key in needed else _value(option["default"]) if "default" in option else ""
        meaning = _escaped(str(option.get("description", "")))
        rows.append(f"| `{key}` | {_kind(option)} | {default} | {meaning} |")
    return [*rows, ""]


def _kind(option: Schema) -> str:
    """What a key takes, in words."""
    if "const" in option:
        return _value(option["const"])
    if "enum" in option:
        return ", ".join(map(_value, option["enum"]))
    if "anyOf" in option:
        return " or ".join(dict.fromkeys(_kind(one) for one in option["anyOf"]))
    if "$ref" in option or "allOf" in option:
        return "a table"
    if option.get("type") == "array":
        items = option.get("items")
        return f"list of {_kind(items)}" if isinstance(items, dict) else "list"
    word = {
        "integer": "whole number",
        "string": "text",
        "boolean": "true, false",
        "object": "table",
        "number": "number",
    }
    bounds = [f"{sign} {option[key]:g}" for key, sign in BOUNDS.items() if key in option]
    return " ".join([word.get(str(option.get("type")), str(option.get("type", "value"))), ", ".join(bounds)]).strip()


def _value(value: object) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value in ("", [], {}):
        return ""
    return f"`{value}`"


def _escaped(text: str) -> str:
    words = " ".join(text.split())
    for letter in "\\`*_[]<>|":
        words = words.replace(letter, f"\\{letter}")
    return words


def names() -> str:
    """What `simtrial list` lists."""
    lines = ["# Everything that has a name", "", "As `simtrial list` prints it."]
    return "\n".join([*lines, *_listed()]) + "\n"


def _listed() -> Iterator[str]:
    kind = ""
    for what, name, meaning in catalogue():
        if what != kind:
            kind = what
            yield from ("", f"## {what.capitalize()}s", "", "| name | meaning |", "| --- | --- |")
        yield f"| `{name}` | {_escaped(meaning)} |"
