"""A Gaussian copula for people in practices: standard normals with a latent-scale ICC each and stated correlations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from simtrial.arrays import Floats
from simtrial.batch import Index
from simtrial.errors import unknown

Entry = tuple[str, str, float]

SMALLEST = 1e-8
"""Smallest eigenvalue that counts as positive."""


def refused(names: Sequence[str], entries: Sequence[Entry]) -> str | None:
    """Errors of single entries: unknown names, a name with itself, a pair stated twice."""
    seen: set[frozenset[str]] = set()
    for first, second, r in entries:
        for name in (first, second):
            if name not in names:
                return unknown("characteristic", name, names)
        if first == second:
            return f"correlations: '{first}' is correlated with itself"
        if frozenset((first, second)) in seen:
            return f"correlations: {first} and {second} are stated twice"
        if not -1.0 < r < 1.0:
            return f"correlations: {first} and {second} need a value between -1 and 1; {r:g} given"
        seen.add(frozenset((first, second)))
    return None


def within_parts(names: Sequence[str], entries: Sequence[Entry], icc: Mapping[str, float]) -> Floats:
    """Correlation that the between- and the within-practice part both have (variables, variables).

    With z = sqrt(icc) u + sqrt(1 - icc) e and corr(u) = corr(e) = r / c the total correlation is r, where
    c = sqrt(icc_k icc_l) + sqrt((1 - icc_k)(1 - icc_l)): 1 where the two ICCs are equal.
    """
    at = {name: k for k, name in enumerate(names)}
    matrix = np.eye(len(names))
    for first, second, r in entries:
        a, b = icc[first], icc[second]
        c = np.sqrt(a * b) + np.sqrt((1.0 - a) * (1.0 - b))
        matrix[at[first], at[second]] = matrix[at[second], at[first]] = r / c
    return matrix


def not_positive_definite(names: Sequence[str], entries: Sequence[Entry], matrix: Floats) -> str | None:
    """Name the smallest eigenvalue of a matrix that no variables can have, and the pairs that pull it down.

    An eigenvalue is 1 + sum over pairs of 2 v_k v_l r_kl with v its eigenvector: the pairs are those of the most
    negative terms.
    """
    values, vectors = np.linalg.eigh(matrix)
    if values[0] > SMALLEST:
        return None
    at = {name: k for k, name in enumerate(names)}
    v = vectors[:, 0]

    def pull(entry: Entry) -> float:
        k, m = at[entry[0]], at[entry[1]]
        return float(2.0 * v[k] * v[m] * matrix[k, m])

    worst = [e for e in sorted(entries, key=pull) if pull(e) < -1e-3][:6]
    pairs = ", ".join(f"{first} with {second} {r:+g}" for first, second, r in worst)
    return (
        f"correlations: no variables can be correlated like this: the smallest eigenvalue of the matrix is "
        f"{values[0]:.3g} and must be positive. Weaken some of: {pairs}"
    )


def latent_normals(index: Index, icc: Floats, matrix: Floats, rng: np.random.Generator) -> Floats:
    """Draw standard normals that share a part within practices (variables, participants).

    Parameters
    ----------
    icc
        (variables,): correlation of two people of one practice.
    matrix
        (variables, variables): correlation of both parts, see `within_parts`; applied by its Cholesky factor one
        coefficient after the other, so that a variable moves only with those it is tied to.
    """
    shared = rng.standard_normal((len(icc), index.practices))
    own = rng.standard_normal((len(icc), index.participants))
    factor = np.linalg.cholesky(matrix)
    found = np.empty_like(own)
    for k, row in enumerate(factor):
        tied = np.flatnonzero(row)
        between = sum(row[m] * shared[m] for m in tied)
        within = sum(row[m] * own[m] for m in tied)
        found[k] = (np.sqrt(icc[k]) * between)[index.participant_practice] + np.sqrt(1.0 - icc[k]) * within
    return found
