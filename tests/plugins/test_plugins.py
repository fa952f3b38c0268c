"""Estimators of the user's own: the documentation's examples, and what happens when one goes wrong."""

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

import simtrial
from simtrial.cli import cli
from simtrial.errors import SimtrialError
from simtrial.estimators import Estimates, Method, kinds, register
from simtrial.estimators.imputation.engine import IMPUTATION_ENGINES
from simtrial.plugins.load import load_plugins
from simtrial.plugins.plain_methods import checked
from simtrial.store.reading import read_rows
from simtrial.testing import ContractError, check_method

DOC = Path(__file__).parents[2] / "docs" / "own-estimator.md"
BLOCKS = re.findall(r"```(python|toml)\n(.*?)```", DOC.read_text(), re.S)
PLAIN, SCENARIO, STATSMODELS, RSCRIPT, BATCHED, ENGINE, _ = (text for _, text in BLOCKS)


def run(*arguments):
    return CliRunner().invoke(cli, [*map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A user's folder; what its plugins register is forgotten afterwards."""
    kinds()
    from simtrial import estimators

    before = dict(estimators.METHODS.found)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    estimators.METHODS.found.clear()
    estimators.METHODS.found.update(before)
    for name in [n for n in sys.modules if n.startswith("simtrial_plugin_")]:
        del sys.modules[name]


def test_the_documented_function_stands_in_the_table_beside_the_built_in_methods(folder):
    (folder / "mine.py").write_text(PLAIN)
    (folder / "mine.toml").write_text(SCENARIO.replace("replicates = 500", "replicates = 40\nblock = 20"))
    done = run("run", "mine.toml", "-o", "out", "--plugin", "mine.py")
    assert done.exit_code == 0
    assert "mean difference" in done.stdout
    assert "mixed model" in done.stdout
    assert "Difference from the reference" in done.stdout
    rows = read_rows(folder / "out")[0]
    assert rows.filter((pl.col("method") == "mean difference") & (pl.col("status") == "ok")).height == 40


def test_the_documented_imputation_engine_keeps_the_contract(folder):
    (folder / "engine.py").write_text(ENGINE)
    load_plugins(["engine.py"])
    try:
        check_method({"kind": "mi", "imputation": "noisy-mean", "spread": 0.8, "m": 3, "analysis": {"kind": "lmm"}})
    finally:
        del IMPUTATION_ENGINES.found["noisy-mean"]


def test_plugins_work_in_worker_processes_and_give_the_same_rows(folder):
    (folder / "mine.py").write_text(PLAIN)
    (folder / "mine.toml").write_text(SCENARIO.replace("replicates = 500", "replicates = 40\nblock = 20"))
    assert run("run", "mine.toml", "-o", "one", "--plugin", "mine.py", "--engine", "serial").exit_code == 0
    assert run("run", "mine.toml", "-o", "two", "--plugin", "mine.py", "--workers", "2").exit_code == 0
    assert read_rows(folder / "one")[0].equals(read_rows(folder / "two")[0])


def test_a_run_is_not_continued_with_another_version_of_a_plugin(folder):
    (folder / "mine.py").write_text(PLAIN)
    (folder / "mine.toml").write_text(SCENARIO.replace("replicates = 500", "replicates = 20\nblock = 20"))
    run("run", "mine.toml", "-o", "out", "--plugin", "mine.py")
    (folder / "mine.py").write_text(PLAIN + "\n# changed\n")
    with pytest.raises(SimtrialError, match="made with other plugins"):
        run("run", "mine.toml", "-o", "out", "--plugin", "mine.py")


@pytest.mark.filterwarnings("ignore:The design matrix is rank-deficient")  # in the trials with one arm
def test_documented_statsmodels_estimator(folder):
    """The GEE is not shift-exact to the last digits because it iterates, and agrees with the contract to 1e-5."""
    (folder / "gee.py").write_text(STATSMODELS)
    load_plugins(["gee.py"])
    check_method("statsmodels-gee", trials=4)


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="Rscript is not on the path")
def test_documented_estimator_in_r_equals_the_built_in_one(folder):
    (folder / "r.py").write_text(RSCRIPT)
    (folder / "r.toml").write_text(
        'schema = 1\nname = "r"\nextends = "partners"\n[run]\nreplicates = 3\nblock = 3\n'
        '[[methods]]\nname = "R"\nkind = "r-lme"\n'
        '[[methods]]\nname = "ours"\nkind = "lmm"\nadjust = ["mansa_baseline"]\n'
    )
    assert run("run", "r.toml", "-o", "out", "--plugin", "r.py").exit_code == 0
    wide = read_rows(folder / "out")[0].pivot(on="method", index="replicate", values=["estimate", "std_error"])
    # nlme stops its iterations at 1e-4 of an SE or better
    assert np.allclose(wide["estimate_R"], wide["estimate_ours"], atol=1e-4)
    assert np.allclose(wide["std_error_R"], wide["std_error_ours"], rtol=1e-3)


def test_documented_batched_estimator_keeps_the_contract(folder):
    (folder / "batched.py").write_text(BATCHED)
    load_plugins(["batched.py"])
    check_method("practice-means")
    check_method({"kind": "practice-means", "drop_singletons": True})


BAD = """
import polars as pl
import simtrial

@simtrial.plain_method("bad")
def bad(trial):
    \"\"\"Goes wrong in every way there is.\"\"\"
    print("noise")
    trial.insert_column(0, pl.Series("arm_", [0] * trial.height))
    way = trial.height % 4
    if way == 0:
        raise ValueError("no luck")
    return [{"estimate": float("nan")}, {"estimate": 1.0, "std_error": -1.0}, "nonsense"][way - 1]
"""


def test_an_estimator_that_goes_wrong_costs_only_its_own_rows(folder):
    (folder / "bad.py").write_text(BAD)
    base = 'schema = 1\nname = "b"\nextends = "partners"\n[run]\nreplicates = 40\nblock = 20\n'
    good = '[[methods]]\nname = "lmm"\nkind = "lmm"\n'
    good += '[[methods]]\nname = "mi"\nkind = "mi"\nm = 2\nanalysis = { kind = "lmm" }\n'
    (folder / "with.toml").write_text(base + '[[methods]]\nname = "bad"\nkind = "bad"\n' + good)
    (folder / "without.toml").write_text(base + good)
    done = run("run", "with.toml", "-o", "with", "--plugin", "bad.py")
    assert done.exit_code == 0
    assert "noise" not in done.stdout
    run("run", "without.toml", "-o", "without")
    rows, alone = read_rows(folder / "with")[0], read_rows(folder / "without")[0]
    others = rows.filter(pl.col("method") != "bad").select(alone.columns)
    assert others.equals(alone)
    bad = rows.filter(pl.col("method") == "bad")
    assert bad["status"].unique().to_list() == ["failed"]
    assert set(bad["flags"]) == {"error", "invalid_result"}
    failures = "".join(f.read_text() for f in (folder / "with" / "failures").rglob("*.jsonl"))
    assert failures.count("ValueError: no luck") == bad.filter(pl.col("flags") == "error").height


@pytest.mark.parametrize(("result", "message"), [
    (None, "returned NoneType"),
    ({"estimate": "x"}, "not a number"),
    ({"std_error": 1.0}, "estimate is nan"),
    ({"estimate": float("inf")}, "estimate is inf"),
    ({"estimate": 1.0, "std_error": -1.0}, "std_error is -1.0"),
    ({"estimate": 1.0, "df": 0}, "df is 0.0"),
    ({"estimate": 1.0, "p_value": 2}, "p_value is 2.0"),
    ({"estimate": 1.0, "ci_lower": 2, "ci_upper": 1}, "ci_lower is above ci_upper"),
    ({"estimat": 1.0}, "unknown keys estimat"),
])  # fmt: skip
def test_nonsense_is_named(result, message):
    numbers, flag, told = checked(result)
    assert numbers == {}
    assert flag == "invalid_result"
    assert message in told


def test_results_may_leave_out_what_they_do_not_have():
    assert checked({"estimate": 1, "std_error": None})[1] == ""


@pytest.mark.parametrize(("name", "message"), [
    ("nowhere.py", "no such file"), ("no_such_module", "no module 'no_such_module'"),
])  # fmt: skip
def test_a_plugin_that_is_not_there_is_one_message(folder, name, message):
    with pytest.raises(SimtrialError, match=message):
        load_plugins([name])


def test_a_plugin_that_does_not_import_is_one_message(folder):
    (folder / "broken.py").write_text("1 / 0\n")
    with pytest.raises(SimtrialError, match="import failed: ZeroDivisionError"):
        load_plugins(["broken.py"])


def test_parameters_of_a_function_need_defaults(folder):
    with pytest.raises(TypeError, match="need defaults: order"):
        simtrial.plain_method("x")(lambda trial, order: {})


NOT_IN_POINTS = {"correlation", "event-rate", "icc"}
"""Kinds whose estimate is not in units of the outcome."""
BUILT_IN = [
    *({"kind": "lmm", "df": df} for df in ("between-within", "satterthwaite", "kenward-roger", "residual")),
    {"kind": "lmm", "df": "satterthwaite-observed"},
    {"kind": "lmm", "estimation": "ml", "df": "normal"},
    {"kind": "lmm", "tau2": "unconstrained"},
    *({"kind": "lmm", "df": "satterthwaite", "heteroscedastic": by} for by in ("residual", "cluster", "both")),
    *({"kind": "ols", "se": se} for se in ("CR2", "CR1S", "CR3", "HC1", "classical")),
    *({"kind": "gee", "se": se} for se in ("kauermann-carroll", "fay-graubard")),
    {"kind": "gee", "working": "independence", "se": "mancl-derouen", "df": "normal"},
    {"kind": "iv", "received": "sessions >= 6"},
    {"kind": "iv", "received": "goal_sessions >= 4", "ci": "anderson-rubin"},
    {"kind": "iv", "received": "sessions >= 6", "ci": "fieller"},
    {"kind": "iv", "received": "sessions >= 6", "ci": "tf"},
    {"kind": "iv", "dose": "sessions"},
    {"kind": "iv", "received": "sessions >= 6", "ci": "wild-bootstrap", "draws": 99},
    {
        "kind": "iv",
        "received": "sessions >= 6",
        "ci": "randomisation",
        "draws": 99,
        "allocation": {"method": "complete"},
    },
    {"kind": "iv", "received": "sessions >= 6", "ratio": "lmm", "ci": "fieller"},
    {"kind": "iv", "received": "sessions >= 6", "level_of_analysis": "cluster"},
    {"kind": "clda"},
    {"kind": "clda", "estimation": "ml", "df": "normal"},
    {"kind": "g-computation"},
    {"kind": "g-computation", "model": "lmm"},
    {"kind": "g-computation", "average": "cluster", "by_arm": True, "df": "normal"},
    {
        "kind": "mi",
        "m": 3,
        "pooled": "effects",
        "analysis": {"kind": "iv", "received": "sessions >= 6", "ci": "fieller"},
    },
    {"kind": "aipw"},
    {"kind": "aipw", "form": "efficient"},
    {"kind": "aipw", "by_arm": True, "adjust": ["mansa_baseline"], "auxiliary": ["sessions"], "average": "cluster"},
    {"kind": "ipw"},
    {"kind": "ipw", "working": "exchangeable"},
    {"kind": "ipw", "by_arm": True, "adjust": ["mansa_baseline"], "auxiliary": ["sessions"], "se": "mancl-derouen"},
    {"kind": "mi", "m": 3, "analysis": {"kind": "lmm"}, "auxiliary": ["sessions"]},
    {"kind": "mi", "m": 3, "analysis": {"kind": "lmm"}, "adjust": ["mansa_baseline"], "by_arm": True},
    *({"kind": "mi", "m": 3, "analysis": {"kind": "lmm"}, "imputation": e} for e in ("single-level", "fixed-effects")),
    *({"kind": "mi", "m": 3, "analysis": {"kind": "lmm"}, "imputation": e} for e in ("fcs", "joint", "pmm")),
    *({"kind": "mi", "m": 3, "analysis": {"kind": "lmm"}, "prior": p} for p in ("half-normal", "uniform-tau", "reml")),
    {"kind": "mi", "m": 3, "analysis": {"kind": "lmm"}, "delta": 0.5},
    {"kind": "mi", "m": 3, "analysis": {"kind": "ols"}, "m_rule": "two-stage", "se_cv": 0.2, "m_max": 9},
    {"kind": "mi", "m": 3, "analysis": {"kind": "ols"}, "reference": "control"},
    {"kind": "mi", "m": 3, "analysis": {"kind": "ols"}, "tipping": "intervention"},
    {"kind": "mi", "m": 2, "analysis": {"kind": "ols"}, "imputation": "mean", "resampled": True},
    *({"kind": "mi", "m": 1, "analysis": {"kind": "ols"}, "imputation": e} for e in ("mean", "baseline")),
    {"kind": "per-protocol", "keep": "in_window == 1", "analysis": {"kind": "ols"}},
    {"kind": "ipw-per-protocol", "keep": "in_window == 1"},
    {"kind": "ipw-per-protocol", "keep": "in_window == 1", "adjust": [], "auxiliary": ["mansa_baseline"]},
    {"kind": "as-treated", "received": "sessions >= 6", "analysis": {"kind": "lmm"}},
    {"kind": "as-treated", "received": "goal_sessions >= 4", "analysis": {"kind": "gee"}},
    {"kind": "cace-mixture", "received": "sessions >= 6"},
    {
        "kind": "cace-mixture",
        "received": "sessions >= 6",
        "adjust": [],
        "predictors": ["mansa_baseline"],
        "exclusion": False,
    },
    {"kind": "principal-score", "received": "sessions >= 6"},
    {"kind": "principal-score", "received": "sessions >= 6", "adjust": [], "predictors": ["mansa_baseline"]},
    {"kind": "event-rate"},
    {"kind": "correlation"},
    {"kind": "icc"},
    {"kind": "icc", "estimation": "anova", "adjust": [], "within_arm": False},
    {"kind": "ols", "weights": "inverse-size"},
    {"kind": "ols", "weights": "source-size"},
    {"kind": "cluster-means", "variance": "welch"},
    {"kind": "cluster-means", "adjustment": "ancova", "weights": "inverse-variance"},
    {
        "kind": "randomisation-test",
        "draws": 99,
        "allocation": {"method": "minimisation", "factors": ["region", "practice_size"]},
    },
    {"kind": "randomisation-test", "draws": 99, "statistic": "score", "allocation": {"method": "complete"}},
    {"kind": "wild-bootstrap", "draws": 99},
    {"kind": "wild-bootstrap", "draws": 99, "distribution": "webb", "p": "equal-tailed"},
]


@pytest.mark.parametrize("options", BUILT_IN, ids=lambda o: "-".join(str(v) for v in o.values() if isinstance(v, str)))
def test_built_in_methods_keep_the_contract(options):
    check_method(options, equivariant=options["kind"] not in NOT_IN_POINTS)


def test_every_kind_is_among_those_checked():
    own = {kind for kind, method in kinds().items() if method.__module__.startswith("simtrial.estimators.")}
    assert {o["kind"] for o in BUILT_IN} == own


def broken(change, **checks):
    """A method that is the mixed model but for one thing."""

    @register("broken")
    class Broken(Method):
        kind: str = "broken"

        def fit(self, batch, moments, rng, every_term=False):
            good = kinds()["lmm"](name="x", adjust=list(self.adjust)).fit(batch, moments, rng)
            return change(good, batch)

    try:
        check_method("broken", **checks)
    finally:
        from simtrial import estimators

        del estimators.METHODS.found["broken"]


def changed(**new):
    return lambda good, batch: Estimates(**{**vars(good), **{k: f(getattr(good, k)) for k, f in new.items()}})


def raises(good, batch):
    raise RuntimeError("oh")


def scribbles(good, batch):
    values = batch.columns["mansa_followup"].values
    values.flags.writeable = True
    values[0] = 99.0
    return good


@pytest.mark.parametrize(("change", "message"), [
    (changed(estimate=lambda e: e + 1.0), "scaling the scores"),
    (changed(estimate=lambda e: e[:, :-1]), "estimate has shape"),
    (changed(estimate=lambda e: np.where(e > 0, np.nan, e)), "not marked failed"),
    (changed(failed=lambda f: np.ones_like(f)), "have no flag"),
    (changed(std_error=lambda s: -s), "standard error is negative"),
    (changed(estimate=lambda e: np.abs(e)), "sign"),
    (changed(estimate=lambda e: e + np.arange(e.shape[1])), "one by one"),
    (changed(std_error=lambda s: s * np.random.default_rng().uniform(1, 2)), "second call"),
    (raises, "fit raised RuntimeError"),
    (scribbles, "the input was changed"),
    (lambda good, batch: None, "returned NoneType"),
])  # fmt: skip
def test_the_contract_names_the_rule_that_is_broken(change, message):
    with pytest.raises(ContractError, match=message):
        broken(change)


def test_the_unbroken_method_passes():
    broken(lambda good, batch: good)
