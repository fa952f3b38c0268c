"""Moments of one batch, computed once for all methods with the same rows and columns."""

from __future__ import annotations

from simtrial.batch import ObservedBatch
from simtrial.moments.build import moments, with_received
from simtrial.moments.moments import Moments
from simtrial.moments.rows import Spec


class SharedMoments:
    """A batch and its moments; ``like`` are moments of the same trials completed otherwise, which may be theirs."""

    def __init__(self, batch: ObservedBatch, like: Moments | None = None) -> None:
        self.batch, self._like = batch, like
        self._made: dict[Spec, Moments] = {}

    def moments(self, spec: Spec) -> Moments:
        """Return the moments of a specification, computed on first use."""
        if spec not in self._made:
            if spec.plain is spec:
                self._made[spec] = moments(self.batch, spec, self._like)
            else:
                self._made[spec] = with_received(self.moments(spec.plain), self.batch, spec)
        return self._made[spec]
