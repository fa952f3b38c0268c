"""What a run is: the trials it draws, its cells, its estimands, and its parts, each one method beside one estimand.

Two requests share a directory where they draw the same trials and describe alike whatever they both name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from simtrial.scenario import Cell, Scenario
from simtrial.scenario.schema import targets

READING = ("title", "aims", "design", "performance", "published", "expect", "margins", "check")
"""Tables that affect how rows are summarised, not their content: they may change in an existing directory."""

GROWING = ("methods", "estimands", "vary")
"""Tables of which a directory may gain entries; they leave the trials drawn as they are."""

LISTED = {"methods": "method", "estimands": "estimand"}
"""Growing tables whose entries have names, and what one of them is."""

Part = tuple[str, str]
"""A method and the estimand it is compared with, empty without one."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What is drawn, by digest; cells with their factors; methods, estimands and parts with their digests."""

    trials: str
    cells: Mapping[str, Mapping[str, Any]]
    methods: Mapping[str, str]
    estimands: Mapping[str, str]
    parts: Mapping[Part, str]

    def digest(self, part: Part) -> str | None:
        """Digest of a method beside an estimand, None where the run has not both of them."""
        method, estimand = part
        there = method in self.methods and (not estimand or estimand in self.estimands)
        return _part_digest(self.methods, self.estimands, part) if there else None

    def holds(self, other: Identity) -> bool:
        """Whether everything of the other is here, and the same."""
        pairs = ((self.methods, other.methods), (self.estimands, other.estimands))
        alike = all(mine.get(key) == value for mine, theirs in pairs for key, value in theirs.items())
        return self.trials == other.trials and alike and self.cells.keys() >= other.cells.keys()


def _part_digest(methods: Mapping[str, str], estimands: Mapping[str, str], part: Part) -> str:
    """Digest of a method and what it is compared with."""
    method, estimand = part
    return digest_of([methods[method], estimand, estimands.get(estimand, "")])


def identity_of(scenario: Scenario, cells: Sequence[Cell]) -> Identity:
    """Identity of a request."""
    raw = resolved(scenario)
    estimands = {e["name"]: digest_of(e) for e in raw.get("estimands", [])}
    methods = {m["name"]: digest_of({k: v for k, v in m.items() if k != "estimand"}) for m in raw.get("methods", [])}
    pairs = [(method.name, name) for method in scenario.methods for name in targets(method, scenario) or [""]]
    parts = {part: _part_digest(methods, estimands, part) for part in pairs}
    held = {c.id: dict(c.factors) for c in cells}
    return Identity(trials=trials_of(raw), cells=held, methods=methods, estimands=estimands, parts=parts)


def mark_of(parts: Iterable[Part]) -> str:
    """Eight characters for a set of parts, in names of files."""
    return digest_of(sorted(map(list, parts)))[:8]


def as_json(identity: Identity) -> dict[str, Any]:
    """Identity as run.json holds it."""
    plain = {name: getattr(identity, name) for name in ("trials", "cells", "methods", "estimands")}
    return {**plain, "parts": [[*part, digest] for part, digest in identity.parts.items()]}


def from_json(run: Mapping[str, Any]) -> Identity:
    """Identity of the run that a run.json describes."""
    parts = {(method, estimand): digest for method, estimand, digest in run["parts"]}
    plain = {name: run[name] for name in ("trials", "cells", "methods", "estimands")}
    return Identity(**plain, parts=parts)


def restricted(scenario: Scenario, parts: Iterable[Part]) -> Scenario:
    """A scenario with the methods of these parts alone, each beside the estimands of its parts."""
    wanted: dict[str, list[str]] = {}
    for method, estimand in parts:
        wanted.setdefault(method, []).extend([estimand] if estimand else [])
    methods = [m.model_copy(update={"estimand": wanted[m.name]}) for m in scenario.methods if m.name in wanted]
    tables = [{**m, "estimand": wanted[m["name"]]} for m in scenario.raw.get("methods", []) if m["name"] in wanted]
    named = {name for names in wanted.values() for name in names}
    estimands = [e for e in scenario.raw.get("estimands", []) if e["name"] in named]
    return replace(scenario, methods=methods, raw={**scenario.raw, "methods": tables, "estimands": estimands})


def simulated(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What a scenario simulates and analyses, however many replicates and however it is read."""
    kept = {k: v for k, v in raw.items() if k != "run" and k not in READING}
    return {**kept, "run": {k: v for k, v in raw.get("run", {}).items() if k != "replicates"}}


def resolved(scenario: Scenario) -> dict[str, Any]:
    """The file a run belongs to, its seed and replicates written out."""
    return {**scenario.raw, "run": scenario.run.model_dump()}


def digest_of(value: Any) -> str:
    """SHA-256 of a value as JSON with sorted keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def trials_of(raw: Mapping[str, Any]) -> str:
    """Digest of what is drawn, cells and methods aside."""
    return digest_of({k: v for k, v in simulated(raw).items() if k not in GROWING})


def digest(raw: Mapping[str, Any]) -> str:
    """Digest of what a resolved file simulates and analyses."""
    return digest_of(simulated(raw))


def difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """First place where two resolved files contradict each other, or what each has that the other lacks."""
    if trials_of(there) != trials_of(here):
        old, new = ({k: v for k, v in simulated(raw).items() if k not in GROWING} for raw in (there, here))
        return _difference(old, new)
    for table, word in LISTED.items():
        old, new = ({row["name"]: row for row in raw.get(table, [])} for raw in (there, here))
        for name in (name for name in old if name in new and old[name] != new[name]):
            return f"{word} '{name}': {_difference(old[name], new[name])}"
    lacking = [_lacking(there, here), _lacking(here, there)]
    words = [f"{text} {place}" for text, place in zip(lacking, ("there alone", "here alone"), strict=True) if text]
    return "; ".join(words) or "other cells"


def _lacking(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Methods, estimands and levels of one request that another lacks."""
    found = []
    for table, word in LISTED.items():
        names = {row["name"] for row in other.get(table, [])}
        found += [f"{word} '{row['name']}'" for row in one.get(table, []) if row["name"] not in names]
    for kind in ("cross", "zip"):
        levels = [raw.get("vary", {}).get(kind, {}) for raw in (one, other)]
        for name, values in levels[0].items():
            more = [repr(v) for v in values if v not in levels[1].get(name, [])]
            found += [f"{name} {', '.join(more)}"] if more else []
    return ", ".join(found)


def differ_in_words(key: str, before: Any, here: Any, where: str) -> str:
    """Two values of a key in words; what a file does not state is no value of it."""
    there, now = ("not stated" if value is None else repr(value) for value in (before, here))
    return f"{key} is {there} {where} and {now} here"


def _difference(a: Any, b: Any, path: str = "") -> str:
    """First place where two values differ."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in dict.fromkeys([*a, *b]):
            if a.get(key) != b.get(key):
                return _difference(a.get(key), b.get(key), f"{path}{key}.")
    if isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            return f"{path.rstrip('.')} has {len(a)} entries there and {len(b)} here"
        for at, (x, y) in enumerate(zip(a, b, strict=True)):
            if x != y:
                return _difference(x, y, f"{path.rstrip('.')}[{at + 1}].")
    return differ_in_words(path.rstrip("."), a, b, "there")
