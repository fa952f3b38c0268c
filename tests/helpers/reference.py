"""Reference results of ``oracle/`` beside those of simtrial, joined by trial, method, model, outcome and term."""

import csv
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from simtrial.estimators import Method, method_class
from simtrial.files.read_trials import read_trials
from simtrial.files.trials.column_use import Use
from simtrial.run.analyse import analyse

ORACLE = Path(__file__).parents[1] / "oracle"
FILES = tuple(sorted((ORACLE / "data").glob("*.csv")))
MODELS = {"crude": [], "partial": ["mansa_baseline"], "full": ["mansa_baseline", "region", "practice_size"]}
OUTCOMES = ("followup", "change")
LMM = {
    "lmm_reml.normal": {"df": "normal"},
    "lmm_reml.satterthwaite": {"df": "satterthwaite-observed"},
    "lmm_reml.kr": {"df": "kenward-roger"},
    "lmm_reml.between_within_nlme": {"df": "between-within"},
    "lmm_ml.normal": {"estimation": "ml", "df": "normal"},
}
OLS = {
    "ols.classical": {"se": "classical", "df": "residual"},
    "ols.HC1": {"se": "HC1", "df": "residual"},
    **{
        f"ols.{se}.{suffix}": {"se": se, "df": df}
        for se in ("CR0", "CR1", "CR1S", "CR2", "CR3")
        for suffix, df in (("t_m1", "clusters-1"), ("satterthwaite", "satterthwaite"))
    },
}
RECEIVED = {"cace_sessions6": "sessions >= 6", "cace_goals4": "goal_sessions >= 4"}
TWO_STAGE = {
    "2sls.classical": {"se": "classical", "df": "residual"},
    **{f"2sls.{se}.normal": {"se": se, "df": "normal"} for se in ("CR0", "CR1", "CR1S", "CR2")},
    **{f"2sls.{se}.t_m1": {"se": se, "df": "clusters-1"} for se in ("CR0", "CR1", "CR1S", "CR2", "CR3")},
    **{f"2sls.{se}.satterthwaite": {"se": se, "df": "satterthwaite"} for se in ("CR1", "CR2")},
    "anderson_rubin.CR1S": {"se": "CR1S", "df": "clusters-1", "ci": "anderson-rubin"},
}
CACE = {
    f"{prefix}.{name}": {"received": received, **options}
    for prefix, received in RECEIVED.items()
    for name, options in TWO_STAGE.items()
}
CLUSTER = {
    "cluster_means.t_pooled": {"variance": "pooled"},
    "cluster_means.t_welch": {"variance": "welch"},
    "cluster_means.size_weighted": {"weights": "size"},
    "two_stage.t_pooled": {"df": "clusters-2"},
    "two_stage.t_pooled_df_reduced": {"df": "clusters-p"},
    "two_stage.t_welch": {"variance": "welch"},
    "two_stage.size_weighted": {"weights": "size", "df": "clusters-2"},
    "cluster_ancova.unweighted": {"adjustment": "ancova", "df": "clusters-p"},
    "cluster_ancova.size_weighted": {"adjustment": "ancova", "weights": "size", "df": "clusters-p"},
}
EXCHANGEABLE = {
    "gee_robust": "robust",
    "geesmv_md": "mancl-derouen",
    "saws_d4": "fay-graubard",
    "statsmodels_robust": "robust",
    "statsmodels_bias_reduced": "mancl-derouen",
}
GEE = {
    **{f"gee_exch.{name}": {"se": se, "df": "normal"} for name, se in EXCHANGEABLE.items()},
    "gee_exch.geepack_san.se": {"se": "robust", "df": "normal", "moments": "n"},
    "gee_indep.statsmodels_bias_reduced": {"working": "independence", "se": "mancl-derouen", "df": "normal"},
}
GROUPS: dict[str, tuple[str, Mapping[str, Mapping[str, str]]]] = {
    "lmm": ("lmm", LMM),
    "ols": ("ols", OLS),
    "cace": ("iv", CACE),
    "cluster_level": ("cluster-means", CLUSTER),
    "gee": ("gee", GEE),
}
NUMBERS = ("estimate", "std_error", "df", "ci_lower", "ci_upper")


@dataclass(frozen=True)
class Key:
    """What joins a reference row with ours."""

    trial: str
    method: str
    model: str
    outcome: str
    term: str


@dataclass(frozen=True)
class Tolerance:
    """Allowed difference: estimate in standard errors; standard error and df relative."""

    estimate: float
    std_error: float
    df: float


