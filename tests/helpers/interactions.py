"""Interactions of arm with a covariate: every way to test one, and trials to test it in."""

import numpy as np
from reference import method
from trials import batch, fit, ragged

LMM = ("between-within", "satterthwaite", "satterthwaite-observed", "kenward-roger", "residual", "normal")
EVERY = {
    **{f"lmm {df}": ("lmm", {"df": df}) for df in LMM},
    "lmm ml": ("lmm", {"df": "satterthwaite-observed", "estimation": "ml"}),
    **{f"ols {se}": ("ols", {"se": se}) for se in ("CR2", "CR1S", "CR3", "HC1", "classical")},
    **{f"ols CR2 {df}": ("ols", {"df": df}) for df in ("clusters-1", "clusters-2", "clusters-p", "residual", "normal")},
}
ADJUST = ["mansa_baseline", "size"]


def coded(seed=3, practices=14, most=7, people_in="group"):
    """Return a trial whose participants, or practices, fall into three groups."""
    data = ragged(seed, practices, most)
    rng = np.random.default_rng(seed)
    labels = np.array(["a", "b", "c"])
    by_person = labels[rng.integers(0, 3, len(data["arm"]))]
    by_practice = labels[rng.permutation(np.arange(practices) // 2 % 3)][data["practice"]]
    return {**data, people_in: by_person, "district": by_practice}


def examined(data, name, interaction, every_term=False, adjust=ADJUST):
    kind, options = EVERY[name]
    return fit(batch(data), method(kind, adjust=adjust, interaction=interaction, **options), every_term)
