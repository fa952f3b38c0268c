"""Clusters in orthonormal bases of their own, so that whatever least squares needs of a cluster is a few numbers.

Inside cluster j the columns of X_j span the direction of the mean and one more for each column that varies there. With
U_j an orthonormal basis, R_j = U_j'X_j has the cross-products of X_j, and U_j'y_j is what X_j can know of y_j.

The directions are made from the rows by Gram-Schmidt steps (twice where a column nearly is a combination of those
before it: Giraud, Langou and Rozloznik 2005, doi:10.1007/s00211-005-0615-4), not from cross-products: products of two
rounding errors have no size against which they could be judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from simtrial.arrays import Floats, Ints, in_order
from simtrial.core import compiled
from simtrial.kernels.rounding import COLLINEAR
from simtrial.kernels.segments import sum_by

NEARLY = 1e-3  # share of a column's length left by others below which the step against them is taken again


@dataclass(frozen=True)
class Direction:
    """A direction of unit length inside every cluster: ``rows`` (rows,) times the ``scale`` (clusters,) of the cluster.

    The scale is 0 in clusters where the column is constant or a combination of those before it.
    """

    rows: Floats
    scale: Floats


class Clusters(Protocol):
    """Rows in clusters, and clusters in trials."""

    @property
    def cluster_of_row(self) -> Ints:
        """Cluster of every row (rows,)."""

    @property
    def sizes(self) -> Floats:
        """n_j (clusters,)."""

    @property
    def cluster_trial(self) -> Ints:
        """Trial of every cluster, in order (clusters,)."""

    @property
    def place(self) -> Ints:
        """Place of every cluster among those of all trials, `most` in each (clusters,)."""

    @property
    def most(self) -> int:
        """Largest number of clusters in a trial."""


@dataclass(frozen=True)
class InBases:
    """Columns Z of clusters in the bases of X: U_j'Z.

    ``rows`` say which clusters, of how many ``trials``; ``means`` (columns, clusters) of Z; ``products``
    (V, v, clusters) from `products_along`, and which columns they are of, ``varies`` (v,); ``found`` the V directions.
    """

    rows: Clusters
    trials: int
    means: Floats
    products: Floats
    varies: Ints
    found: tuple[Direction, ...]

    @cached_property
    def laid_out(self) -> Floats:
        """Trials first: (trials, positions, 1 + V, columns), 0 where there is no cluster."""
        rows, most = self.rows, self.rows.most
        places = self.trials * most
        out = bases(self.means, self.products, self.varies, self.found, rows.sizes, rows.place, places)
        return out.reshape(self.trials, most, *out.shape[1:])

    @property
    def depth(self) -> int:
        """Numbers of a cluster for each column, 1 + V."""
        return 1 + len(self.found)

    @cached_property
    def along(self) -> Floats:
        """Their parts along the only direction (v, clusters), or none without one; there is one at most."""
        return self.products[0] * self.found[0].scale if self.found else self.means[:0]


def directions(deviations: Sequence[Floats], squares: Sequence[Floats], rows: Clusters) -> tuple[Direction, ...]:
    """Orthonormal directions of columns inside clusters, one for each column.

    Parameters
    ----------
    deviations
        Columns less their cluster means (rows,) each.
    squares
        Their sums of squares by cluster (clusters,) each.
    rows
        Which clusters the rows are in; looked up only where there is more than one column.
    """
    found: tuple[Direction, ...] = ()
    for column, own in zip(deviations, squares, strict=True):
        left, square = _less(column, found, rows), own
        if found:
            square = _sums(left**2, rows)
            if (square < NEARLY**2 * own).any():
                left = _less(left, found, rows)
                square = _sums(left**2, rows)
        usable = square > COLLINEAR**2 * own
        scale = np.where(usable, 1.0 / np.sqrt(np.where(usable, square, 1.0)), 0.0)
        found = (*found, Direction(left, scale))
    return found


def _less(column: Floats, found: Sequence[Direction], rows: Clusters) -> Floats:
    """Take from a column its components along directions, cluster by cluster."""
    for direction in found:
        component = _sums(direction.rows * column, rows) * direction.scale
        column = column - (component * direction.scale)[rows.cluster_of_row] * direction.rows
    return column


def _sums(values: Floats, rows: Clusters) -> Floats:
    """Sums by cluster (clusters,)."""
    return sum_by(values, rows.cluster_of_row, len(rows.sizes))


def products_along(
    deviations: Sequence[Floats], found: Sequence[Direction], rows: Clusters, first: Floats | None = None
) -> Floats:
    """Sums of products of columns with the rows of directions, by cluster.

    Parameters
    ----------
    deviations
        Columns less their cluster means (rows,) each, v of them.
    found, rows
        From `directions` (V of them), and which clusters the rows are in.
    first
        The sums for the first direction (v, clusters), where they are known.

    Returns
    -------
    products
        (V, v, clusters).
    """
    if len(found) == 1 and first is not None:
        return first[None]
    out = np.empty((len(found), len(deviations), len(rows.sizes)))
    for k, direction in enumerate(found):
        for at, deviation in enumerate(deviations):
            out[k, at] = _sums(direction.rows * deviation, rows) if k or first is None else first[at]
    return out


def bases(
    means: Floats, products: Floats, varies: Ints, found: Sequence[Direction], sizes: Floats, place: Ints, places: int
) -> Floats:
    """U_j'Z of every cluster, for columns Z, by trial and position.

    Parameters
    ----------
    means
        Cluster means of Z (columns, clusters).
    products, varies
        From `products_along`, and which columns of Z these are (v,).
    found, sizes
        From `directions` (V of them), and n_j (clusters,).
    place
        Where clusters go among so many ``places``, in order (clusters,).

    Returns
    -------
    laid_out
        (places, 1 + V, columns), 0 where there is no cluster.
    """
    out = np.empty((places, 1 + len(found), len(means)))
    if (core := compiled()) is not None:  # here and nowhere else simtrial/core/cluster_basis.c takes over
        scales = np.array([d.scale for d in found]).reshape(len(found), len(sizes))
        core.bases(*in_order(means, sizes, products), varies, *in_order(scales), place, out)
        return out
    out[:] = 0.0
    out[place, 0] = (np.sqrt(sizes) * means).T
    for k, direction in enumerate(found):
        for column, sums in zip(varies, products[k], strict=True):
            out[place, 1 + k, column] = sums * direction.scale
    return out