def method(kind: str, **options: Any) -> Method:
    """Build a method as a methods file would."""
    return method_class(kind).model_validate({"kind": kind, "name": "method", "response": "mansa", **options})


def read(file: str) -> list[dict[str, str]]:
    """Rows of a reference file, as text."""
    with open(ORACLE / f"{file}.csv", newline="") as handle:
        return list(csv.DictReader(handle))


def number(text: str) -> float:
    """Return a number, NaN where the reference is blank."""
    return float(text) if text else math.nan


@cache
def reference(group: str) -> dict[Key, dict[str, Any]]:
    """Every row of a reference file, numbers as floats."""
    found = {}
    for row in read(group):
        key = Key(row["trial_id"], row["method"], row["model"], row["outcome"], row["term"])
        remarks = frozenset(row["remark"].split())
        found[key] = {name: number(row[name]) for name in (*NUMBERS, "n", "clusters")} | {"remarks": remarks}
    return found


PARTNERS = Use(
    orders={"region": ("Birmingham", "Plymouth", "Cornwall", "Somerset"), "practice_size": ("small", "large")}
)
"""Categories in the order of the reference results, each with the first."""


@cache
def ours(group: str) -> dict[Key, dict[str, Any]]:
    """Every term of every method of a group on all 27 trials, analysed as one batch; nulls as NaN."""
    kind, options = GROUPS[group]
    methods = [
        method(kind, name=f"{name}/{model}/{outcome}", adjust=adjust, outcome=outcome, **chosen)
        for name, chosen in options.items()
        for model, adjust in MODELS.items()
        for outcome in OUTCOMES
    ]
    ids, batch = read_trials(FILES, set().union(*(m.reads() for m in methods)), {}, use=PARTNERS)
    found = {}
    for row in analyse(ids, batch, methods, every_term=True).iter_rows(named=True):
        key = Key(row["trial_id"].split("_")[0], *row["method"].split("/"), row["term"])
        numbers = {name: math.nan if row[name] is None else row[name] for name in (*NUMBERS, "p_value")}
        flags = frozenset(filter(None, row["flags"].split(";")))
        found[key] = {**row, **numbers, "flags": flags, "extra": json.loads(row["extra"])}
    return found


def targets(group: str, name: str) -> Iterator[tuple[Key, dict[str, Any]]]:
    """Reference rows of one method that hold an estimate."""
    for key, row in reference(group).items():
        if key.method == name and not math.isnan(row["estimate"]):
            yield key, row


def differences(mine: Mapping[str, Any], row: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """Errors of estimate and interval ends (in standard errors), and relative errors of standard error and df."""
    scale = mine["std_error"] if math.isnan(row["std_error"]) else row["std_error"]
    ends = [_apart(mine[c], row[c], scale) for c in ("ci_lower", "ci_upper") if not math.isnan(row[c])]
    relative = [0.0 if math.isnan(row[c]) else _apart(mine[c], row[c], row[c]) for c in ("std_error", "df")]
    return _apart(mine["estimate"], row["estimate"], scale), *relative, max(ends, default=0.0)


def _apart(mine: float, theirs: float, scale: float) -> float:
    return 0.0 if mine == theirs else abs(mine - theirs) / scale


def disagreements(group: str, name: str, allowed: Tolerance, without: str = "") -> tuple[int, list[str]]:
    """Compare one method on every trial, model, outcome and term; say how many rows there were and which are off.

    An interval end is est + t SE, and |dlog t / dlog df| < 3 for df > 0.9 (the smallest here is 0.96), so an end may be
    off by the tolerance of the estimate plus t times (that of the standard error + 3 times that of df).
    """
    count, off = 0, []
    for key, row in targets(group, name):
        if key.term == without:
            continue
        count += 1
        mine = ours(group)[key]
        estimate, std_error, df, ends = differences(mine, row)
        half = (
            (row["ci_upper"] - row["ci_lower"]) / 2 / row["std_error"]
            if row["std_error"] > 0 and row["ci_upper"] == row["ci_upper"]
            else 100.0
        )
        allowed_ends = allowed.estimate + half * (allowed.std_error + 3 * allowed.df)
        limits = (allowed.estimate, allowed.std_error, allowed.df, allowed_ends)
        same_rows = math.isnan(row["n"]) or (mine["n_used"], mine["clusters_used"]) == (row["n"], row["clusters"])
        if not same_rows or not all(e <= a for e, a in zip((estimate, std_error, df, ends), limits, strict=True)):
            off.append(f"{key}: est {estimate:.1e} se {std_error:.1e} df {df:.1e} ends {ends:.1e} {mine['status']}")
    return count, off
