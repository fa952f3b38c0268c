"""What can be odd about a fit: one name, one bit, one sentence on cause and remedy each."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

CAUSES: dict[str, str] = {
    "boundary": "The between-practice variance is estimated as 0; valid and frequent with few practices.",
    "aliased": "A covariate is a combination of others in the analysed rows and was dropped; adjust for fewer.",
    "leverage_one": "One practice alone determines a coefficient; CR2 takes a pseudo-inverse; do not use CR3.",
    "weak_instrument": "First-stage F below 10: allocation hardly moves receipt; prefer the Anderson-Rubin interval.",
    "unbounded_interval": "The data do not bound the effect on at least one side; report the interval unchanged.",
    "not_converged": "The fit did not converge, or left its bounds; numbers, if any, are the last ones reached.",
    "no_first_stage": "Allocation does not change receipt in these data, so the complier effect is undefined.",
    "too_few_clusters": "An arm has fewer than two analysed practices (a joint test: too few to invert): trust no SE.",
    "tau2_not_identified": "The between-practice variance is not identified; use fewer practice-level covariates.",
    "arm_aliased": "Arm (or its product in a tested interaction) is a combination of covariates; adjust for fewer.",
    "no_data": "No analysed rows are left, or no more rows than coefficients.",
    "constant_outcome": "Covariates explain the outcome exactly, or all of its variation between practices.",
    "blank_receipt": "Receipt or adherence is unknown for some people, who are excluded (see n_unknown).",
    "imputation_failed": "An imputation model or an analysis of completed data failed; its message gives the reason.",
    "error": "The method raised an error; see the message in its row, or the run's failures folder.",
    "invalid_result": "The method returned an invalid result.",
    "timeout": "The fit took longer than [run] method_seconds; raise the limit, or make the method faster.",
    "global_random": "The method drew from the global random generators, seeded for its trial; use the given rng.",
    "no_allocation": "The allocation is not stated or a column it needs is blank; give [allocation] and its factors.",
    "few_allocations": "Fewer than 40 distinct allocations were drawn, so small p-values cannot occur; report this.",
    "out_of_range": "Values are above 1e45, below 1e-45 or infinite and are not used; change the units.",
    "impossible_allocation": "The stated allocation cannot have produced these arms; state the true one.",
    "constant_within": "Covariates explain all variation within practices: the analysis uses practice means alone.",
    "one_arm": "All analysed practices are in one arm: no effect can be estimated; check arm, subset and blanks.",
    "same_receipt": "All analysed people received the intervention, or none did: check `received`, subset and blanks.",
    "one_stratum": "Everybody offered received, or nobody did: one kind of people only; use iv, or lmm if all did.",
    "receipt_in_control": "Somebody in control received, for which the method has no place; use iv, or see `received`.",
    "several_modes": "The likelihood has another maximum nearly as high, with another effect; add predictors.",
    "collapsed": "Compliers and never-takers cannot be told apart, or a class explains its outcomes exactly: no SE.",
    "separation": "A logistic model is certain of some people: its limit is used; give it fewer predictors.",
    "one_compliant_practice": "Without one practice nobody offered received, or everybody: no jackknife; use iv.",
    "extreme_weights": "A probability of being observed was below the smallest allowed and was raised; few are alike.",
    "people_left_out": "People without a covariate are not imputed (see n_left_out); imputation = 'fcs' fills them in.",
    "chain_unsettled": "Both halves of the imputation chain differ (R-hat above 1.2): raise burn_in and thin.",
}
BIT: dict[str, int] = {name: 1 << place for place, name in enumerate(CAUSES)}

ONE_ARM_SAYS = ("too_few_clusters", "arm_aliased", "no_data")
"""Flags that follow from `one_arm`: beside it they would send the user after causes that are none."""


def first_causes(flags: NDArray[np.int64]) -> NDArray[np.int64]:
    """Flags of failed fits without those that follow from a cause that is there (trials,)."""
    return np.where(flags & BIT["one_arm"], flags & ~bits(ONE_ARM_SAYS), flags)


def bits(names: Iterable[str]) -> int:
    """Return the bit mask of some flags."""
    return sum(BIT[name] for name in names)


@lru_cache(maxsize=1024)
def text(mask: int) -> str:
    """Names of the flags in a bit mask, joined by ``;`` in their fixed order."""
    return ";".join(name for name, bit in BIT.items() if mask & bit)
