"""What stays the same along a chain of two outcomes with random intercepts (`simtrial.kernels.two_normals_gibbs`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simtrial.arrays import Bools, Floats, Ints
from simtrial.kernels.segments import sum_by
from simtrial.kernels.small_matrices import cholesky, sweep


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Sums, means by practice, and who lacks what.

    Attributes
    ----------
    inverse, root
        (X'X)^-1 and its lower factor (trials, p, p).
    kept
        1 for the columns that are not dropped (trials, p, 1).
    x_means, sizes, counts, practices
        Means of X by practice (trials, p, J), people by practice (trials, 1, J), people and practices (trials,).
    place
        Number of the place of each person with a missing cell among all trials' places (rows,).
    trial, first
        Their trial (rows,), in order, and the first row of each trial that has one.
    some
        These trials.
    missing, gaps
        Which of their cells are (2, rows), and the rows where the first and where the second is.
    varying, inner
        Columns that vary within practices (V,), and the rows' deviations from the practice mean (V, rows).
    seen_inside
        X'Y of deviations from practice means of the people with both cells (trials, p, 2).
    seen_sums, seen_squares
        Sums of their outcomes by practice (trials, 2, J), and Y'Y (trials, 2, 2).
    """

    inverse: Floats
    root: Floats
    kept: Floats
    x_means: Floats
    sizes: Floats
    counts: Floats
    practices: Floats
    place: Ints
    trial: Ints
    first: Ints
    some: Ints
    missing: Bools
    gaps: tuple[Ints, Ints]
    varying: Ints
    inner: Floats
    seen_inside: Floats
    seen_sums: Floats
    seen_squares: Floats


def layout(
    x: Floats, gram: Floats, kept: Floats, y: Floats, practice: Ints, practice_trial: Ints, varying: Ints
) -> tuple[Layout, Ints]:
    """Prepare a chain.

    Parameters
    ----------
    x
        Columns of all people (p, people), dropped ones 0.
    gram, kept
        X'X (p, p, trials), a 1 on the diagonal of dropped columns; 1 for the others (p, trials).
    y
        Both outcomes (2, people), NaN where missing.
    practice, practice_trial
        Practice of every person, in order, and trial of every practice; every trial has one.
    varying
        Columns that vary within practices (V,).

    Returns
    -------
    layout, rows
        And who has a missing cell (rows,).
    """
    p, practices, trials = len(x), len(practice_trial), gram.shape[-1]
    missing, start = np.isnan(y), np.searchsorted(practice_trial, np.arange(trials))
    rows = np.flatnonzero(missing.any(axis=0))
    most = int(np.bincount(practice_trial).max())
    place_of = practice_trial * most + np.arange(practices) - start[practice_trial]
    place, own = place_of[practice], practice_trial[practice]
    sizes = np.bincount(place, minlength=trials * most).astype(np.float64)
    means = sum_by(x, place, trials * most) / np.maximum(sizes, 1.0)
    inner = x[varying] - means[varying][:, place]
    both = np.where(missing.any(axis=0), 0.0, y)
    inside = np.zeros((trials, p, 2))
    if len(varying):
        inside[:, varying] = sum_by(inner[:, None] * both, own, trials).transpose(2, 0, 1)
    squares = sum_by(both[[0, 0, 1]] * both[[0, 1, 1]], own, trials)
    inverse = sweep(gram, p)[0]
    some, first = np.unique(own[rows], return_index=True)
    return Layout(
        inverse=_first(inverse), root=_first(cholesky(inverse)), kept=np.ascontiguousarray(kept.T)[:, :, None],
        x_means=_by_place(means, trials), sizes=sizes.reshape(trials, 1, most),
        counts=sizes.reshape(trials, most).sum(axis=1), practices=(sizes > 0).reshape(trials, most).sum(axis=1) * 1.0,
        place=place[rows], trial=own[rows], first=first, some=some, missing=np.ascontiguousarray(missing[:, rows]),
        gaps=(np.flatnonzero(missing[0, rows]), np.flatnonzero(missing[1, rows])), varying=varying,
        inner=np.ascontiguousarray(inner[:, rows]), seen_inside=inside,
        seen_sums=_by_place(sum_by(both, place, trials * most), trials), seen_squares=square(*squares),
    ), rows  # fmt: skip


def _first(matrix: Floats) -> Floats:
    """Trials first: (i, j, trials) -> (trials, i, j)."""
    return np.ascontiguousarray(matrix.transpose(2, 0, 1))


def _by_place(values: Floats, trials: int) -> Floats:
    """(k, trials J) -> (trials, k, J)."""
    return np.ascontiguousarray(values.reshape(len(values), trials, -1).transpose(1, 0, 2))


def square(one: Floats, both: Floats, two: Floats) -> Floats:
    """Symmetric 2 x 2 matrices (trials, 2, 2)."""
    return np.stack([one, both, both, two], axis=-1).reshape(-1, 2, 2)
