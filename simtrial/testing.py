"""The contracts every method and every generator keep, as checks that the author of a new one can run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from simtrial.batch import Column, ObservedBatch, TrialBatch
from simtrial.errors import SimtrialError, in_words
from simtrial.estimands import Estimand, in_simulated_practices, known_values
from simtrial.estimators import Estimates, Method, method_class
from simtrial.estimators.fitting import fit
from simtrial.flags import text
from simtrial.generate import Generator, before_allocation, simulate
from simtrial.generate.column_names import at_followup, in_either_world, outcomes_in
from simtrial.generate.generators import generator_class, promise_problems
from simtrial.moments.shared import SharedMoments
from simtrial.scenario import load

ARRAYS = ("estimate", "std_error", "df", "ci_lower", "ci_upper", "p_value")
TRIALS = 12


class ContractError(AssertionError):
    """A broken rule of the contract of methods or generators, with the evidence."""


def check_method(method: Method | str | Mapping[str, Any], *, equivariant: bool = True, trials: int = TRIALS) -> None:
    """Run the contract suite on a method.

    Parameters
    ----------
    method
        A method, its kind, or its options as a scenario file has them (``{"kind": ..., ...}``).
    equivariant
        Whether the estimate must follow a shift and a scale of the outcome and change sign when the arms are swapped.
    trials
        PARTNERS-like trials to try it on.

    Raises
    ------
    ContractError
        Naming the first rule that is broken.
    """
    made = _method(method)
    batch = simulate(load("partners")[0].mechanism, trials, 7, "", 0).observed()
    first = _fit(made, batch)
    _shapes(first, trials)
    _check_estimates(first)
    if first.failed.all():
        message = first.notes["message"][0] if "message" in first.notes else text(int(first.flags[0]))
        raise ContractError(f"it fails on every one of {trials} ordinary trials ({message})")
    _same(first, _fit(made, batch), 1e-12, "a second call on the same trials gives other numbers (is the rng used?)")
    _same(first, _one_by_one(made, batch), 1e-8, "trials analysed one by one give other numbers than together")
    if not made.is_random():
        _same(first, _fit(made, _reversed(batch)), 1e-6, "the order of participants within practices matters")
        if equivariant:
            _follows(made, batch, first)
    _survives(made, batch)


def _method(method: Method | str | Mapping[str, Any]) -> Method:
    if isinstance(method, Method):
        return method
    options = {"kind": method} if isinstance(method, str) else dict(method)
    defaults = {"name": options["kind"], "response": "mansa", "adjust": ["mansa_baseline", "region", "practice_size"]}
    return method_class(options["kind"]).model_validate({**defaults, **options})


def _rng() -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(11))


def _fit(method: Method, batch: ObservedBatch) -> Estimates:
    before = {name: c.values.copy() for name, c in batch.columns.items()}
    try:
        found = fit(method, SharedMoments(batch), _rng() if method.is_random() else None)
    except Exception as error:
        raise ContractError(f"fit raised {in_words(error)}; a fit that fails is a status") from error
    for name, values in before.items():
        if not np.array_equal(values, batch.columns[name].values, equal_nan=True):
            raise ContractError(f"the input was changed: column '{name}'")
    if not isinstance(found, Estimates):
        raise ContractError(f"fit returned {type(found).__name__}, not Estimates")
    return found


def _shapes(found: Estimates, trials: int) -> None:
    for name in ARRAYS:
        shape = np.shape(getattr(found, name))
        if shape != (len(found.terms), trials):
            raise ContractError(f"{name} has shape {shape}; (terms, trials) = {(len(found.terms), trials)} expected")
    for name in ("failed", "flags", "n_used", "clusters_used"):
        if np.shape(getattr(found, name)) != (trials,):
            raise ContractError(f"{name} has shape {np.shape(getattr(found, name))}; (trials,) = {(trials,)} expected")


def _check_estimates(found: Estimates) -> None:
    tested = ~np.isnan(found.p_value[0]) if "statistic" in found.extras else np.zeros_like(found.failed)
    unsaid = np.isnan(found.estimate[0]) & ~tested & ~found.failed  # a joint test of several terms has no estimate
    if unsaid.any():
        raise ContractError(f"{unsaid.sum()} trials have no estimate and are not marked failed")
    if (found.failed & (found.flags == 0)).any():
        raise ContractError("failed trials have no flag that gives the reason")
    if (found.std_error[0][~found.failed] < 0).any():
        raise ContractError("a standard error is negative")
    if (found.ci_lower[0] > found.ci_upper[0]).any():
        raise ContractError("an interval's lower limit is above its upper one")


def _same(one: Estimates, other: Estimates, tolerance: float, rule: str) -> None:
    for name in ("estimate", "std_error", "ci_lower", "ci_upper", *(["p_value"] if "statistic" in one.extras else [])):
        a, b = getattr(one, name)[0], getattr(other, name)[0]
        if not np.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True):
            raise ContractError(f"{rule}: {name} differs by {np.nanmax(np.abs(a - b)):.2g}")


def _one_by_one(method: Method, batch: ObservedBatch) -> Estimates:
    if method.is_random():  # its draws are the block's, so there is nothing to compare
        return _fit(method, batch)
    parts = [_fit(method, batch.only(t)) for t in range(batch.index.trials)]
    joined: dict[str, Any] = {name: np.concatenate([getattr(p, name) for p in parts], axis=1) for name in ARRAYS}
    return replace(parts[0], **joined)


def _reversed(batch: ObservedBatch) -> ObservedBatch:
    """The same trials, participants of each practice in reverse order."""
    practice = batch.index.participant_practice
    order = np.lexsort((-np.arange(len(practice)), practice))
    columns = {
        n: replace(c, values=c.values[order]) if c.level == "participant" else c for n, c in batch.columns.items()
    }
    return ObservedBatch(batch.index, columns)


def _moved(batch: ObservedBatch, change: Callable[[Any], Any]) -> ObservedBatch:
    scores = ("mansa_baseline", "mansa_followup")
    return batch.with_columns({n: replace(batch.columns[n], values=change(batch.columns[n].values)) for n in scores})


def _follows(method: Method, batch: ObservedBatch, first: Estimates) -> None:
    scaled = _fit(method, _moved(batch, lambda y: 3.0 * y))
    shifted = _fit(method, _moved(batch, lambda y: y + 10.0))
    for found, factor, rule in ((scaled, 3.0, "scaling the scores by 3"), (shifted, 1.0, "adding 10 to the scores")):
        if not np.allclose(found.estimate[0], factor * first.estimate[0], rtol=1e-5, atol=1e-6, equal_nan=True):
            raise ContractError(f"{rule} does not scale the estimate by {factor:g}")
    if method.target == "arm":
        arm = batch.columns["arm"]
        swapped = batch.with_columns({"arm": replace(arm, values=1.0 - arm.values)})
        found = _fit(method, swapped)
        if not np.allclose(found.estimate[0], -first.estimate[0], rtol=1e-5, atol=1e-6, equal_nan=True):
            raise ContractError("swapping the arms does not change the sign (equivariant=False if that is meant)")


def _survives(method: Method, batch: ObservedBatch) -> None:
    """Degenerate trials: a status, never an exception."""
    people = batch.index.participants
    followup = batch.at("mansa_followup")
    cases = {
        "all outcomes missing": {"mansa_followup": Column(np.full(people, np.nan), "participant")},
        "all outcomes equal": {"mansa_followup": Column(np.full(people, 4.0), "participant")},
        "no outcome in one arm": {
            "mansa_followup": Column(np.where(batch.at("arm") == 1, np.nan, followup), "participant")
        },
        "everyone in one arm": {"arm": Column(np.ones(batch.index.practices), "practice")},
    }
    for name, columns in cases.items():
        try:
            found = _fit(method, batch.with_columns(columns))
            _check_estimates(found)
        except ContractError as error:
            raise ContractError(f"{name}: {error}") from error


def check_generator(generator: Generator | str | Mapping[str, Any], *, trials: int = TRIALS) -> None:
    """Run the contract suite on a generator: its name, or its options as a scenario file has them.

    Raises
    ------
    ContractError
        Naming the first rule that is broken.
    """
    if not isinstance(generator, Generator):
        options = {"name": generator} if isinstance(generator, str) else dict(generator)
        generator = generator_class(options["name"]).model_validate(options)
    for message in promise_problems(generator):
        raise ContractError(f"it {message}")
    first, again, other = (_drawn(generator, trials, block) for block in (0, 0, 1))
    _codes(first)
    for name, column in first.columns.items():
        if not np.array_equal(column.values, again.columns[name].values):
            raise ContractError(f"column '{name}' differs between two draws from the same stream (is rng used?)")
    if all(np.array_equal(c.values, other.columns[n].values) for n, c in first.columns.items()):
        raise ContractError("another block has the same trials: nothing is drawn from rng")
    for outcome in outcomes_in(first.columns):
        _happens(first, outcome)
    _knows(generator)


def _drawn(generator: Generator, trials: int, block: int) -> TrialBatch:
    try:
        return simulate({"generator": generator}, trials, 7, "", block)
    except SimtrialError as error:
        raise ContractError(str(error)) from error
    except Exception as error:
        raise ContractError(f"draw_trials raised {in_words(error)}") from error


def _codes(batch: TrialBatch) -> None:
    """Numbers are there, factors are codes of their categories, the arm and masks are 0 or 1."""
    masks = [name for name, column in batch.columns.items() if column.hides]
    for name, column in batch.columns.items():
        if not np.isfinite(column.values).all():
            raise ContractError(
                f"column '{name}' has values that are not numbers; what nobody sees is for a mask to hide"
            )
        allowed = len(column.categories) or (2 if name in ("arm", *masks) else 0)
        if allowed and not np.isin(column.values, np.arange(allowed)).all():
            raise ContractError(f"column '{name}' holds values other than 0 to {allowed - 1}")


def _happens(batch: TrialBatch, outcome: str) -> None:
    """The outcome recorded is the potential outcome of the arm."""
    control, treated, followup = (batch.at(name) for name in (*in_either_world(outcome), at_followup(outcome)))
    if not np.array_equal(followup, np.where(batch.at("arm") == 1, treated, control)):
        raise ContractError(f"'{outcome}_followup' is not the potential outcome of the arm allocated")


def _knows(generator: Generator) -> None:
    """True values given in closed form are those of the potential outcomes, to 4.5 Monte Carlo errors."""
    mechanism = {"generator": generator}
    earlier, promised = before_allocation(mechanism), generator.adds()
    weights = [n for n, v in promised.items() if n in earlier and v.level == "practice" and not v.categories]
    kinds: list[dict[str, Any]] = [{"unit": "participant"}, {"unit": "cluster"}]
    kinds += [{"unit": "cluster", "weights": name} for name in weights if not promised[name].latent]
    outcomes = outcomes_in(promised)
    estimands = [Estimand(name=f"{y} {k}", kind="itt", response=y, **k) for y in outcomes for k in kinds]
    known = known_values(estimands, mechanism)
    chosen = [e for e in estimands if e.name in known]
    for found in in_simulated_practices(chosen, mechanism, 7, "") if chosen else []:
        if not abs(found.value - known[found.estimand].value) <= 4.5 * found.mcse + 1e-9:
            message = f"{known[found.estimand].value:g}, and simulation gives {found.value:g} ({found.mcse:.2g})"
            raise ContractError(f"the true value known of {found.estimand} is {message}")
