"""Odd trials drawn from a seed: what real files hold and textbooks leave out."""

from dataclasses import dataclass

import numpy as np

NUMBERS = ("mansa_baseline", "x1", "x2", "x3")
FACTORS = ("g", "h")
SUBSETS = {
    # text of a condition: its truth, NaN where a value it needs is blank
    "x1 > -1e12": lambda d: _known(d["x1"], d["x1"] > -1e12),
    "not (x2 > 1e12)": lambda d: _known(d["x2"], ~(d["x2"] > 1e12)),
    "age < 62 or arm == 1": lambda d: np.where(d["arm"] == 1, 1.0, _known(d["age"], d["age"] < 62)),
    "not (age >= 62 and arm == 0)": lambda d: np.where(d["arm"] == 1, 1.0, _known(d["age"], d["age"] < 62)),
}
RECEIVED = {
    "sessions >= 6": lambda d: _known(d["sessions"], d["sessions"] >= 6),
    "not (sessions < 4)": lambda d: _known(d["sessions"], d["sessions"] >= 4),
}
KEPT = {
    "arm == 0 or sessions >= 6": lambda d: np.where(d["arm"] == 0, 1.0, _known(d["sessions"], d["sessions"] >= 6)),
    "age < 55": lambda d: _known(d["age"], d["age"] < 55),
}


def _known(values, truth):
    return np.where(np.isnan(values), np.nan, truth.astype(float))


@dataclass(frozen=True)
class Batch:
    """Trials analysed together: their columns, the covariates in the order given, and a condition or none."""

    trials: list[dict[str, np.ndarray]]
    adjust: list[str]
    subset: str | None
    number: int
    odd: list[list[str]]


def draw(seed: int, number: int, trials: int = 6) -> Batch:
    """Draw one batch; its trials have the same columns and nothing else in common."""
    rng = np.random.default_rng([seed, number])
    pool = [*NUMBERS, *FACTORS]
    adjust = [str(name) for name in rng.permutation(pool)[: rng.choice([0, 1, 2, 3, 4, 5, 6], p=_SHARES)]]
    subset = str(rng.choice(list(SUBSETS))) if rng.random() < 0.15 else None
    blanks_in_receipt = rng.random() < 0.3
    size = "large" if rng.random() < 0.04 else "middle" if rng.random() < 0.1 else "small"
    drawn = [trial(rng, size if k == 0 or size == "middle" else "small", blanks_in_receipt) for k in range(trials)]
    return Batch([d for d, _ in drawn], adjust, subset, number, [o for _, o in drawn])


_SHARES = [0.1, 0.2, 0.25, 0.2, 0.13, 0.08, 0.04]


def trial(rng, size, blanks_in_receipt):
    """Columns of one trial, and words for what is odd about it."""
    odd = []
    sizes, arms = _practices(rng, size, odd)
    practice = np.repeat(np.arange(len(sizes)), sizes)
    people = len(practice)
    data = {"practice": practice, "arm": arms[practice].astype(float)}
    data["age"] = np.round(rng.normal(50, 8, people))
    for name in NUMBERS:
        data[name] = _covariate(rng, data, practice, name, odd)
    for name in FACTORS:
        data[name] = _factor(rng, practice)
    data["register_size"] = np.round(rng.lognormal(4, 0.5, len(sizes)))[practice] + 1
    data["mansa_followup"] = _outcome(rng, data, practice, odd)
    data["sessions"] = np.where(data["arm"] == 1, rng.poisson(6, people), 0).astype(float)
    if rng.random() < 0.15:
        data["sessions"] = np.where(data["arm"] == 1, data["sessions"], rng.poisson(2.5, people)).astype(float)
    _blank(rng, data, odd, blanks_in_receipt)
    order = rng.permutation(people)
    label = rng.permutation(len(sizes))
    data["practice"] = label[practice]
    return {name: values[order] for name, values in data.items()}, odd


def _practices(rng, size, odd):
    """People per practice and the arm of each."""
    small = [int(rng.integers(2, 9)) for _ in range(2)]
    if rng.random() < 0.06:
        small[int(rng.integers(2))] = 1
        odd.append("one practice in an arm")
    if size == "middle" or (size == "large" and rng.random() < 0.7):
        small = [int(n) for n in rng.integers(6, 21, 2)]
    j = sum(small)
    most = int(rng.choice([1, 2, 3, 6, 10], p=[0.03, 0.07, 0.2, 0.4, 0.3]))
    sizes = rng.integers(1, most + 1, j)
    if size == "large":
        most = rng.integers(j, size=rng.integers(1, 4))
        sizes = sizes * int(rng.choice([1, 3, 10]))
        sizes[most] = np.exp(rng.uniform(np.log(100), np.log(5000), len(most))).astype(int)
        odd.append("very unequal practices")
    elif rng.random() < 0.1:
        sizes[rng.integers(j)] = int(rng.integers(20, 60))
    arms = rng.permutation(np.repeat([0, 1], small))
    return sizes, arms


