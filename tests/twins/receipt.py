"""Non-adherence in the fuzz: kinds drawn after all others, so that these keep their draws, and their twins."""

from twins import adherence, instrument, mixture, resampled
from twins.designs import KEPT, RECEIVED, SUBSETS
from twins.frame import frame

KINDS = ("cace-mixture", "ipw-per-protocol", "principal-score")


def chosen(rng, sure=None):
    """Draw kinds and options for one batch; seldom, but for a kind that is to be tried for ``sure``."""

    def one(*values):
        return values[rng.integers(len(values))]

    menu = []
    if rng.random() < 0.2 or sure == "iv":
        ci = one("randomisation", "wild-bootstrap")
        more = {"allocation": {"method": "simple"}} if ci == "randomisation" else {}
        menu.append(("iv", {"received": one(*RECEIVED), "ci": ci, "draws": resampled.DRAWS, **more}))
    if rng.random() < 0.1 or sure == "ipw-per-protocol":
        menu.append(("ipw-per-protocol", {"keep": one(*KEPT), "auxiliary": one([], ["x1"], ["g", "x2"]),
                                          "se": one("kauermann-carroll", "robust", "mancl-derouen"),
                                          "df": one("clusters-p", "normal")}))  # fmt: skip
    if rng.random() < 0.1 or sure == "principal-score":
        menu.append(("principal-score", {"received": one(*RECEIVED), "predictors": one(None, [], ["x1"], ["x2", "g"]),
                                         "df": one("clusters-p", "clusters-2", "normal")}))  # fmt: skip
    if rng.random() < 0.02 or sure == "cace-mixture":
        menu.append(("cace-mixture", {"received": one(*RECEIVED), "predictors": one([], ["x1"], ["g"]),
                                      "exclusion": one(True, True, False), "nodes": 61,
                                      "df": one("clusters-p", "normal")}))  # fmt: skip
    return menu


def takes(kind, options):
    """Whether a method is one of these."""
    return kind in KINDS or "draws" in options


def covariates(kind, adjust):
    """Few where people of one arm must determine a logistic regression."""
    return adjust[:1] if kind in KINDS else adjust


def twin(kind, options, data, adjust, subset, outcome, found, trial, frames):
    """Analyse one trial by the twin of a method; arguments as in `twins.menu.twin`."""
    options = dict(options)
    where = [SUBSETS[subset]] if subset else []
    if kind == "ipw-per-protocol":
        keep = KEPT[options.pop("keep")]
        return adherence.ipw_per_protocol(data, adjust, options.pop("auxiliary"), where, keep, **options)
    received = RECEIVED[options.pop("received")]
    if kind == "iv":
        made = frame(data, "mansa_followup", adjust, where=where, received=received)
        return made, resampled.verified(made, data, instrument.iv(made), options["ci"], found, trial)
    predictors = options.pop("predictors")
    predictors = adjust if predictors is None else predictors
    wide = [*adjust, *(name for name in predictors if name not in adjust)]
    made = frame(data, "mansa_followup", wide, where=[*where, lambda d: (d["arm"] == 0) | (received(d) >= 0)])
    receipt = received(data)
    if kind == "cace-mixture":
        return made, mixture.mixture(made, data, adjust, predictors, receipt, found, trial, **options)
    return made, adherence.principal_score(made, data, adjust, predictors, receipt, **options)
