"""The estimators on data frames of one's own, from Python."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import polars as pl

from simtrial.errors import DataError, ScenarioError, SimtrialError
from simtrial.estimators import Method
from simtrial.files.formats.frame import frame_source
from simtrial.files.read_trials import outcomes_in, read_trials
from simtrial.files.trials.column_use import use_of
from simtrial.plugins.load import load_plugins
from simtrial.run.analyse import analyse
from simtrial.scenario import load_categories, load_methods
from simtrial.scenario.methods import build_methods
from simtrial.scenario.primary_outcome import about
from simtrial.scenario.problems import key_name
from simtrial.study import Study

if TYPE_CHECKING:
    import pandas as pd

PathLike = str | os.PathLike[str]
Frame: TypeAlias = "pl.DataFrame | pl.LazyFrame | pd.DataFrame"


def fit(
    frames: Frame | Sequence[Frame],
    methods: PathLike | Study | Sequence[Mapping[str, Any]],
    *,
    columns: Mapping[str, str] | None = None,
    factors: str | Sequence[str] = (),
    numbers: str | Sequence[str] = (),
    missing: str | float | Sequence[str | float] = (),
    all_terms: bool = False,
    seed: int = 1,
    plugins: str | Sequence[str] = (),
) -> pl.DataFrame:
    """Analyse data of your own by any of the methods, as ``simtrial analyse`` does.

    Parameters
    ----------
    frames
        One row per participant, of polars or pandas: ``practice``, ``arm`` (0 control, 1 intervention) and what the
        methods read, such as ``mansa_followup``. One frame, or several: one trial each, or told apart by ``trial_id``.
    methods
        A methods file or scenario, the study of a scenario, or the tables themselves:
        ``[{"name": "mixed model", "kind": "lmm", "adjust": ["mansa_baseline"]}]``.
    columns
        Your names of columns, by ours: ``{"practice": "gp_id"}``.
    factors, numbers
        Columns of numbers to take as categories, and of labelled categories to take as numbers.
    missing
        Codes of missing values, such as -99.
    all_terms
        Return every coefficient, not only the effect.
    seed
        Seed of methods that draw.
    plugins
        Modules of your own that register methods.

    Returns
    -------
    frame
        One row per trial, method and term: trial_id, method, term, estimate, std_error, df, statistic, p_value,
        ci_lower, ci_upper, status, flags, n_used, clusters_used, and extra (JSON: icc, fmi and so on).

    Raises
    ------
    DataError
        When a column is missing or holds what it cannot hold.
    ScenarioError
        When a method is not as it should be; every problem is named.
    """
    load_plugins(_listed(plugins))
    given = list(frames) if isinstance(frames, (list, tuple)) else [frames]
    if not given:
        raise DataError("no data frame is given")
    names = ["frame"] if len(given) == 1 else [f"frame {at}" for at in range(1, len(given) + 1)]
    sources = [frame_source(frame, name) for frame, name in zip(given, names, strict=True)]
    renamed = dict(columns or {})
    chosen, declared, known = _methods(methods, outcomes_in(sources, renamed))
    codes = [missing] if isinstance(missing, (str, int, float)) else missing
    use = use_of(chosen, _listed(factors), _listed(numbers), declared, known, [str(code) for code in codes])
    needed = frozenset[str]().union(*(m.reads() for m in chosen))
    ids, batch = read_trials(sources, needed, renamed, use=use)
    return analyse(ids, batch, chosen, seed, all_terms)


_Categories = dict[str, tuple[str, ...]]


def _methods(
    stated: PathLike | Study | Sequence[Mapping[str, Any]], outcomes: Sequence[str]
) -> tuple[list[Method], _Categories, _Categories]:
    """Methods, the categories that their file declares, and those that the trials of a scenario have."""
    if isinstance(stated, Study):
        variables = stated.scenario.variables
        return stated.scenario.methods, {}, {name: v.categories for name, v in variables.items() if v.categories}
    if isinstance(stated, (str, os.PathLike)):
        name = os.fspath(stated)
        return load_methods(name, outcomes), *load_categories(name)
    primary = outcomes[0] if len(outcomes) == 1 else ""
    rows = [dict(table) for table in stated]
    chosen, problems = build_methods(about(rows, primary), [], None, None, outcomes)
    if problems:
        raise ScenarioError("\n".join(f"{key_name(p.path)}: {p.message}" for p in problems))
    if not chosen:
        raise SimtrialError("no method is given")
    return chosen, {}, {}


def _listed(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
