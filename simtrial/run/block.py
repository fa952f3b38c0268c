"""Rows of one block: every replicate by every method."""

from __future__ import annotations

import traceback
from typing import Any

import numpy as np
import polars as pl

from simtrial.core import serving, using
from simtrial.errors import in_words
from simtrial.estimands import own_values
from simtrial.estimators.contained import is_own
from simtrial.estimators.fitting import attempt, killed
from simtrial.generate import simulate
from simtrial.moments.shared import SharedMoments
from simtrial.run.stopwatch import DRAW, METHOD, OWN_TRUTH, ROWS, Stopwatch
from simtrial.scenario import Cell
from simtrial.scenario.schema import finite_targets, targets
from simtrial.seeding import stream
from simtrial.store.data_checks import Checks, checks_of
from simtrial.store.estimate_rows import Piece, columns_of, table


def block_rows(
    cell: Cell, block: int, failures: list[dict[str, Any]] | None = None, without: str = "",
    timed: Stopwatch | None = None, data: dict[str, Checks] | None = None,
) -> pl.DataFrame:  # fmt: skip
    """Rows of one block: every replicate by every method, once per estimand of the method.

    A method that is not to be tried, ``without``, has failed rows. Rows against a finite estimand carry the true value
    of their own trial, ``own_true_value``. Failures and checks of the data are entered into ``failures`` and ``data``.
    """
    return table(block_pieces(cell, block, failures, without, timed, data))


def block_pieces(
    cell: Cell, block: int, failures: list[dict[str, Any]] | None = None, without: str = "",
    timed: Stopwatch | None = None, data: dict[str, Checks] | None = None,
) -> list[Piece]:  # fmt: skip
    """Rows of one block as `block_rows` has them, not yet a frame: those of a chunk are made into one together."""
    with using(serving()):  # which core serves is looked up once, not by every kernel
        return _pieces(cell, block, failures, without, timed or Stopwatch(), data)


def _pieces(
    cell: Cell, block: int, failures: list[dict[str, Any]] | None, without: str, timed: Stopwatch,
    data: dict[str, Checks] | None,
) -> list[Piece]:  # fmt: skip
    """Rows of each method and estimand."""
    scenario = cell.scenario
    size, seed = scenario.run.block, scenario.run.seed
    drawn = simulate(scenario.needed, size, seed, cell.key, block, timed=lambda stage: timed(f"{DRAW} {stage}"))
    with timed(OWN_TRUTH):
        own = own_values(finite_targets(scenario), scenario.mechanism, drawn, seed, cell.key, block)
    observed = drawn.observed()
    del drawn  # what follows takes its memory, which the processor has at hand
    if data is not None:
        data[str(block)] = checks_of(observed)
    shared = SharedMoments(observed)
    replicate = np.arange(block * size + 1, (block + 1) * size + 1)
    pieces: list[Piece] = []
    for method in scenario.methods:
        rng = stream(seed, cell.key, block, f"method:{method.name}") if method.is_random() else None
        seeds = stream(seed, cell.key, block, f"global:{method.name}") if is_own(method) else None
        with timed(f"{METHOD} {method.name}"):
            if method.name == without:
                found = killed(method, size)
            else:
                found = attempt(method, shared, rng, seconds=scenario.run.method_seconds, seeds=seeds)
        if found.error is not None and failures is not None:
            failures.append(_raised(found.error, cell.id, block, method.name))
        labels = {"cell": cell.id, "replicate": replicate, "method": method.name}
        names = targets(method, scenario) or [""]
        truths = [{"own_true_value": own[name]} if name in own else {} for name in names]
        with timed(ROWS):
            told = found.with_message
            here = columns_of(told)
            pieces += [Piece(size, {**labels, "estimand": n, **t, **here}) for n, t in zip(names, truths, strict=True)]
        if failures is not None and told.failed.any():
            failures += _failed_rows(table(pieces[-1:]))
    return pieces


def _raised(error: BaseException, cell: str, block: int, method: str) -> dict[str, Any]:
    record = {"cell": cell, "block": block, "method": method, "error": in_words(error)}
    return {**record, "traceback": "".join(traceback.format_exception(error))}


def _failed_rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    wanted = ["cell", "replicate", "method", "flags", "n_used", "clusters_used"]
    wanted += ["message"] if "message" in frame.columns else []
    return list(frame.filter(pl.col("status") == "failed").select(wanted).iter_rows(named=True))
