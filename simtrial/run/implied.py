"""What a scenario implies for its trials: means, spread, receipt, loss, cuts at the ends of scales, true effects."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, nan, sqrt

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Floats
from simtrial.batch import ObservedBatch, TrialBatch, hidden_by
from simtrial.estimands import true_values
from simtrial.estimators import Method
from simtrial.expressions import columns, evaluate, parse
from simtrial.generate import Mechanism, drawn_for, simulate
from simtrial.generate.closed_form import exact_values
from simtrial.generate.column_names import BASELINE, IF_CONTROL, IF_INTERVENTION, at_baseline, at_followup, outcomes_in
from simtrial.generate.outcomes.instrument import Instrument
from simtrial.kernels.segments import sum_by
from simtrial.scenario import Cell, Scenario
from simtrial.seeding import stream

Of = tuple[str, str, str]

PEOPLE = 20_000
"""People simulated, or one trial where that has more: a fixed effort, with the same streams in every cell."""

GROUPS = 50
"""Groups of practices that the jackknife leaves out one after the other."""

CUT = 0.01
"""Share of scores cut at the ends of a scale from which on people are warned."""

ARMS = ("control", "intervention")
PURPOSE = "implied: "


@dataclass(frozen=True)
class Quantity:
    """A number that a cell implies, with its Monte Carlo standard error: 0 where it is exact, NaN where unknown.

    ``of`` is an outcome, an expression of receipt or an estimand; ``arm`` empty, control or intervention; ``effort``
    the people simulated (practices, for true values), 0 where none were needed.
    """

    name: str
    of: str
    arm: str
    value: float
    mcse: float
    effort: int


ImpliedCells = Sequence[tuple[Cell, Sequence[Quantity]]]

MANY = 8
"""Number of cells from which on progress is shown."""


def implied_cells(
    scenario: Scenario, cells: Sequence[Cell], progress: Callable[[int, int, float], None]
) -> ImpliedCells:
    """Implied quantities of the scenario as written and of every cell, with progress for many cells."""
    base = [] if any(cell.id == "base" for cell in cells) else [Cell("base", "", {}, scenario)]
    begun = time.monotonic()
    found: list[tuple[Cell, Sequence[Quantity]]] = []
    every = [*base, *cells]
    for cell in every:
        found.append((cell, implied(cell)))
        if len(every) > MANY:
            progress(len(found), len(every), time.monotonic() - begun)
    return found


def implied(cell: Cell) -> list[Quantity]:
    """Everything a cell implies, in the order of a trial's life; see `MEANINGS`."""
    scenario = cell.scenario
    mechanism = scenario.mechanism
    found = _simulated(scenario, mechanism)
    exact = exact_values(mechanism) | _never_blank(scenario)
    found = [_exact(q, exact) for q in found]
    for true in true_values(scenario.estimands, mechanism, scenario.run.seed, cell.key):
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


def _drawn(mechanism: Mechanism) -> TrialBatch:
    """About `PEOPLE` people, always the same ones."""
    pilot = simulate(mechanism, 1, 0, "", 0, purpose=f"{PURPOSE}size: ").index.participants
    return simulate(mechanism, max(1, ceil(PEOPLE / max(pilot, 1))), 0, "", 0, purpose=PURPOSE)


def _simulated(scenario: Scenario, mechanism: Mechanism) -> list[Quantity]:
    """Quantities estimated from simulated trials."""
    needed = drawn_for(mechanism, _wanted(scenario))
    batch = _drawn(needed)
    sums = _Sums(batch)
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
        outcome, a = _of_column(name)
        yield "cut", outcome, a, cut, False
    everyone = np.zeros(batch.index.participants, dtype=bool)
    lost = batch.at("followed_up") == 0 if "followed_up" in batch.columns else everyone
    yield from (("dropout", "", a, lost, True) for a in ARMS)
    complete = ObservedBatch(batch.index, {n: c for n, c in batch.columns.items() if not c.latent})
    for text in receipts(scenario):
        received = evaluate(text, complete)
        yield from (("receipt", text, a, received, True) for a in ARMS)