COVARIATES = {
    "people": 22, "binary": 10, "few values": 8, "practice": 10, "practice binary": 6, "practice one blank": 8,
    "constant in some": 14, "constant in all but one": 8, "constant": 3, "copy": 3, "near copy": 6,
    "combination": 3, "arm": 1, "rare": 4, "centred in practices": 3, "unit fractions": 6,
}  # fmt: skip


def _covariate(rng, data, practice, name, odd):
    """One covariate of a kind drawn, in units and from an origin drawn."""
    kinds = list(COVARIATES)
    shares = np.array([COVARIATES[k] for k in kinds], dtype=float)
    kind = str(rng.choice(kinds, p=shares / shares.sum()))
    if kind not in ("people", "practice", "binary"):
        odd.append(f"{name}: {kind}")
    values = _values(rng, kind, data, practice)
    if (
        kind in ("binary", "constant in some", "rare", "practice binary", "arm", "unit fractions")
        and rng.random() < 0.6
    ):
        return values
    return _units(rng, values, odd)


def _units(rng, values, odd):
    """Scale and origin."""
    draw = rng.random()
    if draw < 0.6:
        return values
    scale = 10.0 ** rng.uniform(-6, 6)
    if draw < 0.75:
        odd.append(f"scale {scale:.0e}")
        return values * scale
    origin = 10.0 ** rng.uniform(0, 6)
    if draw < 0.9:
        odd.append(f"origin {origin:.0e}")
        return values + origin
    scale = 10.0 ** rng.uniform(-2, 6)
    odd.append(f"scale {scale:.0e}, origin {origin:.0e}")
    return values * scale + origin


def _values(rng, kind, data, practice):
    people, j = len(practice), practice[-1] + 1
    earlier = [n for n in NUMBERS if n in data]
    if kind in ("copy", "near copy", "combination") and not earlier:
        kind = "people"
    if kind == "people":
        return rng.normal(size=people)
    if kind == "binary":
        return (rng.random(people) < rng.uniform(0.2, 0.8)).astype(float)
    if kind == "few values":
        return rng.integers(0, 4, people) * float(rng.choice([1.0, 0.1, 0.3]))
    if kind.startswith("practice"):
        own = rng.normal(size=j) if kind != "practice binary" else rng.integers(0, 2, j)
        return own[practice].astype(float)
    if kind.startswith("constant in"):
        return _partly(rng, practice, kind)
    if kind == "constant":
        return np.full(people, float(rng.choice([0.0, 1.0, 0.1, 40.3])))
    if kind == "arm":
        return data["arm"] * 2.0 - 1.0
    if kind == "rare":
        return (np.arange(people) == rng.integers(people)).astype(float)
    if kind == "centred in practices":
        x = rng.normal(size=people)
        return x - (np.bincount(practice, x) / np.bincount(practice))[practice]
    if kind == "unit fractions":
        return np.round(rng.random(people), 1) if rng.random() < 0.5 else (np.round(rng.random(j), 1))[practice]
    source = data[str(rng.choice(earlier))]
    if kind == "copy":
        return source * float(rng.choice([1.0, -2.0, 0.1])) + float(rng.choice([0.0, 3.0, 0.7]))
    if kind == "near copy":
        return source + max(np.std(source), 1e-9) * 10.0 ** rng.choice(_NEAR) * rng.normal(size=people)
    return sum(float(rng.normal()) * data[n] / max(np.std(data[n]), 1e-9) for n in earlier) + 0.3


_NEAR = [-3.0, -3.0, -3.0, -4.0, -4.0, -6.0, -8.0, -9.0, -10.0, -12.0]


def _partly(rng, practice, kind):
    """Constant in some or all but one of the practices: 0/1, or a number like 0.1 whose sums are rounded."""
    people, j = len(practice), practice[-1] + 1
    binary = rng.random() < 0.6
    own = rng.integers(0, 2, j) if binary else np.round(rng.normal(size=j), 1)
    values = own[practice].astype(float)
    varies = np.zeros(j, dtype=bool)
    varies[rng.permutation(j)[: 1 if kind.endswith("one") else max(1, int(j * rng.uniform(0.2, 0.8)))]] = True
    own_values = (rng.random(people) < 0.5).astype(float) if binary else np.round(rng.normal(size=people), 1)
    return np.where(varies[practice], own_values, values)


