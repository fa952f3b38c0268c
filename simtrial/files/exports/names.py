"""Names of exported columns: those that rsimsum and siman take, and names for factors that neither keeps for itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from simtrial.files.results.columns import FACTORS, NAMES
from simtrial.scenario.cells import short_names

LABELS = {
    "rep": "replicate",
    "dgm": "data-generating mechanism: number of the cell",
    "target": "estimand",
    "method": "method",
    "estimate": "estimate; missing where the fit failed",
    "se": "standard error",
    "df": "degrees of freedom; missing: normal inference",
    "lci": "lower confidence limit",
    "uci": "upper confidence limit",
    "p": "two-sided p-value",
    "true": "true value of the estimand",
    "true_mcse": "Monte Carlo standard error of the true value",
    "own_true": "true value among the people of this trial",
    "ci_type": "kind of confidence set, where not an interval",
    "status": "ok or failed",
    "flags": "what is unusual about the fit (simtrial list explains it)",
    "n_used": "participants in the analysis",
    "clusters_used": "practices in the analysis",
}
"""Columns and their labels; between `dgm` and `target` stand the factors."""

LONGEST = 26
"""Letters of a factor's name: with _level they are the 32 that Stata allows."""

_RSIMSUM = ("stat", "est", "mcse", "lower", "upper")
_SIMAN = ("_perfmeascode", "_pm", "_dataset", "_scenario", "_true", "_method")
_STATA = ("_all", "_b", "byte", "_coef", "_cons", "double", "float", "if", "in", "int", "long", "_n", "_pi", "_pred",
          "_rc", "_skip", "str", "strL", "using", "with")  # fmt: skip
_R = ("if", "else", "repeat", "while", "function", "for", "next", "break", "TRUE", "FALSE", "NULL", "Inf", "NaN", "NA")
_READ = (*(name for known in NAMES.values() for name in known), *FACTORS)
RESERVED = frozenset((*LABELS, *_RSIMSUM, *_SIMAN, *_STATA, *_R, *_READ))
"""Names that factors may not have: ours, those of the packages, words of the languages, what `summarise` knows."""


def factor_names(factors: Sequence[str]) -> Mapping[str, str]:
    """Column of each factor: its short name in letters, digits and underscores, distinct and reserved by nobody."""
    short, found = short_names(factors), dict[str, str]()
    for factor in factors:
        bare = re.sub(r"\W+", "_", short[factor], flags=re.ASCII).strip("_") or "factor"
        bare = (bare if not bare[0].isdigit() else f"f_{bare}")[:LONGEST]
        name, number = bare, 1
        while name in RESERVED or re.fullmatch(r"str\d+", name) or _taken(name, found.values()):
            number += 1
            name = f"{bare[: LONGEST - len(str(number)) - 1]}_{number}"
        found[factor] = name
    return found


def _taken(name: str, others: Iterable[str]) -> bool:
    """Whether a name, or that of its levels, is another's already; capitals do not tell names apart everywhere."""
    known = {other.lower() for other in others}
    known |= {f"{other}_level" for other in known}
    return name.lower() in known or f"{name.lower()}_level" in known
