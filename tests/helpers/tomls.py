"""A small scenario as text, and what the loader says of changed copies of it."""

from pathlib import Path

import pytest

from simtrial.errors import ScenarioError
from simtrial.scenario import load

SMALL = """\
schema = 1
name = "small"
title = "Twelve practices, quick to analyse"

[aims]
question = "Does it work?"

[mechanism.practices]
number = 12
cluster_size_mean = 5.0
cluster_size_cv = 0.62
regions = { North = 2, South = 1 }

[mechanism.baseline]
icc = 0.08

[mechanism.allocation]
method = "minimisation"
factors = ["region", "practice_size"]

[mechanism.delivery]

[mechanism.outcomes.mansa]
effect = 0.3
effect_among = "sessions >= 6"
icc = 0.1

[mechanism.dropout]
rate = 0.15
engagement_correlation = -0.2

[mechanism.missingness]
followup = 0.02

[[estimands]]
name = "itt"
kind = "itt"

[[estimands]]
name = "cace"
kind = "cace"
received = "sessions >= 6"

[[methods]]
name = "mixed model"
kind = "lmm"
estimand = "itt"
adjust = ["mansa_baseline"]

[[methods]]
name = "two-stage least squares"
kind = "iv"
estimand = "cace"
received = "sessions >= 6"
adjust = ["mansa_baseline"]

[[methods]]
name = "imputed"
kind = "mi"
estimand = "itt"
m = 2
adjust = ["mansa_baseline"]
auxiliary = ["sessions"]
analysis = { kind = "ols" }

[run]
replicates = 100
seed = 5
block = 20
"""


def head(name: str, number: int, size: float, cv: float) -> str:
    """The beginning of a scenario that is as quick as can be: complete randomisation, a plain outcome, one estimand."""
    return f"""\
schema = 1
name = "{name}"
[mechanism.practices]
number = {number}
cluster_size_mean = {size}
cluster_size_cv = {cv}
[mechanism.allocation]
method = "complete"
[mechanism.outcomes.mansa]
baseline_slope = 0.0
items = 0
[[estimands]]
name = "itt"
kind = "itt"
"""


def changed(old: str, new: str, text: str = SMALL) -> str:
    """Replace a piece of a scenario that occurs in it."""
    assert old in text
    return text.replace(old, new, 1)


def written(folder: Path, text: str, name: str = "trial.toml") -> str:
    """Write a scenario and return the file's name."""
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return str(file)


def complaint(folder: Path, text: str, *sets: str) -> str:
    """What the loader says of a scenario that it must refuse; the folder is left out of the message."""
    file = written(folder, text)
    with pytest.raises(ScenarioError) as caught:
        load(file, sets)
    assert caught.value.exit_code == 2
    return str(caught.value).replace(f"{folder}/", "")


def line_of(text: str, piece: str) -> int:
    """Number of the line that holds a piece of a text."""
    return text[: text.index(piece)].count("\n") + 1