def _scores(
    outcome: str, batch: TrialBatch, sums: _Sums, groups: Mapping[str, NDArray[np.bool_]]
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


def _of_column(name: str) -> tuple[str, str]:
    """Outcome and arm of a recorded column; baseline has no arm."""
    for ending, arm in ((IF_CONTROL, "control"), (IF_INTERVENTION, "intervention")):
        if name.endswith(ending):
            return name.removesuffix(ending), arm
    return name.removesuffix(BASELINE), ""


def cuts(mechanism: Mechanism, batch: TrialBatch) -> dict[str, NDArray[np.bool_]]:
    """Whose scores the ends of scales cut (participants,), by recorded column; ``batch`` as `_drawn` makes it."""
    found: dict[str, NDArray[np.bool_]] = {}
    for stage, step in mechanism.items():
        found |= step.settled(mechanism).cut(batch, stream(0, "", 0, PURPOSE + stage))
    return found


def warnings(cells: Sequence[Cell]) -> list[str]:
    """One sentence for every stage in which more than `CUT` of the scores that a run draws are cut, none else.

    Instruments recorded with the mean and SD asked for whatever their ends cut count only where an effect is lost.
    """
    worst: dict[str, list[tuple[float, str, str]]] = {}
    for cell in cells:
        recorded = {
            name: stage
            for stage, step in cell.scenario.needed.items()
            for name in step.adds()
            if _is_score(name, stage)
        }
        mechanism = drawn_for(cell.scenario.needed, frozenset(recorded) | {"arm"}, masks=False)
        if not any(_may_cut(step) for step in mechanism.values()):
            continue
        for name, cut in cuts(mechanism, _drawn(mechanism)).items():
            stage = recorded.get(name, "")
            if cut.mean() > CUT and stage and _counts(cell.scenario.needed[stage], name):
                worst.setdefault(stage, []).append((float(cut.mean()), name, cell.label))
    return [_sentence(stage, rows, len(cells)) for stage, rows in worst.items()]


def _is_score(name: str, stage: str) -> bool:
    return stage == "baseline" or (stage.startswith("outcomes.") and name.endswith(ENDINGS))


ENDINGS = (BASELINE, IF_CONTROL, IF_INTERVENTION)


def _may_cut(step: object) -> bool:
    """Whether a stage records scores on a scale that has an end."""
    ends = getattr(step, "lowest", None), getattr(step, "highest", None)
    return any(end is not None for end in ends)


def _counts(step: object, name: str) -> bool:
    return not isinstance(step, Instrument) or (step.effect != 0 and not name.endswith(BASELINE))


def _sentence(stage: str, rows: Sequence[tuple[float, str, str]], cells: int) -> str:
    """Message about the share of scores cut, and the cell with the largest share."""
    most = {name: max(r for r in rows if r[1] == name) for _, name, _ in rows}
    shares = ", ".join(f"{100 * share:.1f}% of {_words(name)}" for name, (share, _, _) in most.items())
    where = f" (in {len({r[2] for r in rows})} of {cells} cells, most in '{max(rows)[2]}')" if cells > 1 else ""
    return (
        f"[mechanism.{stage}] the ends of the scale cut {shares}{where}: mean, SD, ICC and effects differ from those "
        f"written; lowest and highest are the ends, and a continuous score (items = 0) without them has none"
        if not _instrument(stage)
        else f"[mechanism.{stage}] the ends of the scale cut {shares}{where}, which reduces the effect"
    )


def _instrument(stage: str) -> bool:
    return stage not in ("baseline", "outcomes.mansa")


def _words(name: str) -> str:
    outcome, arm = _of_column(name)
    return f"{outcome} {f'if {arm}' if arm == 'control' else 'if offered'}" if arm else f"{outcome} at baseline"


class _Sums:
    """Sums over people by group of practices, and what is made of them, each with its jackknife error."""

    def __init__(self, batch: TrialBatch) -> None:
        self.practice, practices = batch.index.participant_practice, batch.index.practices
        self.practices = practices
        self.group = np.arange(practices) * min(GROUPS, practices) // practices

    def _found(self, name: str, of: str, arm: str, terms: Sequence[Floats], f: Callable[..., Floats]) -> Quantity:
        """Function of sums over practices; the first of ``terms`` is the number of people (practices,)."""
        parts = np.stack([np.bincount(self.group, weights=t) for t in terms])
        whole, number = parts.sum(axis=1), parts.shape[1]
        with np.errstate(invalid="ignore", divide="ignore"):
            value, left = float(f(*whole)), f(*(whole[:, None] - parts))
        error = sqrt((number - 1) / number * float(((left - left.mean()) ** 2).sum())) if number > 1 else nan
        return Quantity(name=name, of=of, arm=arm, value=value, mcse=error, effort=int(whole[0]))

    def _by_practice(self, values: Floats) -> Floats:
        return sum_by(values, self.practice, self.practices)

    def moments(self, of: str, arm: str, values: Floats, who: NDArray[np.bool_] | None) -> list[Quantity]:
        """Mean, SD and ICC of a score among some people; blanks do not count."""
        counted = np.isfinite(values) if who is None else who & np.isfinite(values)
        centre = float(values[counted].mean()) if counted.any() else nan
        away = np.where(counted, values - centre, 0.0)
        n, s, q = (self._by_practice(v) for v in (counted.astype(np.float64), away, away**2))

        def variance(n: Floats, s: Floats, q: Floats) -> Floats:
            return np.asarray(q / n - (s / n) ** 2)

        def icc(n: Floats, s: Floats, q: Floats, pairs: Floats, products: Floats, sums: Floats) -> Floats:
            # mean product of two people of one practice about the mean of all, over the variance
            mean = s / n
            return np.asarray((products / pairs - 2.0 * mean * sums / pairs + mean**2) / variance(n, s, q))

        return [
            self._found("mean", of, arm, (n, s), lambda n, s: centre + s / n),
            self._found("sd", of, arm, (n, s, q), lambda *t: np.sqrt(variance(*t))),
            self._found("icc", of, arm, (n, s, q, n * (n - 1.0), s * s - q, s * (n - 1.0)), icc),
        ]

    def correlation(self, of: str, arm: str, one: Floats, other: Floats, who: NDArray[np.bool_]) -> Quantity:
        """Correlation of two scores of a person among some people."""
        counted = who & np.isfinite(one) & np.isfinite(other)
        x, y = (np.where(counted, v - (v[counted].mean() if counted.any() else 0.0), 0.0) for v in (one, other))
        terms = [self._by_practice(v) for v in (counted.astype(np.float64), x, y, x * x, y * y, x * y)]

        def r(n: Floats, x: Floats, y: Floats, xx: Floats, yy: Floats, xy: Floats) -> Floats:
            return np.asarray((xy - x * y / n) / np.sqrt((xx - x * x / n) * (yy - y * y / n)))

        return self._found("baseline_correlation", of, arm, terms, r)

    def share(self, name: str, of: str, arm: str, has: NDArray[np.bool_], who: NDArray[np.bool_] | None) -> Quantity:
        """Share of some people who have something; where all or none have, an error of 1 in those seen, not 0."""
        counted = np.ones(len(has)) if who is None else who.astype(np.float64)
        terms = [self._by_practice(counted), self._by_practice(counted * has)]
        found = self._found(name, of, arm, terms, lambda n, a: a / n)
        sure = found.value in (0.0, 1.0)
        return Quantity(
            name=name,
            of=of,
            arm=arm,
            value=found.value,
            mcse=1.0 / found.effort if sure else found.mcse,
            effort=found.effort,
        )

    def sizes(self) -> list[Quantity]:
        """Mean and coefficient of variation of people per practice."""
        n = self._by_practice(np.ones(len(self.practice)))
        one = np.ones(self.practices)
        mean = self._found("cluster_size_mean", "", "", (n, one), lambda n, k: n / k)
        cv = self._found("cluster_size_cv", "", "", (n, one, n * n), lambda n, k, q: np.sqrt(q * k / n**2 - 1.0))
        return [mean, cv]
