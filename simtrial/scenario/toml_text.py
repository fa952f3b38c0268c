"""A TOML file as text and tables, refused in one message where it is neither small nor sound."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simtrial.errors import ScenarioError
from simtrial.scenario.lines import TEXTS

LARGEST, DEEPEST = 500_000, 20
"""Size of a scenario file in bytes, and depth to which its tables and lists may be nested."""


def read_toml(file: Path, shown: str) -> tuple[str, dict[str, Any]]:
    """Text and tables of a file; messages call it ``shown``."""
    try:
        if file.stat().st_size > LARGEST:
            raise ScenarioError(f"{shown}: larger than {LARGEST:,} bytes, which no scenario is")
        text = file.read_bytes().decode("utf-8-sig")
        if _too_deep(text):
            raise ScenarioError(f"{shown}: tables or lists nested more than {DEEPEST} deep")
        return text, tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{shown}: not UTF-8 text (byte {error.start + 1})") from None
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        where = f":{place[1]}" if place else ""
        raise ScenarioError(f"{shown}{where}: not valid TOML: {error}{_advice(text, place)}") from None
    except OSError as error:
        raise ScenarioError(f"{shown}: cannot be read ({error.strerror})") from None


def _advice(text: str, place: re.Match[str] | None) -> str:
    """What the line of a mistake probably means: a decimal comma."""
    line = text.split("\n")[int(place[1]) - 1] if place else ""
    comma = re.search(r"=\s*[+-]?(\d+),(\d+)\s*(?:#.*)?$", line)
    return f"; decimals are written with a point: {comma[1]}.{comma[2]}" if comma else ""


def _too_deep(text: str) -> bool:
    """Whether brackets or the parts of a dotted key go deeper than `DEEPEST`, texts and comments aside."""
    bare = TEXTS.sub("'", text)
    depth = deepest = 0
    for bracket in re.findall(r"[\[\]{}]", bare):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest > DEEPEST or re.search(rf"(?:[\w'-]+\s*\.\s*){{{DEEPEST},}}", bare) is not None


def toml_value(value: Any) -> str:
    """A value of Python as TOML writes it: what --set takes.

    Raises
    ------
    ScenarioError
        When TOML has no such value.
    """
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a number of numpy
        value = value.item()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return '"' + "".join(_escaped(letter) for letter in value) + '"'
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{toml_value(str(key))} = {toml_value(one)}" for key, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    raise ScenarioError(f"{value!r} is no value of a scenario: numbers, text, true and false, lists and tables are")


def _escaped(letter: str) -> str:
    """A letter as it stands in a text in quotes."""
    if letter in '"\\':
        return f"\\{letter}"
    return letter if letter >= " " and letter != "\x7f" else f"\\u{ord(letter):04x}"
