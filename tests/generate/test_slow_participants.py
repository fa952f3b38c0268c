"""Participants by plain loops, person by person, from the same draws."""

import math

import numpy as np
import pytest
from plain_loops import compare, phi, rows
from scipy import stats


def age(o, u):
    """Quantile, at u, of a normal given that it is at least age_min; to a tenth of a year."""
    below = phi((o.age_min - o.age_mean) / o.age_sd)
    return round(o.age_mean + o.age_sd * float(stats.norm.ppf(below + (1 - below) * u)), 1)


def category(weights, u):
    below, code = 0.0, 0
    for weight in weights[:-1]:
        below += weight / sum(weights)
        code += u >= below
    return code


def participants(o, batch, rng):
    """Secondary care where sqrt(icc) u_j + sqrt(1 - icc) e_ij lies below the quantile of its share."""
    people = batch.index.participants
    of_age, of_sex, of_diagnosis = rng.random(people), rng.random(people), rng.random(people)
    u, e = rng.standard_normal(batch.index.practices), rng.standard_normal(people)
    found = {"age": [], "sex": [], "diagnosis": [], "provider": []}
    for i, p in enumerate(rows(batch)):
        z = math.sqrt(o.provider_icc) * u[p["j"]] + math.sqrt(1 - o.provider_icc) * e[i]
        found["age"].append(age(o, of_age[i]))
        found["sex"].append(0 if of_sex[i] < o.female else 1)  # female first
        found["diagnosis"].append(category(list(o.diagnosis.values()), of_diagnosis[i]))
        found["provider"].append(int(phi(z) < o.secondary_care))  # primary first
    return found


OPTIONS = {
    "published": {},
    "cut off at 60": {"age_min": 60.0, "age_sd": 20.0, "provider_icc": 0.0},
    "one diagnosis": {"diagnosis": {"bipolar": 3.0, "schizophrenia": 0.0, "other": 0.0}, "female": 0.1},
    "practices alike": {"provider_icc": 0.9, "secondary_care": 0.7, "diagnosis": {"a": 1.0, "b": 2.0}},
}  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_one_person_after_the_other(options) -> None:
    found = compare(participants, "participants", {"participants": options})
    assert 0 < np.mean(found["provider"]) < 1
    assert min(found["age"]) >= options.get("age_min", 18.0)
