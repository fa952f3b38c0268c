"""What goes with the size of a practice: the outcome in both arms, and the effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from simtrial.arrays import Floats
from simtrial.batch import TrialBatch
from simtrial.errors import ScenarioError
from simtrial.generate.parts import Part

if TYPE_CHECKING:
    from simtrial.generate.practices.practices import Practices


class Sizes(Part):
    """Options: what depends on how many people a practice recruits, or has on its register.

    Informative cluster size (Kahan et al. 2023, doi:10.1093/ije/dyac131): the outcome goes with size (same shift in
    both arms, effects unmoved), or the effect does, and then the average over people exceeds that over practices by
    cov(n_j, delta_j)/E n_j. Logarithms are standardised by what is written, or else by their mean and SD as
    [mechanism.practices] draws them (`log_sizes`); where practices are of one size what goes with size is 0.
    """

    size_outcome: float = Field(0.0, ge=-100, le=100, description="shift per SD of log recruited, both arms, points")
    size_effect: float = Field(0.0, ge=-100, le=100, description="additional effect per SD of log recruited, points")
    size_log_mean: float | None = Field(
        None, ge=0, le=12, description="mean of log recruited, at which both are 0; default: that of the sizes drawn"
    )
    size_log_sd: float | None = Field(
        None, gt=0, le=10, description="SD of log recruited; default: that of the sizes drawn"
    )
    register_outcome: float = Field(0.0, ge=-100, le=100, description="shift per SD of log register size, points")
    register_effect: float = Field(
        0.0, ge=-100, le=100, description="additional effect per SD of log register size, points"
    )
    register_log_mean: float | None = Field(
        None, ge=0, le=15, description="mean of log register size, at which both are 0; default: that of those drawn"
    )
    register_log_sd: float | None = Field(
        None, gt=0, le=10, description="SD of log register size; default: that of those drawn"
    )

    def reads(self) -> frozenset[str]:
        """Columns that say how large a practice is."""
        size, register = (self.size_outcome, self.size_effect), (self.register_outcome, self.register_effect)
        return frozenset(({"recruited"} if any(size) else set()) | ({"register_size"} if any(register) else set()))

    def shift(self, batch: TrialBatch) -> Floats:
        """What goes with size in the outcome of either arm, points (practices,)."""
        return self._by_size(batch, self.size_outcome, self.register_outcome)

    def additional_effect(self, batch: TrialBatch) -> Floats:
        """What goes with size in the effect, points (practices,)."""
        return self._by_size(batch, self.size_effect, self.register_effect)

    def drawn(self, practices: Practices) -> dict[str, float]:
        """Moments of log sizes that are left out, by option, as the options of practices draw them."""
        reads, moments = self.reads(), dict[str, float]()
        if "recruited" in reads:
            moments |= zip(("size_log_mean", "size_log_sd"), practices.log_recruited(), strict=True)
        if "register_size" in reads:
            moments |= zip(("register_log_mean", "register_log_sd"), practices.log_register(), strict=True)
        return {name: moment for name, moment in moments.items() if getattr(self, name) is None}

    def _by_size(self, batch: TrialBatch, per_recruited: float, per_register: float) -> Floats:
        """Sum of what goes with log recruited and with log register size, points (practices,)."""
        shift = np.zeros(batch.index.practices)
        if per_recruited:
            shift += per_recruited * self._standardised(batch, "recruited", "size")
        if per_register:
            shift += per_register * self._standardised(batch, "register_size", "register")
        return shift

    def _standardised(self, batch: TrialBatch, column: str, key: str) -> Floats:
        """Distance of log people from its mean in its SD (practices,); 0 where practices are of one size."""
        centre, sd = getattr(self, f"{key}_log_mean"), getattr(self, f"{key}_log_sd")
        if centre is None or sd is None:
            raise ScenarioError(f"{key}_log_mean and {key}_log_sd follow the sizes of practices (settled)")
        people = np.maximum(batch.at(column, "practice"), 1.0)
        away = np.log(people) - centre
        return np.asarray(away / sd if sd > 1e-9 else np.zeros_like(away))
