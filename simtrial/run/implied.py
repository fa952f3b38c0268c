"""What a scenario implies for its trials: means, spread, receipt, loss, cuts at the ends of scales, true effects."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence

import numpy as np
from numpy.typing import NDArray

from simtrial.batch import ObservedBatch, TrialBatch, hidden_by
from simtrial.estimands import TrueValue, true_values
from simtrial.estimators import Method
from simtrial.expressions import columns, evaluate, parse
from simtrial.generate import Mechanism, drawn_for
from simtrial.generate.closed_form import exact_values
from simtrial.generate.column_names import at_baseline, at_followup, outcomes_in
from simtrial.run.implied_cuts import cuts, outcome_and_arm
from simtrial.run.implied_people import PracticeSums, Quantity, drawn_people
from simtrial.run.timed import timed
from simtrial.scenario import Cell, Scenario

Of = tuple[str, str, str]

ARMS = ("control", "intervention")


ImpliedCells = Sequence[tuple[Cell, Sequence[Quantity]]]

MANY = 8
"""Number of cells from which on progress is shown."""


def implied_cells(
    scenario: Scenario, cells: Sequence[Cell], progress: Callable[[int, int, float], None],
    truths: MutableMapping[str, tuple[float, Sequence[TrueValue]]] | None = None,
) -> ImpliedCells:  # fmt: skip
    """Implied quantities of the scenario as written and of every cell, with progress for many cells.

    True values, and the seconds that they took, are entered into ``truths`` by the cell's id.
    """
    base = [] if any(cell.id == "base" for cell in cells) else [Cell("base", "", {}, scenario)]
    begun = time.monotonic()
    found: list[tuple[Cell, Sequence[Quantity]]] = []
    every = [*base, *cells]
    for cell in every:
        found.append((cell, implied(cell, truths)))
        if len(every) > MANY:
            progress(len(found), len(every), time.monotonic() - begun)
    return found


def implied(cell: Cell, truths: MutableMapping[str, tuple[float, Sequence[TrueValue]]] | None = None) -> list[Quantity]:
    """Everything a cell implies, in the order of a trial's life; see `MEANINGS`."""
    scenario = cell.scenario
    mechanism = scenario.mechanism
    found = _simulated(scenario, mechanism)
    exact = exact_values(mechanism) | _never_blank(scenario)
    found = [_exact(q, exact) for q in found]
    seconds, values = timed(lambda: true_values(scenario.estimands, mechanism, scenario.run.seed, cell.key))
    if truths is not None:
        truths[cell.id] = seconds, values
    for true in values:
        found.append(
            Quantity(
                name="true_value", of=true.estimand, arm="", value=true.value, mcse=true.mcse, effort=true.practices
            )
        )
    return found


def _never_blank(scenario: Scenario) -> dict[Of, float]:
    """Share 0 for outcomes without a mask."""
    masks = [v.hides for v in scenario.variables.values() if v.hides]
    names = [o for o in outcomes(scenario.mechanism) if not any(hidden_by(at_followup(o), m) for m in masks)]
    blank = {("no_outcome", name, arm): 0.0 for name in names for arm in ARMS}
    return blank | ({} if "followed_up" in scenario.variables else {("dropout", "", arm): 0.0 for arm in ARMS})


def _exact(found: Quantity, exact: Mapping[Of, float]) -> Quantity:
    of = found.name, found.of, found.arm
    return Quantity(*of, exact[of], 0.0, 0) if of in exact else found


MEANINGS = {
    "mean": "mean, without missing values",
    "sd": "SD between people, without missing values",
    "icc": "correlation of two people of one practice",
    "baseline_correlation": "correlation of a person's follow-up with baseline",
    "cut": "share of scores beyond the ends of the scale, which are cut there",
    "no_outcome": "share of people without this follow-up score",
    "dropout": "share of people not followed up",
    "receipt": "share of people who receive, by that definition",
    "cluster_size_mean": "people per practice",
    "cluster_size_cv": "coefficient of variation of people per practice",
    "true_value": "true value of the estimand, as a run finds it",
}
"""Names of implied quantities."""


