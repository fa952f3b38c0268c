"""Values of Python as TOML writes them."""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as draw

from simtrial.errors import ScenarioError
from simtrial.scenario.toml_text import read_toml, toml_value

TEXTS = draw.text(draw.characters(codec="utf-8"), max_size=20)
VALUES = draw.recursive(
    draw.booleans() | draw.integers(-(2**63), 2**63 - 1) | draw.floats(allow_nan=False) | TEXTS,
    lambda inner: draw.lists(inner, max_size=4) | draw.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert tomllib.loads(f"x = {toml_value(value)}")["x"] == value


def test_numbers_of_numpy_and_tuples() -> None:
    assert [toml_value(v) for v in (np.float64(0.1), np.int64(3), np.bool_(True), (1, 2))] == [
        "0.1",
        "3",
        "true",
        "[1, 2]",
    ]


def test_what_toml_cannot_write_is_refused() -> None:
    with pytest.raises(ScenarioError, match="no value of a scenario"):
        toml_value(object())


def test_a_decimal_comma_is_recognised(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("[x]\nicc = 0,05  # comma\n", encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"a\.toml:2: not valid TOML: .*; decimals .* with a point: 0\.05$"):
        read_toml(file, "a.toml")
    file.write_text("[x]\nicc = 0.05 0,05\n", encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"column \d+\)$"):
        read_toml(file, "a.toml")
