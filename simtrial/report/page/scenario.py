"""The scenario in words, in the order of ADEMP: aims, data-generating mechanism, estimands, methods, performance."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from simtrial.errors import SimtrialError
from simtrial.estimands import MEANINGS
from simtrial.figures.parts.material import Material
from simtrial.performance import MEASURES, PAIRED
from simtrial.report.page.words import Table, capped
from simtrial.scenario import Scenario, rebuild_scenario
from simtrial.scenario.cells import short_names


@dataclass(frozen=True)
class Part:
    """A part of the description: sentences, then tables."""

    title: str
    lines: Sequence[str] = ()
    tables: Sequence[Table] = field(default_factory=list)


def ademp(material: Material, show: str) -> list[Part]:
    """Describe the scenario of a run; ``show`` is the command that lists all of it."""
    assert material.run is not None
    raw: Mapping[str, Any] = material.run["scenario"]
    aims = raw.get("aims", {})
    lines = [text for text in (aims.get("question", ""), _source(aims.get("source", ""))) if text]
    return [
        Part("Aims", lines or ["The scenario states no aim."]),
        _mechanism(material, raw, show),
        _estimands(material, raw, show),
        _methods(raw, show),
        _performance(material, raw),
    ]


def _source(text: str) -> str:
    return f"Source of the settings: {text}" if text else ""


def _mechanism(material: Material, raw: Mapping[str, Any], show: str) -> Part:
    """Varied factors, and every key with its value and meaning."""
    tables = []
    if material.names:
        short = short_names(material.names)
        rows = [
            (name, short[name], ", ".join(dict.fromkeys(_text(f.get(name)) for f in material.factors.values())))
            for name in material.names
        ]
        tables.append(capped("Varied factors", ["key", "factor", "levels"], rows, 3, show))
    meanings = _meanings(material)
    keys = [(key, _text(value), meanings.get(key, "")) for key, value in _flat(raw.get("mechanism", {}), "mechanism")]
    folded = f"All {len(keys)} keys of the data-generating mechanism"
    tables.append(capped("Keys of the mechanism as written", ["key", "value", "meaning"], keys, 3, show, folded))
    cells = len(material.factors)
    line = f"{cells:,} cells: combinations of the varied factors." if cells > 1 else "One cell: no factor is varied."
    return Part("Data-generating mechanism", [line], tables)


def _meanings(material: Material) -> dict[str, str]:
    """Meaning of every key, where the scenario can be read by this version."""
    assert material.run is not None
    try:
        scenario: Scenario = rebuild_scenario(material.run["scenario"])
    except SimtrialError:
        return {}
    return {
        f"mechanism.{stage}.{name}": info.description or ""
        for stage, step in scenario.mechanism.items()
        for name, info in type(step).model_fields.items()
    }


def _flat(table: Mapping[str, Any], before: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        path = f"{before}.{key}"
        stage = path in ("mechanism.outcomes",) or before in ("mechanism", "mechanism.outcomes")
        if isinstance(value, Mapping) and value and stage:
            yield from _flat(value, path)
        else:
            yield path, value


def _estimands(material: Material, raw: Mapping[str, Any], show: str) -> Part:
    """Estimands with their meanings, and true values by cell."""
    rows = [
        (e.get("name", ""), e.get("kind", ""), MEANINGS.get(e.get("kind", ""), ""),
         ", ".join(f"{k} = {_text(v)}" for k, v in e.items() if k not in ("name", "kind")))
        for e in raw.get("estimands", [])
    ]  # fmt: skip
    tables = [capped("Estimands", ["name", "kind", "meaning", "options"], rows, 4, show)]
    labels, own = material.labels, "own" in material.cells.columns
    values = [
        (labels.get(r["cell"], r["cell"]), r["estimand"],
         "each trial's own" if own and r["own"] else "-" if r["true_value"] is None else f"{r['true_value']:.5g}",
         "-" if r["true_value_mcse"] is None else f"{r['true_value_mcse']:.2g}")
        for r in material.cells.iter_rows(named=True)
    ]  # fmt: skip
    folded = "True values by cell" if len(values) > 6 else ""
    tables.append(capped("True values", ["cell", "estimand", "true value", "MCSE"], values, 2, show, folded))
    return Part("Estimands", ["A method is judged against the true value of its estimand in each cell."], tables)


def _methods(raw: Mapping[str, Any], show: str) -> Part:
    rows = [
        (m.get("name", ""), m.get("kind", ""),
         "; ".join(f"{k} = {_text(v)}" for k, v in m.items() if k not in ("name", "kind")))
        for m in raw.get("methods", [])
    ]  # fmt: skip
    return Part(
        "Methods", [], [capped("Methods, with the options that are stated", ["name", "kind", "options"], rows, 3, show)]
    )


def _performance(material: Material, raw: Mapping[str, Any]) -> Part:
    stated = raw.get("performance", {}).get("measures") or [
        "bias",
        "empirical_se",
        "model_se",
        "coverage",
        "rejection_rate",
    ]
    every = {**MEASURES, **PAIRED}
    rows = [(name, ((every[name].__doc__ or "").partition("\n")[0])) for name in stated if name in every]
    form = raw.get("performance", {}).get("mcse", "robust")
    assert material.run is not None
    most = "at most " if material.run.get("until") else ""
    number = f"{most}{material.run['replicates']:,} replicates per cell"
    line = f"{number}; Monte Carlo standard errors (MCSE) in their {form} form."
    return Part(
        "Performance measures", [line], [capped("Measures", ["measure", "definition"], rows, 2, "simtrial list")]
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
