"""Analyses of trials completed many times, most often of the same people: what X alone decides is made once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from simtrial.batch import ObservedBatch
from simtrial.estimators import Estimates, Method
from simtrial.estimators.fitting import fit
from simtrial.moments.moments import Moments
from simtrial.moments.shared import SharedMoments


def moments_of(analysis: Method, completions: Iterable[ObservedBatch]) -> Iterator[Moments]:
    """Moments of completed trials for an analysis."""
    before: Moments | None = None
    for completed in completions:
        before = SharedMoments(completed, before).moments(analysis.spec())
        yield before


def analyses_of(
    analysis: Method, completions: Iterable[ObservedBatch], every_term: bool = False
) -> Iterator[tuple[Moments, Estimates]]:
    """Moments of completed trials, and what an analysis makes of them."""
    before: Moments | None = None
    for completed in completions:
        shared = SharedMoments(completed, before)
        before = shared.moments(analysis.spec())
        yield before, fit(analysis, shared, None, every_term)
