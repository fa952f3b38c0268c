"""Incomplete scores by plain loops, person by person, from the same draws."""

import pytest
from plain_loops import compare, rows


def missingness(o, batch, rng):
    """MANSA at baseline and follow-up first, then every instrument at baseline and follow-up: one uniform each."""
    people = rows(batch)

    def complete(chances):
        return [int(u >= chance) for u, chance in zip(rng.random(len(people)), chances, strict=True)]

    found = {f"{when}_complete": complete([getattr(o, when)] * len(people)) for when in ("baseline", "followup")}
    for name, chances in o.instruments.items():
        control, intervention = chances.followup, chances.followup_intervention
        by_arm = control, control if intervention is None else intervention
        found[f"{name}_baseline_complete"] = complete([chances.baseline] * len(people))
        found[f"{name}_followup_complete"] = complete([by_arm[int(p["arm"])] for p in people])
    for name, chances in o.instruments.items():
        for when in ("baseline", "followup"):
            if chances.missing_with:
                other = found[f"{chances.missing_with}_{when}_complete"]
                own = found[f"{name}_{when}_complete"]
                found[f"{name}_{when}_complete"] = [min(pair) for pair in zip(own, other, strict=True)]
    return found


OPTIONS = {
    "published": {},
    "often": {"baseline": 0.4, "followup": 0.6},
    "by arm": {"instruments": {"tus": {"baseline": 0.2, "followup": 0.1, "followup_intervention": 0.9},
                               "qpr15": {"followup": 0.5, "followup_intervention": 0.0}}},
}  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_one_person_after_the_other(options) -> None:
    found = compare(missingness, "missingness", {"missingness": options})
    assert any(0 < sum(values) < len(values) for values in found.values())
