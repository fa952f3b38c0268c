"""The flow of people and practices through one simulated trial, as a CONSORT diagram counts them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl

from simtrial.batch import ObservedBatch, TrialBatch
from simtrial.expressions import columns, evaluate, parse
from simtrial.generate import drawn_for, simulate
from simtrial.generate.column_names import at_followup
from simtrial.run.implied import outcomes, receipts
from simtrial.scenario import Cell

ENROLMENT, ALLOCATION, RECEIPT, LOST, MISSING, ANALYSED = (
    "enrolment", "allocation", "receipt", "lost", "missing", "analysed",
)  # fmt: skip

ENROLLED = (
    ("approached", "practices approached", "practices"),
    ("practices_recruited", "practices recruited", "practices"),
    ("people_screened", "people screened", "people"),
    ("people_eligible", "eligible", "people"),
    ("people_consented", "consented", "people"),
    ("people_assessed", "assessed at baseline", "people"),
)
"""Columns about a whole trial before allocation, in words, and whom they count."""


class Box(NamedTuple):
    """A box: stage of the trial, arm (empty before allocation), what it says, and how many."""

    stage: str
    arm: str
    what: str
    practices: int | None
    people: int | None


def flow(cell: Cell, replicate: int) -> pl.DataFrame:
    """Count practices and people at every stage of one replicate: stage, arm, what, practices, people."""
    block, place = divmod(replicate - 1, cell.scenario.run.block)
    batch = _drawn(cell, block)
    boxes = [*_before(batch, place), *(box for arm in (0, 1) for box in _of_arm(cell, batch, place, arm))]
    schema = {"stage": pl.String, "arm": pl.String, "what": pl.String, "practices": pl.Int64, "people": pl.Int64}
    return pl.DataFrame(boxes, schema=schema, orient="row").with_columns(replicate=pl.lit(replicate))


def _drawn(cell: Cell, block: int) -> TrialBatch:
    scenario = cell.scenario
    wanted = {"arm", "followed_up", "died", *(name for name, _, _ in ENROLLED)}
    wanted |= {at_followup(name) for name in outcomes(scenario.mechanism)[:1]}
    for text in receipts(scenario)[:1]:
        wanted |= columns(parse(text))
    needed = drawn_for(scenario.mechanism, frozenset(wanted) & frozenset(scenario.variables))
    return simulate(needed, scenario.run.block, scenario.run.seed, cell.key, block)


def _before(batch: TrialBatch, place: int) -> Iterator[Box]:
    """Everybody before allocation, and those allocated."""
    for name, words, counted in ENROLLED:
        if name in batch.columns:
            number = int(batch.at(name, "trial")[place])
            yield Box(ENROLMENT, "", words, *((number, None) if counted == "practices" else (None, number)))
    index = batch.index
    practices, people = (int((of == place).sum()) for of in (index.practice_trial, index.participant_trial))
    yield Box(ALLOCATION, "", "allocated", practices, people)


def _of_arm(cell: Cell, batch: TrialBatch, place: int, arm: int) -> Iterator[Box]:
    """An arm of the trial after allocation."""
    index, name = batch.index, ("control", "intervention")[arm]
    practice = (index.practice_trial == place) & (batch.at("arm", "practice") == arm)
    person = practice[index.participant_practice]
    yield Box(ALLOCATION, name, f"allocated to {name}", int(practice.sum()), int(person.sum()))
    complete = ObservedBatch(index, {n: c for n, c in batch.columns.items() if not c.latent})
    for text in receipts(cell.scenario)[:1]:
        yield Box(RECEIPT, name, f"received: {text}", None, int((person & evaluate(text, complete)).sum()))
    there = np.ones(index.participants, dtype=bool)
    if "followed_up" in batch.columns:
        there = batch.at("followed_up") == 1
        died = int((person & ~there & (batch.at("died") == 1)).sum()) if "died" in batch.columns else 0
        words = f"lost to follow-up ({died} died)" if died else "lost to follow-up"
        yield Box(LOST, name, words, None, int((person & ~there).sum()))
    for outcome in outcomes(cell.scenario.mechanism)[:1]:
        blank = np.isnan(batch.observed().at(at_followup(outcome)))
        yield Box(MISSING, name, f"followed up, no {outcome}", None, int((person & there & blank).sum()))
        analysed = person & ~blank
        practices = len(np.unique(index.participant_practice[analysed]))
        yield Box(ANALYSED, name, f"with {outcome} at follow-up", practices, int(analysed.sum()))
