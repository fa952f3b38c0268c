"""Scenario files changed at random: either a valid scenario, or errors that name the file, in little time."""

import random
import string
import time
from pathlib import Path

import pytest
from commands import simtrial
from tomls import SMALL

from simtrial.errors import ScenarioError
from simtrial.scenario import load

PIECES = [
    "[", "]", "[[", "]]", "{", "}", '"', "'", '"""', "=", ".", ",", "#", "\n", "\\", "true", "inf", "nan", "-1",
    "1e400", "0x1f", "2020-01-01", "[run]", "[[methods]]", "[vary.cross]", "extends = 'partners'", "kind = 'lmm'",
    "\u202e", "[mechanism.generator]", "a" * 300, "9" * 400, "[" * 40, "a." * 40, "\x00", "é",
]  # fmt: skip
MANY = pytest.param(10_000, marks=[pytest.mark.verify, pytest.mark.slow])


def changed(text: str, rng: random.Random) -> str:
    """Text with a few pieces deleted, doubled, exchanged or put in."""
    for _ in range(rng.randrange(1, 5)):
        at, end = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        end = min(end, at + rng.choice((1, 3, 20, 200)))
        piece = text[at:end]
        what = rng.randrange(5)
        if what == 0:
            text = text[:at] + text[end:]
        elif what == 1:
            text = text[:end] + piece * rng.randrange(1, 4) + text[end:]
        elif what == 2:
            text = text[:at] + rng.choice(PIECES) + text[at:]
        elif what == 3:
            lines = text.split("\n")
            a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
            lines[a], lines[b] = lines[b], lines[a]
            text = "\n".join(lines)
        else:
            text = text[:at] + "".join(rng.choices(string.printable, k=rng.randrange(1, 8))) + text[end:]
        text = text or "x"
    return text


def complaint(file: Path) -> str | None:
    """What the loader says of a file, None of a valid one."""
    try:
        load(str(file))
    except ScenarioError as error:
        return str(error)
    return None


@pytest.mark.parametrize("count", [300, MANY], ids=["some", "many"])
def test_a_changed_file_is_valid_or_refused_with_its_name(count: int, tmp_path: Path) -> None:
    rng, file = random.Random(count), tmp_path / "fuzz.toml"
    valid, longest = 0, 0.0
    load("partners")
    for number in range(count):
        text = changed(SMALL, rng)
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
        begun = time.process_time()
        told = complaint(file)
        valid += told is None
        assert told is None or "fuzz.toml" in told, (number, text)
        assert told is None or len(told.splitlines()) <= 101
        longest = max(longest, time.process_time() - begun)
    print(f"{count} scenario files: {valid} valid, {count - valid} refused; longest {1000 * longest:.0f} ms of CPU")
    assert 0 < valid < count


@pytest.mark.parametrize("count", [10, pytest.param(300, marks=[pytest.mark.verify])], ids=["some", "many"])
def test_by_the_command_line(count: int, tmp_path: Path) -> None:
    rng, file = random.Random(7), tmp_path / "fuzz.toml"
    codes = []
    for _ in range(count):
        file.write_bytes(changed(SMALL, rng).encode("utf-8", "surrogatepass"))
        how = ("--replicates", 1, "--max-time", "0s", "--engine", "serial")
        found = simtrial("run", file, "-o", tmp_path / "run", *how)
        codes.append(found.code)
        assert found.code in (0, 2), found.err
    assert set(codes) == {0, 2} or count < 50


HOSTILE = {
    "nested lists": "a = " + "[" * 5000 + "]" * 5000,
    "nested tables": "a = " + "{a = " * 3000 + "1" + "}" * 3000,
    "a deep key": ".".join("a" * 5000) + " = 1",
    "a deep header": "[" + ".".join("a" * 5000) + "]",
    "half a list": "a = " + "[" * 5000,
    "half a text": "a = " + '"' * 5001,
    "2,000 unknown keys": 'name = "x"\n[mechanism.practices]\n' + "".join(f"unknown{i} = 1\n" for i in range(2000)),
    "2,000 unknown tables": "".join(f"[unknown{i}]\n" for i in range(2000)),
    "2,000 wrong methods": "".join(f'[[methods]]\nname = "m{i}"\nkind = "lmn"\n' for i in range(2000)),
    "too many cells": 'extends = "partners"\nname = "x"\n[vary.cross]\n'
    + "".join(f'"mechanism.outcomes.mansa.{key}" = {list(range(300))}\n' for key in ("icc", "effect", "mean")),
    "a large file": "# " + "x" * 600_000,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_refused_in_little_time(what: str, tmp_path: Path) -> None:
    file = tmp_path / "hostile.toml"
    file.write_text(HOSTILE[what])
    load("partners")
    begun = time.process_time()
    with pytest.raises(ScenarioError, match=r"hostile\.toml"):
        load(str(file))
    print(f"{what}: {1000 * (time.process_time() - begun):.0f} ms of CPU")
