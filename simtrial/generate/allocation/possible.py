"""Whether a stated allocation can have given the arms that are seen, and if not, why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrc, betaincinv

from simtrial.generate.allocation.allocation import Allocation
from simtrial.generate.allocation.constrained import arm_totals, share_better, standardised
from simtrial.generate.allocation.minimisation import preferred, steps_against
from simtrial.generate.allocation.permuted_blocks import count_fits, sequence_fits, strata

Columns = Mapping[str, NDArray[Any]]
Rows = NDArray[np.intp]
Describe = Callable[[str, int], str]
CHANCE = 1e-6
"""Arms that an allocation gives with less than this probability are taken not to have come from it."""

SCHEMES = 2000  # drawn to find how many balance better than the one seen


def doubts(
    options: Allocation, columns: Columns, arm: NDArray[np.int64], practice_trial: Rows, describe: Describe
) -> NDArray[np.str_]:
    """Why the arms of each trial cannot have come from an allocation (trials,); empty where they can.

    What is impossible is told: numbers per arm (complete, constrained), numbers and sequences within strata (blocks).
    So is what has a chance below `CHANCE`: too few in an arm (simple), too many steps against the preferred arm
    (minimisation), or a scheme that was hardly among the best (constrained).

    Parameters
    ----------
    columns
        What ``options.reads()`` names (practices,), as `allocate` takes them.
    arm, practice_trial
        (practices,): 0 or 1, and trial of each practice, from 0, sorted.
    describe
        Text for the value of a column in a practice.
    """
    judge = {
        "simple": _simple, "complete": _complete, "blocks": _blocks, "minimisation": _minimisation,
        "constrained": _constrained,
    }[options.method]  # fmt: skip
    trials = int(practice_trial.max(initial=-1)) + 1
    found = np.full(trials, "", dtype=object)
    for trial, reason in judge(options, columns, arm, practice_trial, describe):
        found[trial] = found[trial] or reason
    return found.astype(str)


def _totals(arm: NDArray[np.int64], practice_trial: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Practices, and practices in intervention (trials,)."""
    practices = np.bincount(practice_trial)
    return practices, np.bincount(practice_trial, weights=arm, minlength=len(practices)).astype(np.int64)


Reasons = list[tuple[int, str]]


def _simple(options: Allocation, columns: Columns, arm: Any, practice_trial: Rows, describe: Describe) -> Reasons:
    practices, treated = _totals(arm, practice_trial)
    share = options.ratio[1] / sum(options.ratio)
    least = np.minimum(bdtr(treated, practices, share), bdtrc(treated - 1, practices, share))
    return [
        (int(t), f"{treated[t]} of {practices[t]} practices are in intervention: coins of {share:.3g} do not give this")
        for t in np.flatnonzero((least < CHANCE / 2) & (treated >= 0))
    ]


def _complete(options: Allocation, columns: Columns, arm: Any, practice_trial: Rows, describe: Describe) -> Reasons:
    practices, treated = _totals(arm, practice_trial)
    low, high = (arm_totals(practices, options.ratio, np.full(len(practices), last)) for last in (1.0, 0.0))
    if options.intervention_practices:
        low = high = np.full(len(practices), options.intervention_practices)
    found = []
    for t in np.flatnonzero((treated < low) | (treated > high)):
        given = f"{low[t]}" if low[t] == high[t] else f"{low[t]} or {high[t]}"
        stated = (
            f"intervention_practices = {options.intervention_practices}" if options.intervention_practices
            else f"ratio = {options.ratio}"
        )  # fmt: skip
        found.append((int(t), f"{treated[t]} of {practices[t]} practices are in intervention; {stated} gives {given}"))
    return found


