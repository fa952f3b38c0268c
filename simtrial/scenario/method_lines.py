"""Where each method stands in a scenario file: what annotations of code point at."""

from __future__ import annotations

import tomllib
from pathlib import Path

from simtrial.scenario.lines import find_lines


def method_lines(name: str) -> dict[str, tuple[str, int]]:
    """File and line of every method of a scenario file, or of the file beside it that it extends, by name.

    Empty where the scenario is no file that the user has, but a built-in one. The file was read and checked before.
    """
    file = Path(name)
    if not file.is_file():
        return {}
    text = file.read_bytes().decode("utf-8-sig")
    table = tomllib.loads(text)
    methods = table.get("methods")
    if isinstance(methods, list):
        names = {str(row.get("name")): ("methods", at, "name") for at, row in enumerate(methods)}
        lines = find_lines(text, names.values())
        return {method: (name, lines[path]) for method, path in names.items()}
    base = str(table.get("extends", ""))
    return method_lines(str(file.parent / base)) if base.endswith(".toml") else {}
