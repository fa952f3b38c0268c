"""Text tables of data sets that were analysed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from simtrial.estimators import Method
from simtrial.flags import CAUSES
from simtrial.kernels.interval_sets import EMPTY, TWO_RAYS
from simtrial.plugins.plain_methods import PlainMethod
from simtrial.report.text import number, say, show


def analyses_table(frame: pl.DataFrame, methods: Sequence[Method] = ()) -> None:
    """Print analyses of data sets, what their flags mean, and which covariates the methods have."""
    rows = []
    unknown = [json.loads(text).get("n_unknown") for text in frame["extra"]]
    excluded = any(unknown)  # else the column would hold zeros alone
    for row, people in zip(frame.iter_rows(named=True), unknown, strict=True):
        digits = [(row[n], d) for n, d in (("estimate", 4), ("std_error", 4), ("df", 1))]
        p = "<0.0001" if (row["p_value"] or 1.0) < 1e-4 else number(row["p_value"], 4)
        interval = _set(row)
        named = [row[n] for n in ("trial_id", "method", "term", "status")]
        used = [str(row["n_used"]), str(row["clusters_used"]), *([number(people, 0)] if excluded else [])]
        rows.append([*named, row["flags"].replace(";", " "), *(number(v, d) for v, d in digits), p, interval, *used])
    headings = ["trial", "method", "term", "status", "flags", "estimate", "SE", "df", "p", "interval"]
    headings += ["people", "practices", *(["n_unknown"] if excluded else [])]
    show("Analyses", headings, rows, 5)
    seen = sorted({name for row in frame["flags"] for name in row.split(";") if name})
    for name in seen:
        say(f"{name}: {CAUSES[name]}")
    for row in frame.iter_rows(named=True):
        extra = json.loads(row["extra"])
        for text in (extra.get("message"), extra.get("reason")):
            if text:
                say(f"trial {row['trial_id']}, {row['method']}: {text}")
    if compared := _reference_categories(frame):
        say(f"reference categories: {compared}")
    for line in adjustments(methods):
        say(line)


def adjustments(methods: Sequence[Method]) -> list[str]:
    """Say which covariates methods adjust for, a line for those that have the same."""
    found: dict[str, list[str]] = {}
    for method in methods:
        found.setdefault(adjusted_for(method), []).append(method.name)
    return [f"{what}: {'; '.join(names)}" for what, names in found.items()]


def adjusted_for(method: Method) -> str:
    """Covariates of a method in words."""
    inner = getattr(method, "analysis", None)
    if isinstance(inner, Method):  # what a method around another one has beside is for its own model
        return adjusted_for(inner)
    if isinstance(method, PlainMethod) and "adjust" not in method.parameters:
        return "covariates are up to the function"
    names = method.spec().adjust
    return f"adjusted for {', '.join(names)}" if names else "not adjusted"


def _reference_categories(frame: pl.DataFrame) -> str:
    """Say which category contrasts are with, by covariate; several where trials differ, the most frequent first."""
    found: dict[str, Counter[str]] = {}
    for text in frame["extra"]:
        for name, category in json.loads(text).get("reference", {}).items():
            found.setdefault(name, Counter())[category] += 1
    return "; ".join(f"{name} {' or '.join(text for text, _ in n.most_common())}" for name, n in found.items())


def _set(row: Mapping[str, Any]) -> str:
    """Confidence set of one analysis; what two rays leave out lies between them."""
    lower, upper = (number(row[end], 3) for end in ("ci_lower", "ci_upper"))
    kind = json.loads(row["extra"]).get("ci_type")
    if kind == TWO_RAYS:
        return f"-inf to {lower}, {upper} to inf"
    return kind if kind == EMPTY else "-" if row["ci_lower"] is None else f"{lower} to {upper}"
