"""Tables in a pipe or a file: as wide as $COLUMNS says, or 120, and nothing is lost on the way."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import program, simtrial
from runs import go, quick
from tomls import SMALL

from simtrial.run import cost, implied, memory, probe
from simtrial.scenario import load

__all__ = ["quick"]


def once(measure: Callable[..., Any]) -> Callable[..., Any]:
    """Measure each scenario once; the first argument is the scenario, its cells or one of them."""
    known: dict[str, Any] = {}

    def measured(first: Any, *rest: Any) -> Any:
        one = first[0] if isinstance(first, list) else first
        name = getattr(one, "scenario", one).name
        if name not in known:
            known[name] = measure(first, *rest)
        return known[name]

    return measured


@pytest.fixture(scope="module")
def measured_once() -> Iterator[None]:
    """What `show` simulates and times takes a second, and does not depend on the width."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((cost, "cost"), (memory, "predicted"), (implied, "implied_cells"),
                             (probe, "probe"), (probe, "power_rows")):  # fmt: skip
            patch.setattr(module, name, once(getattr(module, name)))
        yield


def widest(text: str) -> int:
    return max(len(line.rstrip()) for line in text.splitlines())


@pytest.mark.usefixtures("measured_once")
@pytest.mark.parametrize(("columns", "room"), [(None, 120), ("90", 90), ("200", 200), ("0", 120), ("wide", 120)])
@pytest.mark.parametrize("command", [("show", "partners"), ("show", "partners-design"), ("list",)], ids=str)
def test_lines_keep_to_the_width(
    command: tuple[str, ...], columns: str | None, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if columns is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", columns)
    found = simtrial(*command)
    assert found.code == 0
    assert widest(found.out) <= room
    assert widest(found.out) > 0.7 * min(room, 150)


def test_the_same_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert widest(program("show", "partners").out) <= 120


@pytest.mark.usefixtures("quick")
def test_performance_is_printed_whole_however_narrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers of every method, in tables below each other where they do not fit beside each other."""
    go(tmp_path / "run", text=SMALL)
    wide, narrow = [], []
    for columns, numbers in (("400", wide), ("70", narrow)):
        monkeypatch.setenv("COLUMNS", columns)
        text = simtrial("summarise", tmp_path / "run").out
        assert widest(text) <= int(columns)
        numbers += sorted(re.findall(r"-?\d+\.\d+ \(\d+\.\d+\)", text))
    assert wide == narrow
    assert len(wide) == 3 * 8


@pytest.mark.usefixtures("measured_once")
def test_every_key_can_be_searched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are not broken over lines, and every word of values and meanings is there."""
    monkeypatch.delenv("COLUMNS", raising=False)
    text = simtrial("show", "partners").out
    scenario, _ = load("partners")
    for stage, step in scenario.mechanism.items():
        for name, field in type(step).model_fields.items():
            assert re.search(rf"^ mechanism\.{re.escape(f'{stage}.{name}')} ", text, re.MULTILINE), name
            assert set((field.description or "").split()) <= set(text.split()), name
