"""Which methods a batch is analysed by, options drawn, and the twin of each."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from twins import arms, augmented, counts, equations, instrument, linear, means, mixed, visits, weighted
from twins.designs import RECEIVED, SUBSETS
from twins.frame import Frame, Said, frame

LMM_DF = ("between-within", "satterthwaite", "satterthwaite-observed", "kenward-roger", "residual", "normal")
OLS_SE = ("CR2", "CR0", "CR1", "CR1S", "CR3", "HC1", "classical")
OLS_DF = ("satterthwaite", "clusters-1", "clusters-2", "clusters-p", "residual", "normal")


def chosen(rng: np.random.Generator) -> list[tuple[str, dict[str, Any]]]:
    """Draw kinds and options for one batch; the costly ones seldom."""

    def one(*values):
        return values[rng.integers(len(values))]

    estimation = one("reml", "reml", "ml")
    df = one(*LMM_DF) if estimation == "reml" else one(*(d for d in LMM_DF if d != "kenward-roger"))
    menu = [
        ("lmm", {"estimation": estimation, "df": df, "tau2": one("nonnegative", "nonnegative", "unconstrained")}),
        ("ols", {"se": one(*OLS_SE), "df": one(*OLS_DF)}),
        ("ols", {"se": one(*OLS_SE[:5]), "df": one(*OLS_DF), "weights": one("inverse-size", "source-size")}),
        ("gee", {"working": one("exchangeable", "exchangeable", "independence"), "df": one("clusters-p", "normal"),
                 "se": one("kauermann-carroll", "robust", "mancl-derouen", "fay-graubard"),
                 "moments": one("n-p", "n")}),
        ("iv", {"received": one(*RECEIVED), "level_of_analysis": one("participant", "participant", "cluster"),
                "se": one(*OLS_SE), "df": one(*OLS_DF), "ci": one("wald", "anderson-rubin", "fieller", "tf")}),
        ("cluster-means", {"weights": one("equal", "size", "inverse-variance"), "adjustment": "ancova",
                           "df": one("clusters-2", "clusters-p")}),
        ("g-computation", {"average": one("participant", "cluster"), "by_arm": one(False, False, True),
                           "df": one("clusters-p", "clusters-2", "normal")}),
        ("icc", {"estimation": "reml", "within_arm": one(True, True, False)}),
    ]  # fmt: skip
    welch = rng.random() < 0.3
    two_stage = {"weights": one("equal", "size", "inverse-variance"), "adjustment": "two-stage"}
    more = {"variance": "welch"} if welch else {"variance": "pooled", "df": one("clusters-2", "clusters-p")}
    menu.append(("cluster-means", {**two_stage, **more}))
    return menu + _seldom(rng, one)


def _seldom(rng, one):
    menu = []
    if rng.random() < 0.25:
        menu.append(("lmm", {"heteroscedastic": one("residual", "cluster", "both"), "estimation": one("reml", "ml"),
                             "df": one("between-within", "satterthwaite", "residual", "normal")}))  # fmt: skip
    if rng.random() < 0.08:
        menu.append(("g-computation", {"average": one("participant", "cluster"), "model": "lmm"}))
    if rng.random() < 0.08:
        df = one("satterthwaite", "clusters-p", "clusters-1", "clusters-2", "normal")
        ci = one("wald", "fieller", "tf")
        menu.append(("iv", {"ratio": "lmm", "received": one(*RECEIVED), "ci": ci, "df": df}))
    if rng.random() < 0.2:
        menu.append(("clda", {"estimation": one("reml", "ml"), "df": one("clusters-p", "normal")}))
    if rng.random() < 0.3:
        menu.append(("icc", {"estimation": "anova", "within_arm": one(True, False)}))
    if rng.random() < 0.3:
        menu.append(("correlation", {"first": one(None, 10)}))
        menu.append(("event-rate", {"months": 10.0, "df": one("clusters-2", "normal")}))
    if rng.random() < 0.15:
        inner = one({"kind": "ols", "se": "CR2"}, {"kind": "lmm", "df": "satterthwaite"})
        menu.append(("per-protocol", {"keep": one(*SUBSETS), "analysis": inner}))
    if rng.random() < 0.15:
        inner = one({"kind": "ols", "se": one(*OLS_SE)}, {"kind": "lmm", "df": one(*LMM_DF)}, {"kind": "gee"})
        menu.append(("as-treated", {"received": one(*RECEIVED), "analysis": inner}))
    return menu + _weighted(rng, one)


def _weighted(rng, one):
    menu = []
    common = {"auxiliary": one([], [], ["x1"], ["x2", "x3"]), "by_arm": one(False, False, True),
              "smallest_probability": one(0.05, 0.05, 0.0, 0.4)}  # fmt: skip
    if rng.random() < 0.2:
        working, df = one("independence", "exchangeable"), one("clusters-p", "normal")
        se = one("kauermann-carroll", "robust", "mancl-derouen")
        menu.append(("ipw", {**common, "working": working, "df": df, "se": se}))
    if rng.random() < 0.2:
        menu.append(("aipw", {**common, "form": one("plain", "efficient"), "average": one("participant", "cluster"),
                              "df": one("clusters-p", "clusters-2", "normal")}))  # fmt: skip
    return menu


def twin(
    kind: str, options: Mapping[str, Any], data, adjust, subset, outcome, found, trial: int, frames: dict[Any, Frame]
) -> tuple[Frame, Said]:  # fmt: skip
    """Analyse one trial by the twin of a method; ``found`` is the product's row, for what can only be verified.

    ``frames`` keeps what was orthogonalised for the trial before.
    """
    options = dict(options)
    where = [SUBSETS[subset]] if subset else []
    if kind == "per-protocol":
        inner = dict(options["analysis"])
        keep = SUBSETS[options["keep"]]
        made = frame(data, "mansa_followup", adjust, minus=outcome, where=[*where, keep])
        return made, _of(inner.pop("kind"), inner, made, found, trial)
    if kind == "as-treated":
        return _as_treated(options, data, adjust, where, outcome, found, trial)
    if kind in ("clda", "correlation", "event-rate"):
        return _of_rows(kind, options, data, adjust, where, found, trial)
    if kind in ("ipw", "aipw"):
        own = weighted.ipw if kind == "ipw" else augmented.aipw
        return own(data, adjust, where, found, trial, **options)
    received = RECEIVED[options.pop("received")] if kind == "iv" else None
    if kind == "icc" and options["estimation"] == "anova":
        adjust = []
    within = options.get("within_arm", True)
    key = (tuple(adjust), outcome, subset, received, kind != "icc" or within)
    if key not in frames:
        frames[key] = frame(data, "mansa_followup", adjust, minus=outcome, where=where, received=received, arm=key[-1])
    made = frames[key]
    if options.get("weights") == "source-size":
        options["source"] = data["register_size"][made.rows]
    return made, _of(kind, options, made, found, trial)


def _of(kind, options, made: Frame, found, trial) -> Said:
    """The twin of a method on its frame."""
    if kind == "ols":
        weights, source = options.pop("weights", "rows"), options.pop("source", None)
        if weights == "rows":
            return linear.ols(made, **options)
        if made.refusal:
            return Said(refusal=made.refusal, grey=made.grey)
        weight = 1.0 / made.sizes
        if weights == "source-size":
            weight = weight * np.array([source[g[0]] for g in made.groups])
        return linear.weighted_ols(made, weight, **options)
    if kind == "lmm" and options.get("heteroscedastic", "none") != "none":
        return arms.by_arm(made, found=found, trial=trial, **options)
    if kind == "lmm":
        return mixed.lmm(made, **options)
    if kind == "gee":
        alpha = float(found.extras["alpha"][trial]) if not found.failed[trial] else None
        return equations.gee(made, hint=alpha, **options)
    if kind == "iv" and options.pop("ratio", "2sls") == "lmm":
        return instrument.of_mixed_models(made, mixed.refits, **options)
    if kind == "iv":
        return instrument.iv(made, options.pop("level_of_analysis"), **options)
    if kind == "cluster-means":
        return means.cluster_means(made, **options)
    if kind == "icc":
        if options["estimation"] == "anova":
            return mixed.icc_anova(made, options["within_arm"])
        return mixed.icc_reml(made, made.cluster_rank)
    assert kind == "g-computation"
    if options.pop("model", "ols") == "lmm":
        out = means.g_computation(made, fits=mixed.refits(made), **options)
        out.either = out.either or mixed.lmm(made).either
        out.tolerance += 1e-6 if out.either else 0.0
        return out
    return means.g_computation(made, **options)


def _as_treated(options, data, adjust, where, outcome, found, trial):
    """Receipt written over the arm, among those of known receipt; conditions are judged with the arm that was there."""
    receipt, inner = RECEIVED[options["received"]](data), dict(options["analysis"])
    met = [condition(data) == 1 for condition in where] + [~np.isnan(receipt)]
    swapped = {**data, "arm": np.where(receipt == 1, 1.0, 0.0)}
    made = frame(swapped, "mansa_followup", adjust, minus=outcome, where=[lambda _: np.all(met, axis=0)])
    return made, _of(inner.pop("kind"), inner, made, found, trial)


def _of_rows(kind, options, data, adjust, where, found, trial):
    if kind == "clda":
        return visits.clda(data, [n for n in adjust if n != "mansa_baseline"], where, found, trial, **options)
    made = frame(data, "mansa_followup", ["mansa_baseline"], where=where, arm=False)
    if kind == "correlation":
        return made, counts.correlation(data, where, **options)
    return made, counts.event_rate(data, where, **options)
