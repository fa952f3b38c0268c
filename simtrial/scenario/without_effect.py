"""What is written in a scenario and changes no result, because no method or estimand reads what it acts on."""

from __future__ import annotations

from collections.abc import Sequence

from simtrial.generate import Mechanism, Step, added, drawn_for
from simtrial.scenario.cells import Cell
from simtrial.scenario.schema import Scenario


def without_effect(scenario: Scenario, cells: Sequence[Cell]) -> list[str]:
    """One sentence for every table about an outcome that is not analysed, and every factor whose levels are alike.

    Whole outcomes that no method analyses are left alone: they are drawn for `simtrial generate`. A factor is judged
    by two cells that differ in nothing else; what moves together with another is not.
    """
    return [*_tables(scenario), *_factors(cells)]


def _tables(scenario: Scenario) -> list[str]:
    read, sentences = _read(scenario), []
    for stage, step in scenario.mechanism.items():
        about = _scores(step)
        if about and stage not in read and not stage.startswith("outcomes."):
            why = f"it is about {' and '.join(about)}, which no method or estimand reads"
            sentences.append(f"[mechanism.{stage}] changes no result: {why}")
    return sentences


def _scores(step: Step) -> list[str]:
    """Scores that a step draws or hides; none where it is about no single outcome."""
    columns = added(step)
    names = [name for variable in columns.values() for name in variable.hides]
    if hasattr(step, "outcome"):
        names += [name for name, variable in columns.items() if not variable.latent]
    return [name for name in names if name.endswith(("_baseline", "_followup"))]


def _factors(cells: Sequence[Cell]) -> list[str]:
    first, sentences = cells[0], []
    for name, value in first.factors.items():
        rest = {key: level for key, level in first.factors.items() if key != name}
        others = (cell for cell in cells[1:] if cell.factors[name] != value)
        other = next((cell for cell in others if {**cell.factors, name: value} == {**rest, name: value}), None)
        if other is None or not name.startswith("mechanism."):
            continue
        if _read(first.scenario) == _read(other.scenario):
            sentences.append(f"levels of {name} differ by chance alone: no method or estimand reads what it acts on")
    return sentences


def _read(scenario: Scenario) -> Mechanism:
    """Stages, and parts of stages, whose columns its methods and estimands read."""
    return drawn_for(scenario.mechanism, scenario.reads().union(*(e.reads() for e in scenario.estimands)))
