"""What outcomes share: trials as they would be observed were the intervention offered to everyone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simtrial.batch import ObservedBatch, TrialBatch


def if_offered(batch: TrialBatch) -> ObservedBatch:
    """Trials as they would be observed were every practice allocated to the intervention, nothing missing."""
    columns = {name: c for name, c in batch.columns.items() if not c.latent and not c.hides}
    arm = columns["arm"]
    columns["arm"] = replace(arm, values=np.ones_like(arm.values))
    for name in batch.columns:
        if name.endswith("_offered"):
            received = name.removesuffix("_offered")
            columns[received] = replace(columns[received], values=batch.columns[name].values)
    return ObservedBatch(batch.index, columns)
