"""The nearest donors of every recipient, group by group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simtrial.arrays import Floats, Ints


@dataclass(frozen=True)
class Donors:
    """Donors sorted by group and value: ``order`` (donors,), ``value`` and ``group`` in that order, ``first`` of each.

    ``first`` (groups + 1,) is where the donors of every group begin, and where the last ones end.
    """

    order: Ints
    value: Floats
    group: Ints
    first: Ints

    @classmethod
    def of(cls, value: Floats, group: Ints, groups: int) -> Donors:
        """Sort donors once."""
        order = np.lexsort((value, group))
        first = np.concatenate([[0], np.cumsum(np.bincount(group, minlength=groups))])
        return cls(order, value[order], group[order], first)

    def drawn(self, value: Floats, group: Ints, count: int, rng: np.random.Generator) -> Ints:
        """One of the ``count`` nearest donors of every recipient at random, of all where there are fewer (recipients,).

        Every group with a recipient needs a donor. Of donors that are equally near some may be left out.
        """
        both = np.lexsort((np.concatenate([value, self.value]), np.concatenate([group, self.group])))
        before = np.cumsum(both >= len(value))  # donors up to each place
        place = np.empty(len(both), dtype=np.intp)
        place[both] = before
        near = place[: len(value)] + np.arange(-count, count)[:, None]
        inside = (near >= self.first[group]) & (near < self.first[group + 1])
        near = np.where(inside, near, self.first[group])
        apart = np.where(inside, np.abs(self.value[near] - value), np.inf)
        nearest = np.argsort(apart, axis=0, kind="stable")[:count]
        available = np.minimum(self.first[group + 1] - self.first[group], count)
        chosen = nearest[(rng.random(len(value)) * available).astype(np.intp), np.arange(len(value))]
        return np.asarray(self.order[near[chosen, np.arange(len(value))]])
