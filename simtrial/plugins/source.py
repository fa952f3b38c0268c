"""The source of a plug-in: every file whose change may change its numbers."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path


def digest_of_source(file: Path, module: str) -> str:
    """SHA-256 of a plug-in's source: of its whole package, or of the file and of what it imports from beside it.

    Libraries that are installed elsewhere are not covered: their versions are in run.json where numbers depend on them.
    """
    package = module.partition(".")[0] if "." in module or file.name == "__init__.py" else ""
    root = next((p for p in file.parents if p.name == package), None) if package else None
    files = sorted(root.rglob("*.py")) if root is not None else sorted(_with_neighbours(file))
    base = (root or file).parent
    whole = hashlib.sha256()
    for one in files:
        whole.update(str(one.relative_to(base)).encode() + b"\0" + hashlib.sha256(one.read_bytes()).digest())
    return whole.hexdigest()


def _with_neighbours(file: Path) -> set[Path]:
    """A file and the modules and packages of its folder that it imports, and those that these import."""
    found, open_ = {file}, [file]
    while open_:
        for name in _imported(open_.pop()):
            beside = file.parent / f"{name}.py"
            new = [beside] if beside.is_file() else [*(file.parent / name).rglob("*.py")]
            open_ += [one for one in new if one not in found]
            found |= set(new)
    return found


def _imported(file: Path) -> Iterator[str]:
    """Names of the top-level modules that a file imports, wherever in it."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # it cannot be imported either
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ([(node.module or "").partition(".")[0]] if node.module else [a.name for a in node.names])
