"""Engagement with the intervention: shared in practices, related to baseline, shifted by covariates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from simtrial.arrays import Floats
from simtrial.batch import TrialBatch
from simtrial.errors import unknown
from simtrial.generate import Variable
from simtrial.generate.by_person import weighted_sum
from simtrial.generate.covariate_keys import in_category, split

Scales = Mapping[str, Sequence[float]]


def related(own: Floats, shared: Floats, icc: float, baseline: Floats | None, correlation: float) -> Floats:
    """Engagement with a share between practices and a correlation with the baseline score (participants,).

    r z + sqrt(1 - r^2) (sqrt(icc) g_j + sqrt(1 - icc) e_ij): standard normal if own e, shared g (spread over
    participants) and baseline z are.
    """
    value = weighted_sum(float(np.sqrt(icc)), shared, float(np.sqrt(1.0 - icc)), own) if icc else own
    if baseline is None:
        return value
    return weighted_sum(correlation, baseline, float(np.sqrt(1.0 - correlation**2)), value)


def shifts(effects: Mapping[str, float], scales: Scales, batch: TrialBatch) -> Floats:
    """Sum of the shifts of engagement by covariates, in its SD (participants,); a blank covariate shifts nothing."""
    total = np.zeros(batch.index.participants)
    for key, effect in effects.items():
        name, category = split(key)
        if category:
            total += effect * in_category(name, category, batch)
        else:
            total += effect * np.nan_to_num(score(name, scales, batch))
    return total


def score(name: str, scales: Scales, batch: TrialBatch) -> Floats:
    """Distance of a number from its centre in its SD (participants,)."""
    centre, sd = scales[name]
    return np.asarray((batch.at(name) - centre) / sd, dtype=np.float64)


def effect_problems(
    effects: Mapping[str, float], scales: Scales, available: Mapping[str, Variable]
) -> list[tuple[str, str]]:
    """Refuse effects of categories that do not exist, and of numbers whose centre and SD are not known."""
    found = []
    for key in effects:
        name, category = split(key)
        if name not in available:
            continue
        names = available[name].categories
        message = ""
        if names and category not in names:
            message = f"'{name}' has categories: " + unknown("category", category, names)
        elif category and not names:
            message = f"'{name}' is a number and has no category '{category}'"
        elif not names and name not in scales:
            message = f"engagement_scale needs the centre and SD of '{name}', e.g. {name} = [0.0, 1.0]"
        if message:
            found.append((f"engagement_effects.{key}", message))
    return found