def outcomes(mechanism: Mechanism) -> list[str]:
    """Names of outcomes: columns with potential values and a follow-up."""
    names = {name for step in mechanism.values() for name in step.adds()}
    found = outcomes_in(name for step in mechanism.values() for name in step.adds())
    return [n for n in found if at_followup(n) in names]


def _wanted(scenario: Scenario) -> frozenset[str]:
    """Columns that the implied quantities need."""
    there = set(scenario.variables)
    names = {"arm", "followed_up"}
    for outcome in outcomes(scenario.mechanism):
        names |= {at_baseline(outcome), at_followup(outcome)}
    for text in receipts(scenario):
        names |= columns(parse(text))
    return frozenset(names & there)


def receipts(scenario: Scenario) -> list[str]:
    """Every definition of receipt in the file, each once."""
    texts = [e.received for e in scenario.estimands] + [getattr(m, "received", None) for m in _inside(scenario.methods)]
    return list(dict.fromkeys(text for text in texts if text))


def _inside(methods: Iterable[Method]) -> Iterable[Method]:
    """Methods, and those that they wrap."""
    for method in methods:
        yield method
        inner = getattr(method, "analysis", None)
        if isinstance(inner, Method):
            yield from _inside([inner])


def _simulated(scenario: Scenario, mechanism: Mechanism) -> list[Quantity]:
    """Quantities estimated from simulated trials."""
    needed = drawn_for(mechanism, _wanted(scenario))
    batch = drawn_people(needed)
    sums = PracticeSums(batch)
    arm = batch.at("arm")
    groups = {"control": arm == 0, "intervention": arm == 1}
    seen = batch.observed()
    found: list[Quantity] = []
    for outcome in outcomes(mechanism):
        found += _scores(outcome, batch, sums, groups)
        blank = np.isnan(seen.at(at_followup(outcome)))
        found += [sums.share("no_outcome", outcome, a, blank, who) for a, who in groups.items()]
    found += [
        sums.share(name, of, a, values, groups[a] if grouped else None)
        for name, of, a, values, grouped in _shares(scenario, needed, batch)
    ]
    return [*found, *sums.sizes()]


def _shares(
    scenario: Scenario, needed: Mechanism, batch: TrialBatch
) -> Iterable[tuple[str, str, str, NDArray[np.bool_], bool]]:
    """Shares of people: name, of what, arm, who, and whether only people of that arm count."""
    for name, cut in cuts(needed, batch).items():
        outcome, a = outcome_and_arm(name)
        yield "cut", outcome, a, cut, False
    everyone = np.zeros(batch.index.participants, dtype=bool)
    lost = batch.at("followed_up") == 0 if "followed_up" in batch.columns else everyone
    yield from (("dropout", "", a, lost, True) for a in ARMS)
    complete = ObservedBatch(batch.index, {n: c for n, c in batch.columns.items() if not c.latent})
    for text in receipts(scenario):
        received = evaluate(text, complete)
        yield from (("receipt", text, a, received, True) for a in ARMS)


def _scores(
    outcome: str, batch: TrialBatch, sums: PracticeSums, groups: Mapping[str, NDArray[np.bool_]]
) -> Iterable[Quantity]:
    """Mean, SD and ICC at baseline and in either arm at follow-up, and the correlation of the two."""
    before = batch.at(at_baseline(outcome)) if at_baseline(outcome) in batch.columns else None
    if before is not None:
        yield from sums.moments(outcome, "", before, None)
    for arm, who in groups.items():
        after = batch.at(at_followup(outcome))
        yield from sums.moments(outcome, arm, after, who)
        if before is not None:
            yield sums.correlation(outcome, arm, before, after, who)
