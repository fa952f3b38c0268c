"""What scenario files and commands can name, read from the source: nothing that computes is imported for a list."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent

Entry = tuple[str, str]
"""A name, and its meaning in a line."""

_REGISTERED = re.compile(r'^@register\w*\("([^"]+)"\)\n(?:@.*\n)*(?:class|def) [^\n]+:\n    """(.*)$', re.MULTILINE)
_MEASURE = re.compile(r'^def ([a-z]\w*)\([^\n]*\) -> (?:Value|Share|Width):\n    """(.*)$', re.MULTILINE)


def catalogue() -> Iterator[tuple[str, str, str]]:
    """Kind, name and meaning of everything there is, in the order in which it is listed."""
    sections = {
        "scenario": [(name, _title(name)) for name in builtin_names()],
        "generator": _registered("generate/generators/*.py"),
        "method": _registered("estimators/*.py", "estimators/compliers/*.py"),
        "imputation": _registered("estimators/imputation/*.py"),
        "estimand": _table("estimands/estimand.py", "MEANINGS"),
        "measure": [e for file in ("measures", "robust", "paired") for e in _measures(f"performance/{file}.py")],
        "flag": _table("flags.py", "CAUSES"),
    }
    return ((what, name, meaning) for what, entries in sections.items() for name, meaning in entries)


def builtin_folder() -> Path:
    """Folder of the scenarios that come with the program."""
    inside = PACKAGE / "scenarios"
    return inside if inside.is_dir() else PACKAGE.parent / "scenarios"


def builtin_names() -> list[str]:
    """Names of the built-in scenarios, e.g. partners, verify/null-39."""
    folder = builtin_folder()
    return sorted(str(f.relative_to(folder).with_suffix("")).replace("\\", "/") for f in folder.rglob("*.toml"))


def _title(name: str) -> str:
    """Title of a built-in scenario, which stands above its tables."""
    text = (builtin_folder() / f"{name}.toml").read_text(encoding="utf-8")
    return str(tomllib.loads(re.split(r"^\[", text, maxsplit=1, flags=re.MULTILINE)[0])["title"])


def _registered(*patterns: str) -> list[Entry]:
    """Everything that the files of a package register, sorted by name."""
    files = [file for pattern in patterns for file in PACKAGE.glob(pattern)]
    return sorted(entry for file in files for entry in _entries(_REGISTERED, file))


def _measures(file: str) -> list[Entry]:
    """Measures that a file defines, in its order."""
    return _entries(_MEASURE, PACKAGE / file)


def _entries(pattern: re.Pattern[str], file: Path) -> list[Entry]:
    found = pattern.findall(file.read_text(encoding="utf-8"))
    return [(name, line.removesuffix('"""').strip().rstrip(".").replace("``", "")) for name, line in found]


def _table(file: str, name: str) -> list[Entry]:
    """Entries of a dictionary of texts that a file defines."""
    text = (PACKAGE / file).read_text(encoding="utf-8")
    found = re.search(rf"^{name}\b[^=\n]*= (\{{.*?^\}})", text, re.MULTILINE | re.DOTALL)
    assert found is not None, name
    return [(str(key), str(value)) for key, value in ast.literal_eval(found[1]).items()]
