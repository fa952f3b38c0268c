"""An analysis of practice means that is spoilt on purpose; loaded by --plugin."""

from typing import Literal

import numpy as np
from pydantic import Field

from simtrial.estimators import Estimates, Method, register, report
from simtrial.estimators.cluster_means import ClusterMeans
from simtrial.flags import BIT


@register("spoilt-means")
class SpoiltMeans(Method):
    """The t test of practice means with a bias, or without a result in some trials."""

    kind: Literal["spoilt-means"] = "spoilt-means"
    bias: float = Field(0.0, description="added to every estimate, in units of the outcome")
    fails: float = Field(0.0, ge=0, le=1, description="share of trials in which it fails, whatever they look like")

    def fit(self, batch, moments, rng, every_term=False) -> Estimates:
        sound = ClusterMeans(name=self.name, adjust=[]).fit(batch, moments, rng)
        unlucky = (sound.estimate[0] * 1e4) % 1 < self.fails
        flags = sound.flags | np.where(unlucky, BIT["not_converged"], 0)
        variance = sound.std_error**2
        return report(moments, ("arm",), sound.estimate + self.bias, variance, sound.df, self.level,
                        failed=sound.failed | unlucky, flags=flags, extras={})  # fmt: skip
