"""Hand-made observed trials that show every published fact, ragged in practices and people."""

import numpy as np

from simtrial.batch import Column, Index, Level, ObservedBatch
from simtrial.fidelity import facts
from simtrial.fidelity.quantities import parts
from simtrial.generate import Variable

PRACTICE = {"region", "practice_size", "rurality", "deprivation", "availability", "period", "screened", "eligible",
            "consented", "assessed"}  # fmt: skip
TRIAL = {"approached", "practices_recruited", "practices_screened", "practices_consented", "practices_assessed",
         "practices_excluded", "people_excluded"}  # fmt: skip
KNOWN = {"period": ("pre", "during")}
WHOLE = {"arm", "in_window", "followed_up", "died", "contact", "goals_assessed", "baseline_complete",
         "followup_complete"}  # fmt: skip


def needed() -> dict[str, tuple[str, ...]]:
    """Columns that the facts are told from, with the categories they name."""
    found: dict[str, list[str]] = {name: [] for fact in facts() for name in fact.reads()}
    for fact in facts():
        if fact.described:
            name, op, other = parts(fact.quantity.split(":")[1])
            if op == "=" and other not in found[name]:
                found[name].append(other)
    return {name: KNOWN.get(name, tuple(labels)) for name, labels in found.items()}


def level_of(name: str) -> Level:
    """Level at which a column stands."""
    return "trial" if name in TRIAL else "practice" if name in PRACTICE or name == "arm" else "participant"


def variables() -> dict[str, Variable]:
    """What a scenario promises that has every column."""
    return {name: Variable(level_of(name), name, categories=labels) for name, labels in needed().items()}


def trials(number: int = 6, seed: int = 3) -> ObservedBatch:
    """Trials of 20 to 30 practices with 1 to 9 people each; a tenth of what people say is blank."""
    rng = np.random.default_rng(seed)
    practices = rng.integers(20, 31, number)
    people = rng.integers(1, 10, practices.sum())
    index = Index(number, np.repeat(np.arange(number), practices), np.repeat(np.arange(len(people)), people))
    columns = {}
    for name, labels in needed().items():
        level = level_of(name)
        size = index.size(level)
        if name == "arm":
            values = (np.arange(size) % 2).astype(np.int64)
        elif labels:
            values = rng.integers(0 if level == "practice" else -1, len(labels), size)
        elif name in WHOLE:
            values = (rng.random(size) < 0.8).astype(np.int64)
        else:
            values = np.round(rng.gamma(2.0, 2.0, size), 1)
            if level == "participant":
                values[rng.random(size) < 0.1] = np.nan
        if name == "availability":
            values = np.where(np.arange(size) % 2 == 1, rng.beta(5.0, 1.3, size), np.nan)
        columns[name] = Column(values, level, labels)
    return ObservedBatch(index, columns)
