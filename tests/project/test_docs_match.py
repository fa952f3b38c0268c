"""Pages about methods, measures and flags say all that the program has, once."""

import re
import typing
from pathlib import Path

import pytest

from simtrial.estimators import Method, kinds
from simtrial.figures import kind_names
from simtrial.flags import CAUSES

DOCS = Path(__file__).parents[2] / "docs"
METHODS = (DOCS / "methods.md").read_text(encoding="utf-8")
AS_OLS = {"se", "df"}  # options of iv, explained there by those of ols


def section(kind: str) -> str:
    """Section of a kind of method."""
    found = [s for s in re.split(r"^## ", METHODS, flags=re.M) if s.startswith(f"`{kind}`")]
    assert len(found) == 1, f"docs/methods.md needs one section '## `{kind}`'"
    return found[0]


@pytest.mark.parametrize("kind", [k for k, m in kinds().items() if m.__module__.startswith("simtrial.")])
def test_every_option_of_a_method_and_every_value_of_it_has_its_line(kind: str) -> None:
    text, absent = section(kind), []
    for name, option in kinds()[kind].variant({}).model_fields.items():
        if name in Method.model_fields or (kind == "iv" and name in AS_OLS):
            continue
        said = [option.alias or name, *(v for v in typing.get_args(option.annotation) if isinstance(v, str))]
        absent += [word for word in said if f"`{word}`" not in text]
    assert not absent


def test_every_common_option_has_its_line() -> None:
    assert [name for name in Method.model_fields if f"`{name}`" not in METHODS] == []


def test_every_flag_is_named_under_flags() -> None:
    text = METHODS[METHODS.index("## Flags") :]
    assert [name for name in CAUSES if f"`{name}`" not in text] == []


def test_no_row_of_a_table_stands_twice() -> None:
    """Neither whole rows nor, within one table, the words that a row is about."""
    for page in DOCS.glob("*.md"):
        for table in re.findall(r"(?:^\|.*\n)+", page.read_text(encoding="utf-8"), flags=re.M):
            rows = [row for row in table.splitlines() if not re.fullmatch(r"[|\-: ]+", row)]
            assert len(rows) == len(set(rows)), page.name
        if page.name in ("methods.md", "measures.md"):
            text = page.read_text(encoding="utf-8")
            for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.M):
                named = [row.split("|")[1].strip() for row in table.splitlines()]
                named = [name for name in named if name.startswith("`")]
                twice = {n for n in named if named.count(n) > 1}
                assert twice <= {"`lmm`", "`ols`"}, (page.name, twice)  # the table of joint tests, by kind and df


def test_every_table_follows_a_blank_line() -> None:
    """Else it is no table."""
    for page in DOCS.glob("*.md"):
        lines = page.read_text(encoding="utf-8").splitlines()
        for before, line in zip(["", *lines], lines, strict=False):
            if line.startswith("|") and not before.startswith("|"):
                assert before == "" or before.startswith("<!-- numbers:"), f"{page.name}: {line[:60]}"


@pytest.mark.parametrize("name", kind_names())
def test_every_figure_has_a_section_and_a_small_picture(name: str) -> None:
    text = (DOCS / "figures.md").read_text(encoding="utf-8")
    assert text.count(f"\n## `{name}`\n") == 1
    assert f"![{name}](figures/{name}.svg)" in text
    picture = (DOCS / "figures" / f"{name}.svg").read_bytes()
    assert 2_000 < len(picture) < 60_000
    assert b"<script" not in picture


def test_every_picture_is_made_by_the_script() -> None:
    script = (DOCS / "pictures.py").read_text(encoding="utf-8")
    files = {file.stem for file in (DOCS / "figures").glob("*.svg")}
    assert files == set(kind_names())
    assert all(f'"{name}": ' in script for name in files)
