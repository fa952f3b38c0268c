"""Values of people without an outcome from a random-intercept model whose parameters are drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simtrial.arrays import Floats, Ints, in_order
from simtrial.core import compiled
from simtrial.kernels.posterior import practice_effects


@dataclass(frozen=True)
class Practices:
    """Practices of the people to be imputed.

    ``trial`` (practices,); ``sizes`` (practices,) analysed people, and ``means`` (p + 1, practices) of X and the
    outcome among these, 0 where there are none.
    """

    trial: Ints
    sizes: Floats
    means: Floats

    def effects(self, gamma: Floats, sigma2: Floats, beta: Floats, noise: Floats) -> Floats:
        """Draw practice effects (practices,); arguments as of `imputed_values`."""
        p, own = len(beta), self.trial
        residual = self.means[p] - np.einsum("pc,pc->c", self.means[:p], beta[:, own])
        return practice_effects(gamma[own], sigma2[own], self.sizes, residual, noise)


@dataclass(frozen=True)
class Gaps:
    """People to be imputed: ``place`` of their practice among those of `Practices`, ``trial``, both (people,).

    ``center`` (people,) is what was subtracted from the outcome of their trial.
    """

    place: Ints
    trial: Ints
    center: Floats


def imputed_values(
    practices: Practices, gaps: Gaps, x: Floats, gamma: Floats, sigma2: Floats, beta: Floats, practice_noise: Floats,
    noise: Floats,
) -> Floats:  # fmt: skip
    """Draw practice effects, and a value for everybody (people,).

    Parameters
    ----------
    x
        X of the people (p, people), centred as the fitted moments are.
    gamma, sigma2, beta
        Parameters of every trial: tau2/sigma2, residual variance (trials,), coefficients (p, trials).
    practice_noise, noise
        Standard normal numbers (practices,) and (people,).
    """
    if (core := compiled()) is not None:  # here and nowhere else simtrial/core/imputed_values.c takes over
        values = np.empty(len(noise))
        core.imputed_values(
            *in_order(gamma, sigma2, beta), practices.trial,
            *in_order(practices.sizes, practices.means, practice_noise), gaps.trial, gaps.place,
            *in_order(gaps.center, x, noise), values,
        )  # fmt: skip
        return values
    effects = practices.effects(gamma, sigma2, beta, practice_noise)
    values = np.einsum("pn,pn->n", x, beta[:, gaps.trial])
    values += gaps.center + effects[gaps.place]
    return np.asarray(values + np.sqrt(sigma2[gaps.trial]) * noise)
