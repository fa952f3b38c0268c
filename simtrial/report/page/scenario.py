"""The scenario in words, in the order of ADEMP: aims, data-generating mechanism, estimands, methods, performance."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from simtrial.errors import SimtrialError
from simtrial.estimands import MEANINGS
from simtrial.estimators import Method
from simtrial.figures.parts.material import Material
from simtrial.performance import MEASURES, PAIRED
from simtrial.report.analyses import adjusted_for
from simtrial.report.page.design import sentences
from simtrial.report.page.words import Table, capped
from simtrial.report.performance import COLUMNS, PAIRED_COLUMNS
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
    scenario = _read(raw)
    return [
        Part("Aims", lines or ["The scenario states no aim."]),
        _mechanism(material, raw, scenario, show),
        _estimands(material, raw, show),
        _methods(raw, scenario, show),
        _performance(material, raw),
    ]


def _read(raw: Mapping[str, Any]) -> Scenario | None:
    """The scenario of a run, where this version can read it."""
    try:
        return rebuild_scenario(dict(raw))
    except SimtrialError:
        return None


def _source(text: str) -> str:
    return f"Source of the settings: {text}" if text else ""


def _mechanism(material: Material, raw: Mapping[str, Any], scenario: Scenario | None, show: str) -> Part:
    """The design in sentences, varied factors, and every key with its value and meaning."""
    tables = []
    if material.names:
        short = short_names(material.names)
        rows = [(name, short[name], _levels(material, name)) for name in material.names]
        tables.append(capped("Varied factors", ["key", "factor", "levels"], rows, 3, show))
    meanings = {} if scenario is None else _meanings(scenario)
    stated = dict(_flat(raw.get("mechanism", {}), "mechanism"))
    stated |= {name: None for name in material.names if name.startswith("mechanism.") and name not in stated}
    keys = [
        (key, _varied(material, key) if key in material.names else _text(value), meanings.get(key, ""))
        for key, value in stated.items()
    ]
    folded = f"All {len(keys)} keys of the data-generating mechanism"
    tables.append(capped("Keys of the mechanism as written", ["key", "value", "meaning"], keys, 3, show, folded))
    cells = len(material.factors)
    line = f"{cells:,} cells: combinations of the varied factors." if cells > 1 else "One cell: no factor is varied."
    words = [] if scenario is None else sentences(scenario, material.factors)
    return Part("Data-generating mechanism", [" ".join(words), line] if words else [line], tables)


def _levels(material: Material, name: str) -> str:
    return ", ".join(dict.fromkeys(_text(f.get(name)) for f in material.factors.values()))


def _varied(material: Material, name: str) -> str:
    return f"varied: {_levels(material, name)}"


def _meanings(scenario: Scenario) -> dict[str, str]:
    """Meaning of every key."""
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


INFERENCE = ("estimation", "working", "weights", "imputation", "m", "variance", "se", "df", "ci", "test")
"""Options that say how a method fits and how it infers; each is shown, stated or not."""


def _methods(raw: Mapping[str, Any], scenario: Scenario | None, show: str) -> Part:
    """Methods with what they do, their covariates and inference, and the options that the scenario states."""
    known = {} if scenario is None else {method.name: method for method in scenario.methods}
    rows = []
    for m in raw.get("methods", []):
        method = known.get(m.get("name", ""))
        told = set(INFERENCE) | {"name", "kind", "adjust"}
        rows.append((
            m.get("name", ""), m.get("kind", ""),
            "-" if method is None else (inspect.getdoc(type(method)) or "").partition("\n")[0].replace("``", ""),
            "-" if method is None else adjusted_for(method),
            "-" if method is None else "; ".join(_inference(method)) or "-",
            "; ".join(f"{k} = {_text(v)}" for k, v in m.items() if k not in told) or "-",
        ))  # fmt: skip
    headings = ["name", "kind", "what it is", "covariates", "fit and inference", "other options stated"]
    return Part("Methods", [], [capped("Methods", headings, rows, 6, show)])


def _inference(method: Method) -> Iterator[str]:
    """Options of a method and of one that it wraps: how they fit and infer, and a level other than 95%."""
    inner = getattr(method, "analysis", None)
    for name in INFERENCE:
        if name in type(method).model_fields and (value := getattr(method, name)) not in (None, "", {}, []):
            yield f"{name} {_text(value.model_dump() if hasattr(value, 'model_dump') else value)}"
    if method.level != 0.95:
        yield f"level {method.level:g}"
    if isinstance(inner, Method):
        yield f"around {inner.kind}: {', '.join(_inference(inner)) or 'as it is'}"


def _performance(material: Material, raw: Mapping[str, Any]) -> Part:
    """The measures of the table of performance, and of that of differences."""
    there, every = set(material.measured["measure"]), {**MEASURES, **PAIRED}
    shown = [(name, heading) for name, heading, _ in (*COLUMNS, *PAIRED_COLUMNS) if name in there]
    rows = [(heading, name, (every[name].__doc__ or "").partition("\n")[0]) for name, heading in shown]
    form = raw.get("performance", {}).get("mcse", "robust")
    assert material.run is not None
    most = "at most " if material.run.get("until") else ""
    number = f"{most}{material.run['replicates']:,} replicates per cell"
    line = f"{number}; Monte Carlo standard errors (MCSE) in their {form} form."
    headings = ["heading below", "measure", "definition"]
    return Part("Performance measures", [line], [capped("Measures", headings, rows, 3, "simtrial list")])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
