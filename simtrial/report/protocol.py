"""The protocol of a simulation study, filled in from its scenario; what only its authors know is left to them.

The fields are those of the ADEMP preregistration template of Siepe et al. (2024, Psychological Methods,
doi:10.1037/met0000695), in its order.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simtrial.estimands import MEANINGS
from simtrial.performance import MEASURES, PAIRED
from simtrial.performance.planned import planned
from simtrial.scenario import Cell, Scenario
from simtrial.scenario.schema import targets


@dataclass(frozen=True)
class Gap:
    """What the authors have to write."""

    about: str


@dataclass(frozen=True)
class Table:
    """Rows of words below headings."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Code:
    """Lines to be copied."""

    lines: Sequence[str]


Part = str | Gap | Table | Code


@dataclass(frozen=True)
class Section:
    """A numbered field, and what stands there."""

    heading: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Origin:
    """What made the protocol: the command that runs the study, and versions of software."""

    command: str
    versions: Mapping[str, str]


def protocol(scenario: Scenario, cells: Sequence[Cell], origin: Origin) -> dict[str, list[Section]]:
    """Fields of the protocol by chapter."""
    return {
        "1 General information": list(_general(scenario)),
        "2 Aims": [Section("2.1 Aim", [scenario.aims.question or Gap("what the study is to find out")])],
        "3 Data-generating mechanism": list(_mechanism(scenario, cells)),
        "4 Estimands and targets": [Section("4.1 Estimands and their true values", _estimands(scenario))],
        "5 Methods": list(_methods(scenario)),
        "6 Performance measures": list(_performance(scenario)),
        "7 Software and reproducibility": list(_software(scenario, origin)),
    }


def _general(scenario: Scenario) -> Iterator[Section]:
    yield Section("1.1 Title", [scenario.title or Gap("title of the study")])
    yield Section("1.2 Contributors", [Gap("names, affiliations and roles")])
    yield Section(
        "1.3 Description", [scenario.aims.question or Gap("a short description"), Gap("context and rationale")]
    )
    yield Section(
        "1.4 Prior related simulations", [Gap("earlier simulations, your own included, and what they left open")]
    )


def _mechanism(scenario: Scenario, cells: Sequence[Cell]) -> Iterator[Section]:
    generator = scenario.mechanism.get("generator")
    drawn = (
        f"Parametric: trials are drawn by the generator {getattr(generator, 'name', '')}."
        if generator is not None
        else "Parametric: cluster-randomised trials are drawn in stages, in the order of a trial's life: "
        f"{', '.join(scenario.mechanism)}. Each stage has a random stream of its own."
    )
    source = (
        f"Source of the parameters: {scenario.aims.source}" if scenario.aims.source else Gap("source of the parameters")
    )
    yield Section("3.1 How parameters are specified", [drawn, source])
    factors = {**scenario.vary.cross, **scenario.vary.zip}
    rows = [[name, ", ".join(map(_word, values)), _arranged(name, scenario)] for name, values in factors.items()]
    varied: list[Part] = [Table(["factor", "values", "combined"], rows)] if rows else ["No factor is varied."]
    yield Section("3.2 Factors and their values", varied)
    excluded = [", ".join(f"{k} = {_word(v)}" for k, v in rule.items()) for rule in scenario.vary.exclude]
    left_out = [f"Left out: {'; '.join(excluded)}."] if excluded else []
    common = scenario.run.streams == "common"
    streams = "the same random streams in every condition" if common else "random streams of its own in every condition"
    number = f"{_design(scenario)}: {len(cells):,} in all, {streams}." if len(cells) > 1 else "One condition."
    yield Section("3.3 Conditions", [number, *left_out])
    settings = [
        [f"mechanism.{stage}.{name}", _word(getattr(step, name)), field.description or ""]
        for stage, step in scenario.mechanism.items()
        for name, field in type(step).model_fields.items()
    ]
    yield Section("3.4 All settings", [Table(["key", "value", "meaning"], settings)])


def _arranged(name: str, scenario: Scenario) -> str:
    if len(scenario.vary.cross) + len(scenario.vary.zip) == 1:
        return "alone"
    return "in full" if name in scenario.vary.cross else "moved together"


def _design(scenario: Scenario) -> str:
    if scenario.vary.cross and scenario.vary.zip:
        return "Fully factorial, with the factors that are moved together counting as one"
    if scenario.vary.cross:
        return "Fully factorial" if len(scenario.vary.cross) > 1 else "Every value of the factor"
    return "Chosen combinations, one for each place in the lists" if scenario.vary.zip else "One condition"


def _estimands(scenario: Scenario) -> list[Part]:
    rows = [
        [e.name, MEANINGS[e.kind], e.response, e.expression or "", e.weights or e.unit, "each trial's own" * e.finite]
        for e in scenario.estimands
    ]
    if not rows:
        return [Gap("targets other than estimands: none is in the scenario")]
    headings = ["name", "effect", "outcome", "defined by", "averaged over", "sample"]
    truth = (
        "True values come from the mechanism in closed form or from simulated potential outcomes, once per condition, "
        "with their own Monte Carlo standard error, which enters that of bias and mean squared error."
    )
    return [Table(headings, rows), truth]


