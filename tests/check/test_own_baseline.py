"""simtrial's own estimators, held against a stored baseline; and bugs planted in them, which turn it red.

After a change that is meant: pytest tests/check/test_own_baseline.py --simtrial-update-baseline "why".
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from simtrial.commands import judging
from simtrial.commands.request import Request
from simtrial.estimators import Estimates, Method
from simtrial.estimators.fitting import Attempt
from simtrial.run import block
from simtrial.run.loop import run
from simtrial.scenario import load
from simtrial.verdict import Judged

BASELINE = Path(__file__).parent / "baselines" / "estimators.parquet"


@pytest.mark.simtrial("verify/estimators")
def test_no_estimator_has_changed(assert_no_regression: Callable[..., None]) -> None:
    assert_no_regression()


def judged(folder: Path) -> Judged:
    """Run the scenario with the estimators as they are now, and hold it against the baseline."""
    scenario, cells = load("verify/estimators")
    assert not run(scenario, cells, folder).failed
    found = judging.assess(folder, Request("verify/estimators", "text", "simtrial replay", baseline=BASELINE))
    assert found is not None
    return found


def made_anew(estimates: Estimates, **changed: np.ndarray) -> Estimates:
    """Estimates with other numbers, interval and p-value made from them."""
    new = replace(estimates, **changed)
    quantile = np.where(np.isinf(new.df), stats.norm.ppf(0.975), stats.t.ppf(0.975, np.minimum(new.df, 1e9)))
    half = quantile * new.std_error
    p = 2 * stats.t.sf(np.abs(new.estimate / new.std_error), np.minimum(new.df, 1e9))
    return replace(new, ci_lower=new.estimate - half, ci_upper=new.estimate + half, p_value=p)


def options(**changed: Any) -> Callable[[Method], Method]:
    """A method that takes an option for another, whatever the scenario states."""
    return lambda method: method.model_copy(update=changed)


def inner(**changed: Any) -> Callable[[Method], Method]:
    """The same of the analysis that a method wraps."""
    return lambda method: method.model_copy(update={"analysis": method.analysis.model_copy(update=changed)})  # type: ignore[attr-defined]


def shifted(estimates: Estimates) -> Estimates:
    """A bias of a tenth of the empirical SE."""
    return made_anew(estimates, estimate=estimates.estimate + 0.1 * np.nanstd(estimates.estimate))


def population_variance(estimates: Estimates) -> Estimates:
    """The divisor J for J - p: ddof = 0."""
    return made_anew(estimates, std_error=estimates.std_error * np.sqrt(estimates.df / estimates.clusters_used))


def infinite_complete_df(estimates: Estimates) -> Estimates:
    """Rubin's df of 1987 from five imputations."""
    return made_anew(estimates, df=4 * (1 + 1 / estimates.extras["riv"][None]) ** 2)


Change = Callable[[Any], Any]
BEFORE: dict[str, tuple[str, Change]] = {
    "ML for REML": ("lmm", options(estimation="ml")),
    "CR1 for CR2": ("ols, CR2", options(se="CR1")),
    "a dropped baseline": ("lmm", options(adjust=["region", "practice_size"])),
    "receipt mis-coded": ("iv", options(received="arm == 1 and sessions < 6")),
    "imputation without the practices": (
        "mi of lmm",
        options(prior="inverse-gamma", tau2_shape=50.0, tau2_scale=1e-6, sigma2_shape=0.5, sigma2_scale=0.0),
    ),
    "per-protocol of ML": ("per-protocol", inner(estimation="ml")),
}
AFTER: dict[str, tuple[str, Change]] = {
    "a bias of 0.10 empirical SE": ("lmm", shifted),
    "normal for t": ("cluster-means", lambda e: made_anew(e, df=np.full_like(e.df, np.inf))),
    "ddof = 0": ("cluster-means", population_variance),
    "infinite complete-data df": ("mi of lmm", infinite_complete_df),
}


QUICK = ("ML for REML", "ddof = 0")


@pytest.mark.verify
@pytest.mark.parametrize(
    "bug", [pytest.param(bug, marks=[] if bug in QUICK else [pytest.mark.slow]) for bug in (*BEFORE, *AFTER)]
)
def test_a_planted_bug_turns_it_red(bug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The method that has the bug is named, with the first replicate that differs; no other is."""
    name, change = {**BEFORE, **AFTER}[bug]
    whole = block.attempt

    def attempt(method: Method, *arguments: Any, **more: Any) -> Attempt:
        if method.name != name:
            return whole(method, *arguments, **more)
        if bug in BEFORE:
            return whole(change(method), *arguments, **more)
        found = whole(method, *arguments, **more)
        return found._replace(estimates=change(found.estimates))

    monkeypatch.setattr(block, "attempt", attempt)
    found = judged(tmp_path / "run")
    assert found.fails
    failing = [f for f in found.findings if f.fails]
    assert {f.method for f in failing} == {name}
    assert all("first replicate that differs" in f.sentence for f in failing if f.source == "baseline")
