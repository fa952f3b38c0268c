"""The recruitment calendar by plain loops, trial by trial, from the same draws."""

import math

import numpy as np
import pytest
from plain_loops import assert_same, before, compare, members, rows
from simulated import drawn_by

from simtrial.batch import TrialBatch


def ranks(batch, rng):
    """Uniforms of the practices, sorted in each trial: practices are numbered as they open."""
    drawn = rng.random(batch.index.practices)
    found = []
    for t in range(batch.index.trials):
        found += sorted(u for u, trial in zip(drawn, batch.index.practice_trial, strict=True) if trial == t)
    return found


def month(o, rank, ready, within, surge, day):
    """Month of one person: uniform over the practice's window, or in the last month, for some of the late practices."""
    late = rank >= 1 - o.late_share
    if late and surge < o.last_month_share / o.late_share:
        return o.months + day
    return ready + within * (min(ready + o.window_months, o.months) - ready)


def recruitment(o, batch, rng):
    """Opening at M U^(1/a) with (1/2)^a the share that opens in the first half; set-up shrinks to 0 at M."""
    rank = ranks(batch, rng)
    within, surge, day = (rng.random(batch.index.participants) for _ in range(3))
    a = math.log(o.first_half_share) / math.log(0.5)
    found = {"opening_month": [], "recruitment_month": [], "allocation_month": [], "period": []}
    for j, people in enumerate(members(batch)):
        opens = o.months * rank[j] ** (1 / a)
        ready = opens + o.setup_months * (1 - opens / o.months)
        recruited = [month(o, rank[j], ready, within[i], surge[i], day[i]) for i in people]
        allocated = max(recruited, default=ready) + o.allocation_months
        found["opening_month"].append(opens)
        found["recruitment_month"] += recruited
        found["allocation_month"].append(allocated)
        found["period"].append(int(allocated + o.followup_months > o.pandemic_month))  # pre first
    return found


OPTIONS = {
    "published": {},
    "long windows": {"window_months": 20.0, "setup_months": 20.0, "first_half_share": 0.8, "late_share": 0.9},
    "everybody late": {"late_share": 0.4, "last_month_share": 0.4, "allocation_months": 2.0, "pandemic_month": 38.0},
    "before the pandemic": {"pandemic_month": 1000.0, "last_month_share": 0.0, "setup_months": 0.0},
}  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_one_practice_after_the_other(options) -> None:
    found = compare(recruitment, "recruitment", {"recruitment": options}, trials=4)
    assert max(found["opening_month"]) < 25.0


def test_practices_without_people_are_allocated_when_ready() -> None:
    """The same trials, every third practice emptied."""
    mechanism, full = before("recruitment")
    kept = full.index.participant_practice % 3 > 0
    batch: TrialBatch = full.only_participants(kept)
    ours = drawn_by(mechanism["recruitment"], batch, seed=8)
    expected = recruitment(mechanism["recruitment"], batch, np.random.default_rng(8))
    empty = [j for j, people in enumerate(members(batch)) if not people]
    assert len(empty) == len(rows(batch, "practice")) / 3
    assert_same(ours, expected)
