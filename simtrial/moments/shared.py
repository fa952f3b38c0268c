"""Moments of one batch, made once for all methods that ask for the same rows and columns."""

from __future__ import annotations

from dataclasses import replace

from simtrial.batch import ObservedBatch
from simtrial.moments.build import moments, with_received
from simtrial.moments.moments import Moments
from simtrial.moments.rows import Spec


class SharedMoments:
    """A batch with the moments that were made of it."""

    def __init__(self, batch: ObservedBatch) -> None:
        self.batch = batch
        self._made: dict[Spec, Moments] = {}

    def moments(self, spec: Spec) -> Moments:
        """Return the moments of a specification, made when first asked for."""
        if spec not in self._made:
            if spec.received is None:
                self._made[spec] = moments(self.batch, spec)
            else:
                plain = self.moments(replace(spec, received=None))
                self._made[spec] = with_received(plain, self.batch, spec)
        return self._made[spec]