def _methods(scenario: Scenario) -> Iterator[Section]:
    rows = []
    for method in scenario.methods:
        options = method.model_dump(exclude={"name", "kind", "estimand"}, exclude_none=True, exclude_defaults=True)
        meaning = (inspect.getdoc(type(method)) or "").partition("\n")[0]
        judged = ", ".join(targets(method, scenario)) or "none"
        rows.append(
            [
                method.name,
                f"{method.kind}: {meaning}",
                "; ".join(f"{k} = {_word(v)}" for k, v in options.items()),
                judged,
            ]
        )
    table = Table(["name", "method", "options other than defaults", "estimand"], rows)
    yield Section("5.1 Methods", [table, Gap("why these methods, and which are left out")])
    extracted = (
        "Of every method and replicate: estimate, standard error, degrees of freedom, confidence interval, p-value, "
        "status, flags, and the numbers of participants and clusters analysed."
    )
    yield Section("5.2 Quantities that are extracted", [extracted])


def _performance(scenario: Scenario) -> Iterator[Section]:
    every = {**MEASURES, **PAIRED} if scenario.performance.reference else dict(MEASURES)
    named = scenario.performance.measures
    rows = [[name, _first_line(every[name])] for name in (named or every) if name in every]
    reference = scenario.performance.reference
    paired = [f"Differences are from the method '{reference}', replicate by replicate."] if reference else []
    yield Section("6.1 Measures", [Table(["measure", "definition"], rows), *paired])
    yield Section("6.2 Monte Carlo uncertainty", [_uncertainty(scenario)])
    yield Section("6.3 Replicates per condition, and why", _replicates(scenario))
    yield Section("6.4 Missing values and fits that fail", [_failures(scenario)])
    interpretation = Gap("which differences between methods matter, and how measures are weighed")
    expected = [_expectation(e) for e in scenario.expect]
    told: list[Part] = [Table(["method", "measure", "expected", "source"], expected)] if expected else []
    yield Section("6.5 Interpretation", [*told, interpretation])


def _uncertainty(scenario: Scenario) -> str:
    form = {
        "robust": "robust formulas, which do not assume normal estimates",
        "jackknife": "the jackknife over replicates",
        "normal": "the formulas for normal estimates",
    }[scenario.performance.mcse]
    return (
        f"Every value is reported with its Monte Carlo standard error, by {form}, and the number of replicates that it "
        "rests on. Shares have Wilson intervals. Methods are compared on the same replicates, which makes differences "
        "more precise."
    )


def _replicates(scenario: Scenario) -> list[Part]:
    n, levels = scenario.run.replicates, [method.level for method in scenario.methods]
    level = max(set(levels), key=levels.count) if levels else 0.95
    rows = [
        [
            one.measure,
            one.formula,
            one.error,
            f"{one.needed:,} for {one.aim}" if one.needed else "depends on the empirical SE",
        ]
        for one in planned(n, level)
    ]
    table = Table(["measure", "Monte Carlo standard error", f"with n = {n:,}", "replicates needed"], rows)
    return [f"{n:,} replicates per condition.", table, Gap("why these errors are small enough for the aim")]


def _failures(scenario: Scenario) -> str:
    return (
        "A fit that fails is a result: its row is kept with its cause, counted for every method and condition, zeros "
        "included, and left out of that method's measures; worst-case coverage counts it as not covering. Measures "
        "over the replicates in which every method has an estimate are made beside them (summarise --common). Missing "
        "outcomes of participants belong to the data and are handled by each method. A method of which more than "
        f"{100 * scenario.check.failures:g}% of the fits fail is reported as failing the check."
    )


def _expectation(expected: Any) -> list[str]:
    bounds = [
        f"{word} {value:g}"
        for word, value in (("at least", expected.lower), ("at most", expected.upper))
        if value is not None
    ]
    value = f"{expected.value:g}" if expected.value is not None else " and ".join(bounds)
    return [expected.method, expected.measure, value, expected.source]


def _software(scenario: Scenario, origin: Origin) -> Iterator[Section]:
    versions = ", ".join(f"{name} {version}" for name, version in origin.versions.items())
    yield Section("7.1 Software", [f"{versions}."])
    machine = Gap("machine, operating system and cores, as simtrial doctor prints them")
    yield Section("7.2 Computational environment", [machine])
    same = (
        f"Seed {scenario.run.seed}, blocks of {scenario.run.block} replicates: the same scenario, seed and versions "
        "give identical rows on any number of workers, and any replicate can be made again alone."
    )
    yield Section(
        "7.3 Steps to reproduce", [Code([origin.command]), same, Gap("where scenario file, code and results are kept")]
    )
    yield Section("7.4 Anything else", [Gap("deviations from this protocol, with dates and reasons")])


def _first_line(thing: object) -> str:
    return (thing.__doc__ or "").strip().partition("\n")[0].replace("``", "")


def _word(value: object) -> str:
    """A value of a key as it is written."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_word(v)}" for k, v in value.items()) + " }" if value else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_word, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None or value == "" else str(value)
