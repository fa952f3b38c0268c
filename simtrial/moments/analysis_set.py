"""The rows of an analysis: participants, their clusters, and where these stand."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools, Floats, Ints
from simtrial.batch import Column, Index
from simtrial.core import compiled
from simtrial.kernels.segments import count_by, sum_by


@dataclass(frozen=True)
class Regressor:
    """One column of X.

    ``values`` are of practices or participants by ``level``, in an analysis of its clusters in place of all practices;
    ``measured`` where it is no indicator; ``binary`` where it is known to be 0 or 1 everywhere; ``covariate`` is what
    it belongs to, with the columns of its other categories.
    """

    term: str
    values: Floats
    level: str
    measured: bool
    covariate: str
    binary: bool = False


def who_stands_where(index: Index, seen: Bools) -> dict[str, Any]:
    """Rows, clusters and their places of an `AnalysisSet`, by name; ``seen`` (participants,) says who is analysed."""
    if (core := compiled()) is not None:  # here and nowhere else simtrial/core/analysis_set.c takes over
        rows, (cluster, cluster_trial, position) = (
            _whole_numbers(index.participants),
            map(_whole_numbers, [index.practices] * 3),
        )
        sizes, (counts, clusters) = np.empty(index.practices), np.empty((2, index.trials))
        found = _whole_numbers(2)
        core.who_stands_where(
            *(np.ascontiguousarray(own) for own in (seen, index.participant_practice, index.practice_trial)),
            rows, cluster, cluster_trial, position, sizes, counts, clusters, found,
        )  # fmt: skip
        there, some = found.tolist()
        return {
            "rows": rows[:there], "cluster": cluster[:some], "cluster_trial": cluster_trial[:some],
            "sizes": sizes[:some], "counts": counts, "clusters": clusters, "position": position[:some],
        }  # fmt: skip
    rows = np.flatnonzero(seen)
    members = np.bincount(index.participant_practice[rows], minlength=index.practices)
    cluster = np.flatnonzero(members)
    cluster_trial, sizes = index.practice_trial[cluster], members[cluster].astype(np.float64)
    clusters = count_by(cluster_trial, index.trials)
    first = np.concatenate([[0], np.cumsum(clusters)[:-1]]).astype(np.intp)
    return {
        "rows": rows, "cluster": cluster, "cluster_trial": cluster_trial, "sizes": sizes, "clusters": clusters,
        "position": np.arange(len(cluster)) - first[cluster_trial],
        "counts": sum_by(sizes, cluster_trial, index.trials),
    }  # fmt: skip


def _whole_numbers(length: int) -> Ints:
    """Room for so many."""
    return np.empty(length, dtype=np.int64)


Covered = tuple[tuple[Column, ...], Bools]
"""Columns, and participants (participants,) who have a value in all of them."""


@dataclass(frozen=True, kw_only=True)
class AnalysisSet:
    """Analysed participants and their clusters.

    ``seen`` (participants,) says who they are; ``rows`` (rows,) are row numbers of participants; ``cluster``
    (clusters,) those of practices with an analysed participant, ``cluster_trial`` their trials, ``position`` their
    places within it, ``sizes`` n_j; ``counts`` N and ``clusters`` J per trial (trials,);
    ``unknown`` (trials,) people left out because a condition or their receipt is unknown, None where none is asked for.
    ``covered`` are the columns of covariates and who has them all, where it was kept. ``centred`` holds, by source, the
    column that regressors were last made of, these, and what centring made of them.
    """

    index: Index
    seen: Bools
    rows: Ints
    cluster: Ints
    cluster_trial: Ints
    sizes: Floats
    counts: Floats
    clusters: Floats
    position: Ints
    unknown: Floats | None = None
    covered: Covered | None = field(default=None, repr=False)
    centred: dict[str, tuple[Column | None, list[Regressor], list[Any]]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls, index: Index, seen: Bools, unknown: Floats | None = None, like: AnalysisSet | None = None,
        covered: Covered | None = None,
    ) -> AnalysisSet:  # fmt: skip
        """Set of the participants for whom ``seen`` (participants,) holds; ``unknown`` (trials,) is carried along.

        It is ``like`` itself, a set of the same index, if that has the same rows.
        """
        if like is not None and np.array_equal(seen, like.seen) and unknown is like.unknown is None:
            return like
        return cls(index=index, seen=seen, covered=covered, unknown=unknown, **who_stands_where(index, seen))

    def without(self, blank: Bools) -> AnalysisSet:
        """Leave out some of the analysed rows (rows,), and count them among the unknown."""
        seen = np.zeros(self.index.participants, dtype=bool)
        seen[self.rows[~blank]] = True
        more = count_by(self.trial[blank], self.index.trials)
        return AnalysisSet.of(self.index, seen, more if self.unknown is None else self.unknown + more)

    def with_unknown(self, unknown: Floats) -> AnalysisSet:
        """The same rows, with people counted who are left out because something is unknown (trials,)."""
        made = copy(self)  # with what is known of the rows by now
        object.__setattr__(made, "unknown", unknown)
        return made

    @property
    def most(self) -> int:
        """Largest number of clusters in a trial, at least 1."""
        return int(self.clusters.max(initial=1.0))

    @cached_property
    def cluster_of_row(self) -> Ints:
        """Cluster of every row (rows,)."""
        return np.repeat(np.arange(len(self.cluster)), self.members)

    @cached_property
    def trial(self) -> Ints:
        """Trial of every row (rows,)."""
        return np.repeat(self.cluster_trial, self.members)

    @cached_property
    def place(self) -> Ints:
        """Place of every cluster among those of all trials, `most` in each (clusters,)."""
        return self.cluster_trial * self.most + self.position

    @cached_property
    def cluster_start(self) -> Ints:
        """First row of every cluster (clusters,)."""
        return np.concatenate([[0], np.cumsum(self.sizes)[:-1]]).astype(np.intp)[: len(self.sizes)]

    @cached_property
    def first_cluster(self) -> Ints:
        """First cluster of every trial that has one."""
        clusters = self.clusters.astype(np.intp)
        return (np.cumsum(clusters) - clusters)[self.trials_there]

    @cached_property
    def first_row(self) -> Ints:
        """First row of every trial that has one."""
        return self.cluster_start[self.first_cluster]

    @cached_property
    def members(self) -> Ints:
        """Analysed participants of each cluster (clusters,), as whole numbers."""
        return self.sizes.astype(np.intp)

    def by_trial(self, values: NDArray[np.generic]) -> Floats:
        """Sum over the clusters of every trial: (clusters,) -> (trials,)."""
        out = np.zeros(self.index.trials)
        if len(values):
            out[self.trials_there] = np.add.reduceat(values, self.first_cluster, dtype=np.float64)
        return out

    @cached_property
    def trials_there(self) -> Ints:
        """Trials that have a cluster."""
        return np.flatnonzero(self.clusters > 0)

    def spread(self, values: Floats) -> Floats:
        """Give every row the value of its cluster: (clusters,) -> (rows,)."""
        return np.repeat(values, self.members)

    @cached_property
    def slots(self) -> tuple[Ints, Floats]:
        """Clusters sorted by size, or by position when that makes fewer slots.

        Returns
        -------
        slot, sizes
            (clusters,), and the size each slot stands for (slots, trials), or (slots, 1) when the same in all trials.
        """
        sizes = self.sizes.astype(np.intp)
        there = np.bincount(sizes, minlength=2) > 0
        distinct = np.flatnonzero(there)
        if len(distinct) > self.most:
            by_place = np.ones((self.most, self.index.trials))
            by_place[self.position, self.cluster_trial] = self.sizes
            return self.position, by_place
        if not len(distinct):
            return self.position, np.ones((1, 1))
        return (np.cumsum(there) - 1)[sizes], distinct[:, None].astype(np.float64)

    @cached_property
    def slot_counts(self) -> Floats:
        """Clusters of every slot (slots, trials)."""
        slot, sizes = self.slots
        trials = self.index.trials
        return count_by(slot * trials + self.cluster_trial, len(sizes) * trials).reshape(len(sizes), trials)
