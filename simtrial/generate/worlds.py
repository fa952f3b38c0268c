"""Trials as they would be were every practice offered the intervention, or none: the worlds of either allocation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from simtrial.batch import Column, ObservedBatch, TrialBatch
from simtrial.generate.column_names import IF_CONTROL, IF_INTERVENTION, IF_OFFERED, RESIDUAL_DIFFERENCE


def if_offered(batch: TrialBatch) -> ObservedBatch:
    """Trials as they would be observed were every practice allocated to the intervention, nothing missing."""
    columns = {name: c for name, c in batch.columns.items() if not c.latent and not c.hides}
    arm = columns["arm"]
    columns["arm"] = Column(np.ones_like(arm.values), arm.level)
    for name, offered in batch.columns.items():
        if name.endswith(IF_OFFERED):
            received = name.removesuffix(IF_OFFERED)
            columns[received] = Column(offered.values, columns[received].level, columns[received].categories)
    return ObservedBatch(batch.index, columns)


def access(batch: TrialBatch) -> NDArray[np.bool_] | None:
    """Who would have access in the control arm (participants,); None where nobody has."""
    if "access_if_control" not in batch.columns:
        return None
    values = batch.at("access_if_control")
    if values.strides == (0,) and (values[:1] != 1).all():  # one number for all
        return None
    has = values == 1
    return has if has.any() else None


def if_control(batch: TrialBatch) -> ObservedBatch:
    """Trials as they would be observed were every practice allocated to control: what is offered only to some."""
    columns = dict(if_offered(batch).columns)
    arm = columns["arm"]
    columns["arm"] = replace(arm, values=np.zeros_like(arm.values))
    has = access(batch)
    for name in batch.columns:
        if not name.endswith(IF_OFFERED):
            continue
        received = name.removesuffix(IF_OFFERED)
        column = columns[received]
        without = batch.at("arm", column.level) == 0
        reached = has if column.level == "participant" else None
        if reached is not None:
            without = without & ~reached
        realised = batch.at(received, column.level)
        unrealised = realised[without][0] if without.any() else 0  # what the records of a control say: 0, or blank
        values = np.full_like(realised, unrealised)
        own = batch.columns.get(received + IF_CONTROL, column)
        columns[received] = replace(column, values=values if reached is None else np.where(reached, own.values, values))
    return ObservedBatch(batch.index, columns)


def either_way(batch: TrialBatch) -> tuple[TrialBatch, TrialBatch]:
    """Trials with everything known of them, were every practice allocated to control, and to the intervention."""
    worlds = if_control(batch), if_offered(batch)
    control, intervention = (TrialBatch(batch.index, {**batch.columns, **world.columns}) for world in worlds)
    return control, intervention


def without_chance(batch: TrialBatch) -> TrialBatch:
    """Trials with potential outcomes if offered less what chance alone adds to them, where a column says what.

    For means of potential outcomes only: it leaves every mean as it is, and takes off most of its Monte Carlo error.
    """
    less = {}
    for name, chance in batch.columns.items():
        potential = name.removesuffix(RESIDUAL_DIFFERENCE) + IF_INTERVENTION
        if chance.latent and name.endswith(RESIDUAL_DIFFERENCE) and potential in batch.columns:
            offered = batch.columns[potential]
            less[potential] = replace(offered, values=offered.values - chance.values)
    return replace(batch, columns={**batch.columns, **less}) if less else batch
