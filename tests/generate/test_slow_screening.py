"""The funnel before randomisation by plain loops, count by count, from the same draws."""

import pytest
from plain_loops import compare, rows


def backwards(kept, rate, rng):
    """Counts before a step that kept each unit with probability p: n + NB(n, p) failures, n of them left.

    NB(n, p) is Poisson with a gamma mean of shape n and scale (1 - p)/p; all gammas are drawn, then all Poissons.
    """
    means = [rng.standard_gamma(n) * (1 - rate) / rate for n in kept]
    return [n + rng.poisson(mean) for n, mean in zip(kept, means, strict=True)]


def people(o, assessed, rng):
    consented = backwards(assessed, o.assessed, rng)
    eligible = backwards(consented, o.consented, rng)
    return {"screened": backwards(eligible, o.eligible, rng), "eligible": eligible, "consented": consented,
            "assessed": assessed}  # fmt: skip


def minus(more, fewer):
    return [a - b for a, b in zip(more, fewer, strict=True)]


def screening(o, batch, rng):
    trials, practices = batch.index.trials, rows(batch, "practice")
    randomised = [sum(p["t"] == t for p in practices) for t in range(trials)]
    assessed = backwards(randomised, o.practice_randomised, rng)
    consented = backwards(assessed, o.practice_assessed, rng)
    screened = backwards(consented, o.practice_consented, rng)
    recruited = backwards(screened, o.practice_screened, rng)
    approached = backwards(recruited, o.practice_recruited, rng)
    excluded = minus(assessed, randomised)
    # people of practices excluded before allocation: 1 + Poisson each
    theirs = [n + rng.poisson((o.excluded_practice_size - 1) * n) for n in excluded]
    own = people(o, backwards([int(p["recruited"]) for p in practices], o.recruited, rng), rng)
    others = people(o, theirs, rng)
    found = {
        "approached": approached, "practices_recruited": recruited, "practices_screened": screened,
        "practices_consented": consented, "practices_assessed": assessed, "practices_excluded": excluded,
        "excluded_before_recruitment": minus(approached, recruited),
        "excluded_before_screening": minus(recruited, screened), "people_excluded": theirs, **own,
    }  # fmt: skip
    for step, counts in own.items():
        found[f"people_{step}"] = [
            sum(n for n, p in zip(counts, practices, strict=True) if p["t"] == t) + others[step][t]
            for t in range(trials)
        ]
    found["people_not_assessed"] = minus(found["people_consented"], found["people_assessed"])
    places = {f"{place}_{why}": share for place, reasons in o.not_recruited.items() for why, share in reasons.items()}
    for name, prefix, shares in (
        ("excluded_before_recruitment", "excl", places), ("excluded_before_screening", "not_screened", o.not_screened),
        ("people_not_assessed", "not_assessed", o.not_assessed),
        ("practices_excluded", "not_allocated", o.not_allocated),
    ):  # fmt: skip
        p = [share / sum(shares.values()) for share in shares.values()]
        divided = [rng.multinomial(found[name][t], p) for t in range(trials)]
        found |= {f"{prefix}_{reason}": [row[k] for row in divided] for k, reason in enumerate(shares)}
    return found


OPTIONS = {
    "published": {},
    "every step loses": {
        "practice_consented": 0.7, "practice_assessed": 0.8, "practice_randomised": 0.5, "recruited": 0.6,
        "excluded_practice_size": 4.0,
    },
    "other reasons": {
        "not_recruited": {"here": {"no": 1.0}, "there": {"no": 2.0, "yes": 0.5}}, "not_assessed": {"left": 1.0},
        "not_allocated": {"a": 1.0, "b": 5.0}, "not_screened": {"c": 2.0, "d": 0.0},
    },
}  # fmt: skip


@pytest.mark.parametrize("practices", [{}, {"until_participants": 90}], ids=["equal", "unequal"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_one_count_after_the_other(options, practices) -> None:
    found = compare(screening, "screening", {"screening": options, "practices": practices}, trials=6)
    assert min(found["approached"]) > min(found["practices_recruited"]) > 0
    assert sum(found["excluded_before_recruitment"]) == sum(sum(v) for n, v in found.items() if n.startswith("excl_"))