def _factor(rng, practice):
    """Two to four categories of practices or people, in any order of their names."""
    labels = rng.permutation(np.array(["a", "b", "c", "d"]))[: rng.integers(2, 5)]
    j = practice[-1] + 1
    draw = rng.random()
    if draw < 0.5:
        return labels[rng.integers(0, len(labels), j)][practice]
    if draw < 0.8:
        return labels[rng.integers(0, len(labels), len(practice))]
    return labels[np.minimum(rng.geometric(0.6, j) - 1, len(labels) - 1)][practice]


OUTCOMES = {
    "plain": 50, "no effect of practice": 14, "ties": 10, "nothing between": 4, "large effect": 8,
    "small effect": 4, "constant in practices": 3, "nearly constant": 5, "explained": 2, "constant": 2, "heavy": 2,
}  # fmt: skip


def _outcome(rng, data, practice, odd):
    """Outcome of a kind drawn."""
    kinds = list(OUTCOMES)
    shares = np.array([OUTCOMES[k] for k in kinds], dtype=float)
    if "very unequal practices" in odd:
        shares[kinds.index("small effect")] = 200
    kind = str(rng.choice(kinds, p=shares / shares.sum()))
    if kind != "plain":
        odd.append(f"outcome: {kind}")
    people, j = len(practice), practice[-1] + 1
    explained = sum(0.4 * _standard(data[n]) for n in NUMBERS) + 0.3 * data["arm"]
    between = {
        "plain": rng.choice([0.1, 0.3, 0.6]),
        "large effect": rng.choice([3.0, 30.0]),
        "small effect": 10.0 ** rng.uniform(-2.0, -0.7),
    }.get(kind, 0.0)
    noise = rng.standard_t(2, people) if kind == "heavy" else rng.normal(size=people)
    y = explained + between * rng.normal(size=j)[practice] + noise
    if kind == "ties":
        y = np.round(y)
    elif kind == "nothing between":
        y = noise - (np.bincount(practice, noise) / np.bincount(practice))[practice]
    elif kind == "constant in practices":
        y = np.round(rng.normal(size=j), 1)[practice]
    elif kind == "nearly constant":
        y = rng.normal(size=j)[practice] + 10.0 ** rng.uniform(-7, -2) * noise
    elif kind == "explained":
        y = explained
    elif kind == "constant":
        y = np.full(people, float(rng.choice([0.1, 4.2, 5.0])))
    return _units(rng, y, odd)


def _standard(values):
    spread = values.std()
    return (values - values.mean()) / spread if spread > 1e-12 * (1 + abs(values).max()) else 0.0 * values


def _blank(rng, data, odd, blanks_in_receipt):
    """Blanks: outcome often, the rest rarely; a practice-level covariate in a row that is not analysed."""
    people = len(data["arm"])
    gone = rng.random(people) < rng.choice([0.0, 0.1, 0.2, 0.5], p=[0.35, 0.35, 0.25, 0.05])
    for name in NUMBERS:
        if f"{name}: practice one blank" in odd and people > 3:
            at = rng.integers(people)
            gone[at] = True
            data[name] = np.where(np.arange(people) == at, np.nan, data[name])
        elif rng.random() < 0.12:
            data[name] = np.where(rng.random(people) < 0.1, np.nan, data[name])
    for name in FACTORS:
        if rng.random() < 0.1:
            data[name] = np.where(rng.random(people) < 0.1, "", data[name])
    data["mansa_followup"] = np.where(gone, np.nan, data["mansa_followup"])
    if blanks_in_receipt:
        data["sessions"] = np.where(rng.random(people) < 0.15, np.nan, data["sessions"])
        odd.append("blank receipt")
    if rng.random() < 0.2:
        data["age"] = np.where(rng.random(people) < 0.1, np.nan, data["age"])
    if rng.random() < 0.1:
        lost = rng.integers(int(data["practice"].max()) + 1)
        data["mansa_followup"] = np.where(data["practice"] == lost, np.nan, data["mansa_followup"])


def very_unequal(seed: int) -> dict[str, np.ndarray]:
    """Two or three practices of thousands among twenty of dozens, and hardly any effect of practice."""
    rng = np.random.default_rng([seed, 77])
    few = int(rng.integers(2, 4))
    sizes = np.concatenate([rng.integers(5, 60, 20), np.exp(rng.uniform(np.log(500), np.log(5000), few)).astype(int)])
    practice = np.repeat(np.arange(len(sizes)), sizes)
    arm = rng.permutation(np.arange(len(sizes)) % 2)[practice].astype(float)
    spread = 10.0 ** rng.uniform(-3, -0.5, len(sizes)) if rng.random() < 0.5 else 10.0 ** rng.uniform(-2.5, -0.7)
    y = (spread * rng.normal(size=len(sizes)))[practice] + rng.normal(size=len(practice))
    return {"practice": practice, "arm": arm, "x1": rng.normal(size=len(practice)), "mansa_followup": y}
