"""The methods on data sets: every method on every trial, as rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from simtrial.batch import ObservedBatch
from simtrial.errors import SimtrialError
from simtrial.estimators import Estimates, Method
from simtrial.estimators.contained import is_own
from simtrial.estimators.fitting import attempt
from simtrial.moments.references import references
from simtrial.moments.shared import SharedMoments
from simtrial.seeding import stream
from simtrial.store.estimate_rows import rows

COLUMNS = ("trial_id", "method", "term", "estimate", "std_error", "df", "statistic", "p_value", "ci_lower", "ci_upper",
           "status", "flags", "n_used", "clusters_used", "extra")  # fmt: skip

REQUEST = (SimtrialError,)  # what is wrong with the request, a category that is not there for example


def analyse(
    trial_ids: Sequence[str], batch: ObservedBatch, methods: Sequence[Method], seed: int = 1, every_term: bool = False
) -> pl.DataFrame:
    """Analyse every trial by every method.

    A method that draws has a stream per trial, so its numbers do not depend on which trials are analysed together.

    Returns
    -------
    frame
        Columns `COLUMNS`; trials in the order given, methods within trials.
    """
    shared = SharedMoments(batch)
    order = {name: at for at, name in enumerate(trial_ids)}
    frames = []
    for place, method in enumerate(methods):
        chosen = _references(method, batch)
        for estimates, names in _fits(method, trial_ids, shared, seed, every_term):
            reference = [chosen[order[name]] for name in names]
            frames += [_rows(estimates, names, method, place, at, reference) for at in range(len(estimates.terms))]
    frame = pl.concat(frames)
    frame = frame.with_columns(pl.col("trial_id").replace_strict(order, return_dtype=pl.Int64).alias("trial_place"))
    return frame.sort("trial_place", "method_place", "term_place").select(COLUMNS)


def _fits(
    method: Method, trial_ids: Sequence[str], shared: SharedMoments, seed: int, every_term: bool
) -> Iterator[tuple[Estimates, Sequence[str]]]:
    """Estimates of all trials together; one by one for a method that draws, or that raises for some of them."""
    own = is_own(method)
    if not method.is_random() and not own:
        together = attempt(method, shared, None, every_term, refuse=REQUEST)
        if together.error is None:
            yield together.estimates, trial_ids
            return
    for at, name in enumerate(trial_ids):  # of one that raised, the trial that is to blame is found here
        rng = stream(seed, name, 0, f"method:{method.name}") if method.is_random() else None
        alone = SharedMoments(shared.batch.only(at))
        seeds = stream(seed, name, 0, f"global:{method.name}") if own else None
        yield attempt(method, alone, rng, every_term, refuse=REQUEST, seeds=seeds).with_message, [name]


def _references(method: Method, batch: ObservedBatch) -> list[dict[str, str]]:
    """Reference categories of each trial, by covariate."""
    return references(batch, replace(method.spec(), received=None), imputed="imputation" in type(method).model_fields)


def _rows(
    estimates: Estimates,
    names: Sequence[str],
    method: Method,
    place: int,
    term: int,
    chosen: Sequence[Mapping[str, str]],
) -> pl.DataFrame:
    labels = {"trial_id": list(names), "method": method.name, "term": estimates.terms[term]}
    frame = rows(estimates, labels, term)
    statistic = pl.col("estimate") / pl.col("std_error")
    if "statistic" in estimates.extras and term == 0:
        statistic = pl.coalesce("statistic", statistic)
    hidden = (
        {"statistic"} if term == 0 else {"statistic", "df_num", "df_den", "ci_type"}
    )  # they are of the target alone
    reported = {*estimates.extras, *estimates.notes} - hidden
    extra_names = [c for c in frame.columns if c in reported]
    numbers = frame.select(extra_names).iter_rows(named=True) if extra_names else [{}] * frame.height
    extra = [
        json.dumps(
            {k: v for k, v in row.items() if v is not None and v == v and abs_finite(v)}
            | ({"reference": reference} if reference else {})
        )
        for row, reference in zip(numbers, chosen, strict=True)
    ]
    return frame.select(
        "trial_id", "method", "term", "estimate", "std_error", "df",
        statistic.alias("statistic"),
        "p_value", "ci_lower", "ci_upper", "status", "flags", "n_used", "clusters_used",
        pl.Series("extra", extra, dtype=pl.String),
        pl.lit(place).alias("method_place"), pl.lit(term).alias("term_place"),
    )  # fmt: skip


def abs_finite(value: object) -> bool:
    """Whether JSON can represent a value."""
    return not isinstance(value, float) or bool(np.isfinite(value))