def _blocks(options: Allocation, columns: Columns, arm: Any, practice_trial: Rows, describe: Describe) -> Reasons:
    names = options.strata or options.factors
    stratum = strata([columns[name] for name in names], len(arm))
    cells, group = np.unique(practice_trial * (int(stratum.max(initial=0)) + 1) + stratum, return_inverse=True)
    first = np.full(len(cells), len(arm))
    np.minimum.at(first, group, np.arange(len(arm)))
    practices, treated = _totals(arm, group)
    sizes = sorted(set(options.block_sizes))
    fits = count_fits(practices, treated, sizes, options.ratio)
    ordered = fits if options.order == "random" else sequence_fits(group, arm, sizes, options.ratio)
    blocks, found = ", ".join(map(str, sizes)), []
    for cell in [*np.flatnonzero(~fits), *np.flatnonzero(fits & ~ordered)]:
        at = int(first[cell])
        where = " with " + " and ".join(f"{name} {describe(name, at)}" for name in names) if names else ""
        reason = f"{treated[cell]} of {practices[cell]} practices{where} are in intervention"
        hint = ""
        if fits[cell]:
            reason = f"the arms of practices{where} in their order, {' '.join(map(str, arm[group == cell][:30]))}"
            hint = "; order = 'random' leaves the order aside"
        found.append((int(practice_trial[at]), f"{reason}: blocks of {blocks} cannot give this{hint}"))
    return found


def _minimisation(options: Allocation, columns: Columns, arm: Any, practice_trial: Rows, describe: Describe) -> Reasons:
    """With an unknown order every set of arms is possible: no reasons.

    Each step with a preferred arm departs from it with probability at most p, whatever went before. The number of such
    steps m is random, hence Bonferroni over its values: CHANCE is divided by the practices.
    """
    if options.order == "random":
        return []
    weights = [options.weights.get(name, 1.0) for name in options.factors]
    against, steps = steps_against(
        np.stack([columns[name] for name in options.factors]), arm, practice_trial, imbalance=options.imbalance,
        weights=weights, ratio=options.ratio,
    )  # fmt: skip
    up, down = preferred(options.best_arm_probability, options.ratio)
    chance = bdtrc(against - 1, steps, max(1.0 - up, down))
    practices = np.bincount(practice_trial)
    return [
        (int(t), f"{against[t]} of the {steps[t]} practices for which one arm balanced better are in the other:"
                 f" best_arm_probability = {options.best_arm_probability:g} does not give this in their order")
        for t in np.flatnonzero((against > 0) & (chance < CHANCE / practices))
    ]  # fmt: skip


def _constrained(options: Allocation, columns: Columns, arm: Any, practice_trial: Rows, describe: Describe) -> Reasons:
    """Numbers per arm; then the share of schemes that balance better than the one seen.

    The one chosen is among the ceil(share x candidates) best of its candidates. With at least q of all schemes better
    (a lower Clopper-Pearson bound from `SCHEMES` of them), the chance of that is P(Bin(candidates - 1, q) < their
    number). Both errors are at most CHANCE / 2.
    """
    found = _complete(options, columns, arm, practice_trial, describe)
    factors = [(columns[f], options.weights.get(f, 1.0)) for f in options.factors]
    numbers = [(columns[n], options.weights.get(n, 1.0)) for n in options.numeric]
    covariates, weights = standardised(factors, numbers, practice_trial)
    better = share_better(
        covariates, weights, arm, practice_trial, SCHEMES, ratio=options.ratio,
        treated=options.intervention_practices or None,
    )  # fmt: skip
    at_least = np.where(better > 0, betaincinv(np.maximum(better, 1), SCHEMES - better + 1, CHANCE / 2), 0.0)
    best = max(1, int(np.ceil(options.share * options.candidates - 1e-9)))
    chance = bdtr(best - 1, options.candidates - 1, at_least)
    rank = f"which is not among the best {best} of {options.candidates}"
    return found + [
        (int(t), f"{100 * better[t] / SCHEMES:.3g}% of all schemes balance better than the one seen, {rank}")
        for t in np.flatnonzero(chance < CHANCE / 2)
    ]
