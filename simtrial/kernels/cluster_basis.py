"""Clusters in orthonormal bases of their own, so that whatever least squares needs of a cluster is a few numbers.

Inside cluster j the columns of X_j span the direction of the mean and one more for each column that varies there. With
U_j an orthonormal basis, R_j = U_j'X_j has the cross-products of X_j, and U_j'y_j is what X_j can know of y_j.

The directions are made from the rows by Gram-Schmidt steps (twice where a column nearly is a combination of those
before it: Giraud, Langou and Rozloznik 2005, doi:10.1007/s00211-005-0615-4), not from cross-products: products of two
rounding errors have no size against which they could be judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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

    def along(self, products: Floats) -> Floats:
        """Coordinates (clusters,) along it, from sums of products with its ``rows`` by cluster."""
        return products * self.scale


class Clusters(Protocol):
    """Rows in clusters."""

    @property
    def cluster_of_row(self) -> Ints:
        """Cluster of every row (rows,)."""

    @property
    def sizes(self) -> Floats:
        """n_j (clusters,)."""


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
        component = direction.along(_sums(direction.rows * column, rows))
        column = column - (component * direction.scale)[rows.cluster_of_row] * direction.rows
    return column


def _sums(values: Floats, rows: Clusters) -> Floats:
    """Sums by cluster (clusters,)."""
    return sum_by(values, rows.cluster_of_row, len(rows.sizes))


def coordinates(
    means: Floats, deviations: Mapping[int, Floats], found: Sequence[Direction], rows: Clusters,
    products: Mapping[int, Floats] | None = None,
) -> Floats:  # fmt: skip
    """U_j'Z of every cluster, for columns Z.

    Parameters
    ----------
    means
        Cluster means of Z (columns, clusters).
    deviations
        Those columns of Z that vary within clusters, by their places: (rows,) each.
    found
        From `directions` (V of them).
    rows
        Which clusters the rows are in; looked up only for products that are not known.
    products
        Sums of products of those columns with the first varying column of X by cluster, where they are known.

    Returns
    -------
    coordinates
        (1 + V, columns, clusters).
    """
    out = np.zeros((1 + len(found), *means.shape))
    out[0] = np.sqrt(rows.sizes) * means
    for k, direction in enumerate(found):
        for place, deviation in deviations.items():
            known = None if k or products is None else products[place]  # the first direction is the column itself
            sums = _sums(direction.rows * deviation, rows) if known is None else known
            out[1 + k, place] = direction.along(sums)
    return out


def side_by_side(rows: Floats, place: Ints, trials: int, most: int) -> Floats:
    """Lay clusters out by trial and position: (k, q, clusters) -> (trials, positions, k, q), empty ones 0.

    ``place`` (clusters,) is trial times ``most``, the number of positions, and position.
    """
    out = np.empty((trials * most, *rows.shape[:2]))
    if (core := compiled()) is not None:  # here and nowhere else simtrial/core/columns.c takes over
        core.side_by_side(*in_order(rows), place, out)
    else:
        out[:] = 0.0
        out[place] = rows.transpose(2, 0, 1)
    return out.reshape(trials, most, *rows.shape[:2])
