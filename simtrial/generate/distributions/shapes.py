"""Shapes of practice effects and residuals: normal, heavy-tailed or skewed, each with mean 0 and variance 1."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from simtrial.arrays import Floats
from simtrial.generate.distributions.tables import SCORES, between_scores, gamma_quantiles
from simtrial.generate.parts import Part

Shape = Literal["normal", "t", "skewed"]


@lru_cache(maxsize=64)
def t_quantiles(df: float) -> tuple[Floats, Floats]:
    """Quantiles of Student's t scaled to variance 1, on a grid of normal scores, for linear interpolation.

    Excess kurtosis 6/(df - 4) for df > 4. Scores end at -8 and 8, beyond which lies 1e-15: at df = 2.5 that is where
    1e-3 of the variance comes from, and less at larger df.
    """
    from scipy.special import ndtr, stdtrit

    lower = stdtrit(df, ndtr(SCORES[:2000])) * np.sqrt((df - 2.0) / df)
    return SCORES, np.concatenate([lower, [0.0], -lower[::-1]])


@lru_cache(maxsize=64)
def skewed_quantiles(skewness: float) -> tuple[Floats, Floats]:
    """Quantiles of a gamma with mean 0, variance 1 and the skewness given, on a grid of normal scores.

    (G - a)/sqrt(a) with shape a = 4/skewness^2, mirrored where the skewness is negative: excess kurtosis
    1.5 skewness^2.
    """
    a = 4.0 / skewness**2
    scores, quantiles = gamma_quantiles(a)
    values = (quantiles - a) / np.sqrt(a)
    return scores, values if skewness > 0 else -values[::-1]


def shaped(normal: Floats, shape: Shape, df: float, skewness: float) -> Floats:
    """Turn standard normals into draws of another shape with mean 0 and variance 1, ranks kept (same shape)."""
    if shape == "normal":
        return normal
    _, quantiles = t_quantiles(df) if shape == "t" else skewed_quantiles(skewness)
    return between_scores(normal, quantiles)


class Shapes(Part):
    """Options: the shapes of individual residuals and of practice effects; neither changes a mean, an SD or an ICC."""

    residuals: Shape = Field("normal", description="shape of individual residuals")
    residual_df: float = Field(5.0, ge=2.5, le=1000, description="df of individual residuals where they are t")
    residual_skewness: float = Field(1.0, ge=-5, le=5, description="skewness of individual residuals where skewed")
    practice_effects: Shape = Field("normal", description="shape of practice effects")
    practice_df: float = Field(5.0, ge=2.5, le=1000, description="df of practice effects where they are t")
    practice_skewness: float = Field(1.0, ge=-5, le=5, description="skewness of practice effects where skewed")

    @model_validator(mode="after")
    def _some_skewness(self) -> Shapes:
        pairs = (("residuals", "residual_skewness"), ("practice_effects", "practice_skewness"))
        for kind, key in pairs:
            # a gamma of skewness below 0.01 has a shape above 40,000: normal, at the cost of its precision
            if getattr(self, kind) == "skewed" and abs(getattr(self, key)) < 0.01:
                raise ValueError(
                    f"{kind} = 'skewed' needs {key} between -5 and -0.01 or between 0.01 and 5; use 'normal' for none"
                )
        return self

    def of_residuals(self, normal: Floats) -> Floats:
        """Individual residuals with mean 0 and variance 1, from standard normals (participants,)."""
        return shaped(normal, self.residuals, self.residual_df, self.residual_skewness)

    def of_practices(self, normal: Floats) -> Floats:
        """Practice effects with mean 0 and variance 1, from standard normals (practices,)."""
        return shaped(normal, self.practice_effects, self.practice_df, self.practice_skewness)
