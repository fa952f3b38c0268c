"""The order of things that have none: covariates, rows, names of practices, columns of a file; for every kind."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from reference import method

from simtrial.estimators import kinds
from simtrial.files.read_trials import read_trials
from simtrial.run.analyse import analyse

ADJUST = ["mansa_baseline", "some", "region", "list_size", "tenths"]
OWN = {
    "as-treated": {"received": "sessions >= 6", "analysis": {"kind": "lmm"}},
    "cace-mixture": {"received": "sessions >= 6", "adjust": ["mansa_baseline", "some"]},
    "clda": {"adjust": ["mansa_baseline", "some", "region"]},
    "correlation": {"adjust": []},
    "event-rate": {"adjust": []},
    "ipw-per-protocol": {"keep": "arm == 0 or sessions >= 2", "adjust": ["mansa_baseline", "some"]},
    "iv": {"received": "sessions >= 6"},
    "mi": {"analysis": {"kind": "lmm"}, "m": 3},
    "principal-score": {"received": "sessions >= 6", "adjust": ["mansa_baseline", "some"]},
    "per-protocol": {"keep": "arm == 0 or sessions >= 2", "analysis": {"kind": "lmm"}},
    "randomisation-test": {"draws": 99, "allocation": {"method": "complete"}},
    "wild-bootstrap": {"draws": 99},
}
MORE = (
    ("lmm", {"df": "kenward-roger"}), ("lmm", {"tau2": "unconstrained", "df": "residual"}),
    ("lmm", {"estimation": "ml"}),
    ("lmm", {"heteroscedastic": "both", "df": "satterthwaite"}), ("ols", {"se": "CR3", "weights": "inverse-size"}),
    ("ols", {"se": "HC1"}), ("gee", {"se": "fay-graubard"}), ("iv", {"level_of_analysis": "cluster", **OWN["iv"]}),
    ("iv", {"ci": "anderson-rubin", **OWN["iv"]}), ("iv", {"ratio": "lmm", **OWN["iv"]}),
    ("cluster-means", {"adjustment": "ancova", "df": "clusters-p"}),
    ("cluster-means", {"weights": "inverse-variance"}), ("g-computation", {"average": "cluster", "model": "lmm"}),
    ("icc", {"estimation": "anova", "adjust": []}),
)  # fmt: skip
DRAWN = ("mi", "randomisation-test", "wild-bootstrap")
"""Draws go to practices and people by their place, so that rows in another order get other draws, by design."""
BY_COLUMN = ("mi",)
"""Draws go to coefficients in the order of `adjust` as well."""
CLOSE = {"clda": 1e-7}
"""In standard errors; elsewhere 1e-10. clda stops where 1e-18 of its criterion is promised."""


def cases():
    """Every kind that is registered by the project, and further options of some."""
    chosen = [(kind, OWN.get(kind, {})) for kind, made in kinds().items() if made.__module__.startswith("simtrial.")]
    return [*chosen, *MORE]


def trial(seed: int) -> pl.DataFrame:
    """One trial: a 0/1 covariate constant in some practices, values whose sums are rounded, blanks."""
    rng = np.random.default_rng(seed)
    practices = 14
    sizes = rng.integers(2, 9, practices)
    practice = np.repeat(np.arange(practices), sizes)
    people = len(practice)
    arm = rng.permutation(np.arange(practices) % 2)[practice]
    some = np.where(rng.integers(0, 2, practices)[practice] == 1, rng.integers(0, 2, people), 1)
    baseline = np.round(rng.normal(4.3, 0.9, people), 1)
    sessions = np.where(arm == 1, rng.poisson(6, people), 0)
    follow = 1 + 0.6 * baseline + 0.2 * some + rng.normal(0, 0.4, practices)[practice] + rng.normal(0, 0.8, people)
    blank = rng.random(people) < 0.15
    return pl.DataFrame({
        "trial_id": [f"t{seed}"] * people, "practice": [f"gp{n}" for n in practice.tolist()], "arm": arm,
        "region": np.array(["north", "south", "east"])[rng.integers(0, 3, practices)][practice],
        "list_size": np.round(rng.lognormal(8.5, 0.4, practices))[practice] / 10, "some": some,
        "tenths": rng.integers(0, 4, people) / 10, "mansa_baseline": baseline, "sessions": sessions,
        "mansa_followup": pl.Series(follow).set(pl.Series(blank), None),
        "acute_episodes": rng.poisson(1.2, people), "acute_treated": np.where(arm == 1, rng.integers(0, 2, people), 0),
        "first_contact_months": np.round(rng.uniform(0, 12, people), 1), "recruitment_month": np.arange(people),
    }).with_columns(acute_episodes=pl.col("acute_episodes") + pl.col("acute_treated"))  # fmt: skip


FRAME = pl.concat([trial(3), trial(4)])


def analysed(tmp_path: Path, frame: pl.DataFrame, kind: str, options: dict, adjust: list[str]) -> pl.DataFrame:
    """Rows of one method by the path of users: a file, and `analyse`."""
    file = tmp_path / "data.csv"
    frame.write_csv(file)
    chosen = method(kind, **{"adjust": adjust, **options})
    needed = set(chosen.reads())
    return analyse(*read_trials([file], needed, {}), [chosen]).sort("trial_id")


def same(one: pl.DataFrame, other: pl.DataFrame, kind: str) -> None:
    """Every number within a tolerance in standard errors, and the same words."""
    assert one["trial_id"].to_list() == other["trial_id"].to_list()
    assert one["status"].to_list() == other["status"].to_list() == ["ok", "ok"]
    assert one["flags"].to_list() == other["flags"].to_list()
    allowed = CLOSE.get(kind, 1e-10)
    error = one["std_error"].to_numpy()
    for name in ("estimate", "std_error", "ci_lower", "ci_upper"):
        a, b = (f[name].cast(pl.Float64).to_numpy() for f in (one, other))
        equal = (a == b) | (np.abs(a - b) <= allowed * error)
        assert equal.all(), (name, a, b)
    for name in ("df", "p_value", "n_used", "clusters_used"):
        a, b = (f[name].cast(pl.Float64).fill_null(np.inf).to_numpy() for f in (one, other))
        assert np.array_equal(a, b) or a == pytest.approx(b, rel=100 * allowed), name


@pytest.mark.parametrize(("kind", "options"), cases(), ids=lambda v: v if isinstance(v, str) else "-".join(map(str, v)))
def test_what_has_no_order_changes_nothing(tmp_path, kind, options):
    first = analysed(tmp_path, FRAME, kind, options, ADJUST)
    rng = np.random.default_rng(1)
    columns = rng.permutation(FRAME.columns).tolist()
    renamed = FRAME.with_columns(practice=pl.col("practice").map_elements(lambda p: f"z{97 - int(p[2:])}", pl.String))
    changes = {"columns of the file": FRAME.select(columns), "names of practices": renamed}
    if kind not in DRAWN:
        changes["rows"] = FRAME.sample(fraction=1.0, shuffle=True, seed=5)
        changes["trials"] = pl.concat([trial(4), trial(3)])
    for frame in changes.values():
        same(first, analysed(tmp_path, frame, kind, options, ADJUST), kind)
    if kind not in BY_COLUMN and "adjust" not in options:
        for _ in range(2):
            order = rng.permutation(ADJUST).tolist()
            same(first, analysed(tmp_path, FRAME, kind, options, order), kind)
