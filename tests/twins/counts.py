"""Twins of what needs no model: the correlation of two visits, and rates of events by time treated."""

import numpy as np
from scipy import stats

from twins.frame import EPS, LONG, PERFECT, Said

LEVEL = 0.95


def correlation(data, where, first=None, order="recruitment_month"):
    """Pearson's r with Fisher's interval, from exact deviations."""
    x, y = data["mansa_baseline"], data["mansa_followup"]
    seen = ~np.isnan(x) & ~np.isnan(y)
    for condition in where:
        seen &= condition(data) == 1
    if first is not None:
        # in the batch, practices stand in order of first appearance, people in order within them
        labels = {label: k for k, label in enumerate(dict.fromkeys(data["practice"].tolist()))}
        place = np.array([labels[label] for label in data["practice"].tolist()])
        seen &= ~np.isnan(data[order])
        rows = np.flatnonzero(seen)
        rows = rows[np.lexsort((rows, place[rows], data[order][rows]))][:first]
        seen = np.zeros(len(x), dtype=bool)
        seen[rows] = True
    n = int(seen.sum())
    if n < 4:
        return Said(refusal="no_data")
    a, b = (v[seen].astype(LONG) for v in (x, y))
    if (a == a[0]).all() or (b == b[0]).all():
        return Said(refusal="constant_outcome")
    largest = [float(np.abs(v).max()) for v in (a, b)]
    a, b = a - a.mean(), b - b.mean()
    spread = [float((v**2).mean()) / most**2 for v, most in zip((a, b), largest, strict=True)]
    if min(spread) <= 100 * PERFECT:
        return Said(grey="hardly any variation beside the origin")
    r = float((a @ b) / np.sqrt((a @ a) * (b @ b)))
    if 1 - r**2 < 1e-8:
        return Said(grey="r is 1")
    half = stats.norm.ppf(0.5 + LEVEL / 2) / np.sqrt(n - 3)
    ends = tuple(float(np.tanh(np.arctanh(r) + side * half)) for side in (-1, 1))
    p_value = float(2 * stats.t.sf(abs(r) * np.sqrt((n - 2) / (1 - r**2)), n - 2))
    tolerance = 100 * EPS * n / (1 - r**2) / min(spread) ** 0.5
    return Said(r, (1 - r**2) / np.sqrt(n - 3), n - 2.0, tolerance=tolerance, p_value=p_value, ends=ends, people=n)


def event_rate(data, where, months=10.0, df="clusters-2"):
    """Difference of events per person-year, treated less untreated, linearised over practices."""
    seen = ~np.isnan(data["acute_episodes"])
    for condition in where:
        seen &= condition(data) == 1
    if not seen.any():
        return Said(refusal="no_data")
    rows = {"treated": [], "untreated": []}
    practices = list(dict.fromkeys(data["practice"][seen].tolist()))
    for label in practices:
        total = {"treated": [0.0, 0.0], "untreated": [0.0, 0.0]}
        for at in np.flatnonzero(seen & (data["practice"] == label)):
            begins = data["first_contact_months"][at]
            begins = months if np.isnan(begins) or data["arm"][at] == 0 else min(max(begins, 0.0), months)
            own = np.nan_to_num(data["acute_treated"][at])
            for side, events, time in (
                ("treated", own, months - begins), ("untreated", data["acute_episodes"][at] - own, begins)
            ):  # fmt: skip
                total[side][0] += events
                total[side][1] += time / 12
        for side, values in total.items():
            rows[side].append(values)
    j, rates, influence = len(practices), [], []
    for side in ("treated", "untreated"):
        events, time = np.array(rows[side]).T
        if not time.sum() > 0:
            return Said(refusal="no_data")
        rates.append(events.sum() / time.sum())
        influence.append((events - rates[-1] * time) / time.sum())
    if sum(rates) == 0 or j < 2:
        return Said(refusal="constant_outcome")
    variance = ((influence[0] - influence[1]) ** 2).sum() * j / (j - 1)
    used = np.inf if df == "normal" else j - 2
    return Said(
        rates[0] - rates[1], float(np.sqrt(variance)), used, tolerance=1e-10, df_tolerance=1e-12, people=int(seen.sum())
    )
