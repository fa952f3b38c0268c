"""Whatever is done to a scenario's text, loading it succeeds or ends in one ScenarioError."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tomls import SMALL

from simtrial.errors import ScenarioError
from simtrial.scenario import load
from simtrial.scenario.cells import expand

PARTNERS = (Path(__file__).parents[2] / "scenarios" / "partners.toml").read_text(encoding="utf-8")
LINES = PARTNERS.splitlines()
CHARACTERS = "=.[]{}\"'#,-+eE0123456789abnfTZ_\n\t \\é\x00"


def delete_line(lines: list[str], at: int, other: int, text: str) -> list[str]:
    return [*lines[:at], *lines[at + 1 :]]


def duplicate_line(lines: list[str], at: int, other: int, text: str) -> list[str]:
    return [*lines[: other + 1], lines[at], *lines[other + 1 :]]


def swap_lines(lines: list[str], at: int, other: int, text: str) -> list[str]:
    swapped = list(lines)
    swapped[at], swapped[other] = swapped[other], swapped[at]
    return swapped


def other_value(lines: list[str], at: int, other: int, text: str) -> list[str]:
    """Give one key the value of another line."""
    key, value = lines[at].partition("=")[0], lines[other].partition("=")[2]
    return [*lines[:at], f"{key}={value}", *lines[at + 1 :]]


def odd_value(lines: list[str], at: int, other: int, text: str) -> list[str]:
    odd = ("", "nan", "-inf", "1e400", "[]", "{}", '""', "true", "1979-05-27", "-1", "10" * 30, "[[1], {a = 1}]", "''")
    return [*lines[:at], f"{lines[at].partition('=')[0]}= {odd[other % len(odd)]}", *lines[at + 1 :]]


def insert_text(lines: list[str], at: int, other: int, text: str) -> list[str]:
    place = other % (len(lines[at]) + 1)
    return [*lines[:at], lines[at][:place] + text + lines[at][place:], *lines[at + 1 :]]


def cut_characters(lines: list[str], at: int, other: int, text: str) -> list[str]:
    place = other % (len(lines[at]) + 1)
    return [*lines[:at], lines[at][:place] + lines[at][place + len(text) :], *lines[at + 1 :]]


WAYS = (delete_line, duplicate_line, swap_lines, other_value, odd_value, insert_text, cut_characters)
EDIT = st.tuples(
    st.sampled_from(WAYS), st.integers(0, 400), st.integers(0, 400), st.text(CHARACTERS, min_size=1, max_size=3)
)
MEANT = [i for i, line in enumerate(LINES) if line.strip() and not line.startswith("#")]


def loads_or_complains(text: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "fuzzed.toml"
        file.write_text(text, encoding="utf-8")
        return loads_cleanly(str(file))


def loads_cleanly(name: str, *sets: str) -> bool:
    message = ""
    try:
        scenario, cells = load(name, sets)
    except ScenarioError as error:
        message = str(error)
    else:
        assert expand(scenario)[0] == cells
        return True
    assert message.strip()
    return False


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.lists(EDIT, min_size=1, max_size=3))
def test_edited_lines_of_partners(edits: list[tuple[object, int, int, str]]) -> None:
    lines = LINES
    for way, at, other, text in edits:
        # half of the edits go to the first hundred lines that say something, where the mechanism is
        at, other = (MEANT[i % 100] if i % 2 else i % len(lines) for i in (at, other))
        lines = way(lines, min(at, len(lines) - 1), min(other, len(lines) - 1), text)  # type: ignore[operator]
    loads_or_complains("\n".join(lines) + "\n")


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.text(CHARACTERS, max_size=40), st.integers(0, len(SMALL)))
def test_a_piece_of_text_anywhere(piece: str, at: int) -> None:
    loads_or_complains(SMALL[:at] + piece + SMALL[at:])


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    st.sampled_from(["run.seed", "name", "methods", "mechanism", "mechanism.practices.regions", "vary.cross", "extends",
                     "mechanism.outcomes.mansa.effect_among", "estimands", "published", "performance.measures"]),
    st.text(CHARACTERS, max_size=12),
)  # fmt: skip
def test_any_value_of_a_setting(path: str, value: str) -> None:
    loads_cleanly("partners", f"{path}={value}")


@pytest.mark.parametrize(("text", "loads"), [(PARTNERS, True), (PARTNERS.replace("number = 39", "number = 1"), False)])
def test_the_check_itself_tells_good_from_bad(text: str, loads: bool) -> None:
    assert loads_or_complains(text) == loads
