"""Per-protocol analysis: another method on the participants who kept to the protocol."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, SerializeAsAny, field_validator, model_validator

from simtrial.batch import ObservedBatch
from simtrial.estimators import Estimates, Method, inherit, method_class, register
from simtrial.expressions import truth
from simtrial.flags import BIT
from simtrial.kernels.segments import count_by
from simtrial.moments.moments import Moments
from simtrial.moments.rows import Spec, analysed, outcome


def wrapped(value: Any) -> Method:
    """Build the analysis inside a method that wraps another."""
    if isinstance(value, Method):
        return value
    if not isinstance(value, dict) or "kind" not in value:
        raise ValueError("analysis must be a table with a kind, e.g. analysis = { kind = 'lmm' }")
    return method_class(value["kind"]).model_validate(value)


@register("per-protocol")
class PerProtocol(Method):
    """Analyse people for whom ``keep`` is known to hold; biased unless adherence is unrelated to the outcome."""

    kind: Literal["per-protocol"] = "per-protocol"
    interacts = True
    keep: str = Field(description="expression of who is analysed, e.g. arm == 0 or availability >= 0.7")
    analysis: SerializeAsAny[Method] = Field(description="the method applied to them")

    _inherit = model_validator(mode="before")(inherit)
    _build = field_validator("analysis", mode="before")(wrapped)

    @model_validator(mode="after")
    def _imputation_goes_around(self) -> PerProtocol:
        if self.analysis.kind == "mi":
            raise ValueError("per-protocol goes inside mi: kind = 'mi', analysis = { kind = 'per-protocol', ... }")
        return self

    def has_t_interval(self) -> bool:
        """Whether the analysis inside has one."""
        return self.analysis.has_t_interval()

    def spec(self) -> Spec:
        """Rows and columns analysed."""
        inner = self.analysis.spec()
        return replace(inner, where=(*inner.where, self.keep))

    def expressions(self) -> tuple[str, ...]:
        """Expressions among the options."""
        return (self.keep, *self.analysis.expressions())

    def reads(self) -> frozenset[str]:
        """Names of the observed columns the method needs."""
        return super().reads() | self.analysis.reads()

    def fit(
        self, batch: ObservedBatch, moments: Moments, rng: np.random.Generator | None, every_term: bool = False
    ) -> Estimates:
        """Fit the analysis to the moments of the rows kept; one that reads the batch itself is told of ``keep``."""
        inner = self.analysis
        conditions = dict.fromkeys(part for part in (inner.subset, self.subset, self.keep) if part)
        kept = " and ".join(f"({part})" for part in conditions)
        found = inner.model_copy(update={"subset": kept}).fit(batch, moments, rng, every_term)
        return replace(found, flags=found.flags | blank_adherence(batch, inner.spec(), self.keep, moments))


def blank_adherence(batch: ObservedBatch, spec: Spec, keep: str, kept: Moments) -> NDArray[np.int64]:
    """Flags (trials,) where people are excluded only because adherence is unknown; ``spec`` is without ``keep``."""
    left_out = kept.analysed.unknown
    if left_out is None or not left_out.any():
        return np.zeros(kept.trials, dtype=np.int64)
    rows = analysed(batch, spec, outcome(batch, spec))
    unknown = truth(keep, batch).unknown[rows.rows]
    return np.where(count_by(rows.trial[unknown], batch.index.trials) > 0, BIT["blank_receipt"], 0)
