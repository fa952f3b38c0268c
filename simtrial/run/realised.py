"""What trials of a run turned out to be: sizes, ICC, missing outcomes and receipt, beside what the scenario implies."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simtrial.arrays import Floats
from simtrial.batch import Index, ObservedBatch, TrialBatch
from simtrial.expressions import columns, evaluate, parse
from simtrial.generate import drawn_for, simulate
from simtrial.generate.column_names import at_baseline, at_followup
from simtrial.kernels.segments import count_by, sum_by
from simtrial.run.implied import implied, outcomes, receipts
from simtrial.scenario import Cell

SCHEMA = {
    "cell": pl.String, "characteristic": pl.String, "replicate": pl.Int64, "value": pl.Float64, "target": pl.Float64,
    "target_mcse": pl.Float64,
}  # fmt: skip

Of = tuple[str, str, str]


def realised(cell: Cell, most: int | None = None) -> pl.DataFrame:
    """Characteristics of every trial of a cell's first block, each with the value that the scenario implies.

    ``most``: replicates there are, if not as many as the scenario says.

    Returns
    -------
    frame
        cell, characteristic, replicate, value, target and its Monte Carlo error, for most are simulated themselves (0:
        exact; blank where the scenario implies none).
    """
    scenario = cell.scenario
    batch = first_block(cell)
    targets: dict[Of, tuple[float, float]] = {(q.name, q.of, q.arm): (q.value, q.mcse) for q in implied(cell)}
    if _fixed(batch):
        targets["practices", "", ""] = float(batch.index.practices / batch.index.trials), 0.0
    number = min(scenario.run.block, most or scenario.run.replicates)
    parts = [pl.DataFrame(schema=SCHEMA)]
    for name, of, values in _characteristics(cell, batch):
        target, mcse = targets.get(of, (None, None))
        parts.append(
            pl.DataFrame({"value": values[:number]}).with_columns(
                pl.lit(cell.id).alias("cell"), pl.lit(name).alias("characteristic"),
                pl.int_range(1, number + 1).alias("replicate"), pl.lit(target, dtype=pl.Float64).alias("target"),
                pl.lit(mcse, dtype=pl.Float64).alias("target_mcse"),
            ).select(list(SCHEMA)).with_columns(pl.col(pl.Float64).fill_nan(None))
        )  # fmt: skip
    return pl.concat(parts)


def first_block(cell: Cell, more: frozenset[str] = frozenset()) -> TrialBatch:
    """Trials of the first block of a cell, as a run draws them, with what describes them."""
    scenario, there = cell.scenario, frozenset(cell.scenario.variables)
    wanted = {"arm", "followed_up"} | more
    for outcome in outcomes(scenario.mechanism):
        wanted |= {at_baseline(outcome), at_followup(outcome)}
    for text in receipts(scenario):
        wanted |= columns(parse(text))
    needed = drawn_for(scenario.mechanism, frozenset(wanted) & there)
    return simulate(needed, scenario.run.block, scenario.run.seed, cell.key, 0)


def _fixed(batch: TrialBatch) -> bool:
    number = count_by(batch.index.practice_trial, batch.index.trials)
    return bool((number == number[0]).all())


def _characteristics(cell: Cell, batch: TrialBatch) -> Iterator[tuple[str, Of, Floats]]:
    """Name, what is implied of it, and value in every trial (trials,)."""
    index, seen = batch.index, batch.observed()
    practices, people = count_by(index.practice_trial, index.trials), count_by(index.participant_trial, index.trials)
    yield "practices", ("practices", "", ""), practices
    yield "people", ("people", "", ""), people
    sizes = count_by(index.participant_practice, index.practices)
    mean = people / practices
    spread = np.sqrt(sum_by((sizes - mean[index.practice_trial]) ** 2, index.practice_trial, index.trials) / practices)
    yield "people per practice", ("cluster_size_mean", "", ""), mean
    with np.errstate(invalid="ignore", divide="ignore"):
        yield "CV of people per practice", ("cluster_size_cv", "", ""), spread / mean
    outcome = outcomes(cell.scenario.mechanism)[:1]
    arm = batch.at("arm")
    for name in outcome:
        yield from _of_outcome(name, batch, seen, arm)
    if "followed_up" in batch.columns:
        for word, code in (("control", 0), ("intervention", 1)):
            yield f"lost, {word}", ("dropout", "", word), share(batch.at("followed_up") == 0, arm == code, index)
    complete = ObservedBatch(index, {n: c for n, c in batch.columns.items() if not c.latent})
    for text in receipts(cell.scenario):
        yield (
            f"{text}, intervention",
            ("receipt", text, "intervention"),
            share(evaluate(text, complete), arm == 1, index),
        )


def _of_outcome(
    name: str, batch: TrialBatch, seen: ObservedBatch, arm: NDArray[np.generic]
) -> Iterator[tuple[str, Of, Floats]]:
    index = batch.index
    everyone = np.ones(index.participants, dtype=bool)
    if at_baseline(name) in batch.columns:
        yield f"ICC of {name} at baseline", ("icc", name, ""), anova_icc(batch.at(at_baseline(name)), everyone, index)
    after = batch.at(at_followup(name))
    yield f"ICC of {name} at follow-up, control", ("icc", name, "control"), anova_icc(after, arm == 0, index)
    blank = np.isnan(seen.at(at_followup(name)))
    for word, code in (("control", 0), ("intervention", 1)):
        yield f"no {name} at follow-up, {word}", ("no_outcome", name, word), share(blank, arm == code, index)


def share(has: NDArray[np.bool_], who: NDArray[np.bool_], index: Index) -> Floats:
    """Share of some people of each trial who have something (trials,), NaN where there are no such people."""
    trial = index.participant_trial
    with np.errstate(invalid="ignore"):
        return np.asarray(count_by(trial[has & who], index.trials) / count_by(trial[who], index.trials))


def anova_icc(values: Floats, who: NDArray[np.bool_], index: Index) -> Floats:
    """ICC of each trial by analysis of variance (trials,): (MSB - MSW) / (MSB + (n0 - 1) MSW), below 0 by chance.

    n0 = (N - sum n^2 / N) / (k - 1) for k practices of n people (Donner 1986); NaN where n0 is below 2, for then a
    value far below -1 is possible.
    """
    kept = who & np.isfinite(values)
    practice, trials = index.participant_practice[kept], index.trials
    n, s = count_by(practice, index.practices), sum_by(values[kept], practice, index.practices)
    q = sum_by(values[kept] ** 2, practice, index.practices)
    of = index.practice_trial
    with np.errstate(invalid="ignore", divide="ignore"):
        own = np.where(n > 0, s**2 / n, 0.0)
        k, number, total = count_by(of[n > 0], trials), sum_by(n, of, trials), sum_by(s, of, trials)
        between = (sum_by(own, of, trials) - total**2 / number) / (k - 1)
        within = sum_by(q - own, of, trials) / (number - k)
        size = (number - sum_by(n**2, of, trials) / number) / (k - 1)
        found = (between - within) / (between + (size - 1) * within)
    return np.where(np.isfinite(found) & (size >= 2), found, np.nan)
