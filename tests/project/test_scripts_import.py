"""What the scripts beside the package import from it is there; they run too seldom for a wrong name to show itself."""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(
    path.relative_to(ROOT).as_posix() for folder in ("bench", "docs") for path in (ROOT / folder).glob("*.py")
)


def imported(script):
    """(module, name) of every import from simtrial, those inside functions included, one in `except` aside."""
    tree = ast.parse((ROOT / script).read_text(encoding="utf-8"))
    older = {id(node) for each in ast.walk(tree) if isinstance(each, ast.ExceptHandler) for node in ast.walk(each)}
    for node in ast.walk(tree):
        if id(node) not in older and isinstance(node, ast.ImportFrom) and (node.module or "").startswith("simtrial"):
            yield from ((node.module, alias.name) for alias in node.names)


@pytest.mark.parametrize("script", SCRIPTS)
def test_names_that_a_script_imports_are_there(script):
    for module, name in imported(script):
        found = importlib.import_module(module)
        assert hasattr(found, name) or importlib.util.find_spec(f"{module}.{name}"), f"{script}: {module}.{name}"
