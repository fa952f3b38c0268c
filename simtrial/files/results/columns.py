"""Meaning of the columns of a file of results: by the user's options, then by name."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from simtrial.errors import DataError, nearest
from simtrial.files.formats.source import shown
from simtrial.files.read_trials import hint
from simtrial.files.results.reading import Reading
from simtrial.files.results.wide import Stem, stems_of
from simtrial.performance import MEASURES

PLACE = ":place"
"""Column of where rows stand in the file, in the words of a message."""

NAMES: dict[str, tuple[str, ...]] = {
    "estimate": ("estimate", "est", "b", "thetahat", "theta", "betahat", "beta", "coef", "coefficient"),
    "std_error": ("stderror", "se", "stderr", "standarderror"),
    "df": ("df", "dof", "ddf"),
    "ci_lower": ("cilower", "lci", "lower", "conflow", "ll", "lo", "lcl", "lowercl", "cilow"),
    "ci_upper": ("ciupper", "uci", "upper", "confhigh", "ul", "hi", "ucl", "uppercl", "cihigh"),
    "p_value": ("pvalue", "p", "pval"),
    "true_value": ("truevalue", "true", "truth", "truetheta", "thetatrue", "trueeffect"),
    "true_value_mcse": ("truevaluemcse", "truemcse"),
    "own_true_value": ("owntruevalue", "owntrue", "owntruth", "thetar"),
    "replicate": ("replicate", "rep", "dataset", "repno", "replication", "iteration", "simid", "i", "id", "sim"),
    "method": ("method", "model", "analysis", "meth", "estimator"),
    "estimand": ("estimand", "target", "inquiry"),
    "ci_type": ("citype",),
    "status": ("status",),
    "flags": ("flags",),
}
"""Our name of a column, and the names it is recognised by: case, spaces, points, dashes and underscores aside."""

FACTORS = ("cell", "dgm", "scenario")
NUMBERS = ("estimate", "std_error", "df", "ci_lower", "ci_upper", "p_value")
COMMON = ("ci_lower", "ci_upper", "p_value", "df")  # of one method, not of all those of a wide file


@dataclass(frozen=True)
class Columns:
    """What every column was taken for.

    ``roles`` our name -> theirs; ``factors`` columns that make cells; ``stems`` the methods of a wide file; ``spare``
    columns that are not used.
    """

    roles: Mapping[str, str]
    factors: Sequence[str]
    stems: Sequence[Stem]
    spare: Sequence[str]

    def line(self, file: Path, reading: Reading) -> str:
        """Say in one line how every column was understood."""
        parts = [f"{theirs} → {ours}" for ours, theirs in self.roles.items()]
        parts += [f"{theirs} → {ours} of {stem.method}" for stem in self.stems for ours, theirs in stem.roles.items()]
        parts += [f"{name} → factor" for name in self.factors]
        text = f"{file.name}: {', '.join(parts)}"
        if reading.true_number is not None:
            text += f"; true value {reading.true_number:g} for all rows"
        if "replicate" not in self.roles:
            text += "; no column of replicates, rows of a method are numbered in order"
        return text + (f"; not used: {', '.join(map(repr, self.spare))}" if self.spare else "")


def plain(name: str) -> str:
    """A name without case, spaces, points, dashes and underscores."""
    return re.sub(r"[\s._-]+", "", name.lower())


def columns_of(frame: pl.DataFrame, file: Path, reading: Reading) -> Columns:
    """Meaning of every column; the user's options come first, and columns they name have no other meaning."""
    roles = _mapped(frame, file, reading)
    _refuse_summaries(frame, file, {*roles.values(), *reading.by})
    factors = _factors(frame, file, reading, roles)
    if reading.true_number is not None and "true_value" in roles:
        raise DataError(f"--true {reading.true}: --map true_value={roles['true_value']} names another; give one")
    if reading.true_column is not None:
        roles["true_value"] = _true_column(frame, file, reading, {**roles}, factors)
    free = [c for c in frame.columns if c not in {*roles.values(), *factors}]
    settled = {"estimate", "std_error"} & roles.keys()
    stems = () if settled else stems_of(free, NAMES, plain)
    long = "method" in roles or any(plain(c) in NAMES["method"] for c in free)
    if len(stems) == 1 and (long or plain(stems[0].method) in NAMES["estimate"]):
        roles |= stems[0].roles
        stems = ()
    used = {*roles.values(), *(c for stem in stems for c in stem.roles.values())}
    free = [c for c in free if c not in used]
    roles |= _recognised(frame, free, file, roles, reading, bool(stems))
    if stems:
        _refuse_mixed(file, roles, stems)
    elif "estimate" not in roles and not {"ci_lower", "ci_upper"} <= roles.keys():
        raise DataError(
            f"{file}: no column of estimates (known names: estimate, est, b, theta_hat, theta, beta, coef); columns "
            f"there: {', '.join(frame.columns)}{_misspelt(free)}; name yours with --map estimate=yours"
        )
    used = {*roles.values(), *factors, *(c for stem in stems for c in stem.roles.values())}
    if not factors:
        factors = [c for c in frame.columns if c.lower() in FACTORS and c not in used]
    order = {name: at for at, name in enumerate(frame.columns)}
    roles = dict(sorted(roles.items(), key=lambda item: order[item[1]]))
    spare = [c for c in frame.columns if c not in {*used, *factors}]
    return Columns(roles, factors, stems, spare)


SUMMARIES = frozenset(map(plain, (*MEASURES, "nsim", "thetamean", "thetamedian", "se2mean", "se2median", "empse",
                                  "relprec", "modelse", "relerror", "cover", "becover", "power")))  # fmt: skip
"""Names of measures, ours and those of rsimsum, as a column of a table of summaries has them."""


def _refuse_summaries(frame: pl.DataFrame, file: Path, named: Collection[str]) -> None:
    """Refuse a table whose rows are measures of performance: their values are no estimates."""
    for column in (c for c in frame.columns if frame.schema[c] == pl.String and c not in named):
        found = [word for word in frame[column].unique(maintain_order=True).drop_nulls() if plain(word) in SUMMARIES]
        if len(found) > 2:
            raise DataError(
                f"{file}: column '{shown(column)}' names measures ({', '.join(found[:3])}, ...): a table of summaries; "
                "what is read are estimates, one row for each replicate and method"
            )


def _misspelt(free: Sequence[str]) -> str:
    """Which column was probably meant to bear a name of estimates, as part of a message."""
    close = next((c for c in free if nearest(plain(c), ("estimate", "thetahat", "coefficient")) is not None), None)
    return f"; is it '{shown(close)}'?" if close is not None else ""


def _mapped(frame: pl.DataFrame, file: Path, reading: Reading) -> dict[str, str]:
    """Roles that the user gives with --map."""
    roles = dict(reading.renamed)
    for ours, theirs in roles.items():
        if ours not in NAMES:
            raise DataError(f"--map {ours}={theirs}: unknown column '{ours}' (allowed: {', '.join(NAMES)})")
        if theirs not in frame.columns:
            raise DataError(f"{file}: --map {ours}={theirs}: no column '{theirs}'{hint(theirs, frame.columns)}")
        if list(roles.values()).count(theirs) > 1:
            raise DataError(f"--map {ours}={theirs}: column '{theirs}' is given two meanings")
    return roles


def _factors(frame: pl.DataFrame, file: Path, reading: Reading, roles: Mapping[str, str]) -> list[str]:
    """Columns named as factors by the user."""
    for name in reading.by:
        if name not in frame.columns:
            raise DataError(f"{file}: --by {name}: no such column{hint(name, frame.columns)}")
        if name in roles.values():
            raise DataError(f"--by {name}: --map gives the column '{name}' another meaning")
    return list(dict.fromkeys(reading.by))


def _true_column(
    frame: pl.DataFrame, file: Path, reading: Reading, roles: Mapping[str, str], factors: Sequence[str]
) -> str:
    """The column that --true names; it has no other meaning."""
    name = str(reading.true_column)
    if name not in frame.columns:
        comma = "; write decimals with a point" if re.fullmatch(r"[+-]?\d*,\d+", name) else ""
        raise DataError(f"{file}: --true {name}: neither a number nor a column{hint(name, frame.columns)}{comma}")
    others = [ours for ours, theirs in roles.items() if theirs == name and ours != "true_value"]
    if others or ("true_value" in roles and roles["true_value"] != name):
        meaning = f"{others[0]}={name}" if others else f"true_value={roles['true_value']}"
        raise DataError(f"--true {name}: contradicts --map {meaning}")
    if name in factors:
        raise DataError(f"--true {name}: --by names the column as a factor; remove it from --by")
    return name


def _recognised(
    frame: pl.DataFrame, free: Sequence[str], file: Path, given: Mapping[str, str], reading: Reading, wide: bool
) -> dict[str, str]:
    """Roles of columns by their names, where the user gives none."""
    found: dict[str, str] = {}
    truth = reading.true is not None or "true_value" in given or "own_true_value" in given
    candidates = {ours: [c for k in known for c in free if plain(c) == k] for ours, known in NAMES.items()}
    thetas = [c for c in candidates["estimate"] if plain(c) == "theta"]
    others = wide or len(candidates["estimate"]) > len(thetas)
    if thetas and (others or "estimate" in {*given} - {*reading.renamed}):
        # theta beside an estimate is what is estimated
        candidates["estimate"] = [c for c in candidates["estimate"] if c not in thetas]
        candidates["true_value"] = candidates["true_value"] or thetas
    if truth:
        candidates["true_value"] = []
    for ours, named in candidates.items():
        if ours not in given and named:
            single = ours in (*NUMBERS, "true_value", "status") and len(named) > 1
            found[ours] = _one(named, ours, file) if single else named[0]
    if "estimand" in found:
        found = _estimand(frame, found, free, file, truth or "true_value" in found)
    return found


def _one(named: Sequence[str], ours: str, file: Path) -> str:
    """Among several candidates, the column with exactly our name; otherwise the file is rejected."""
    exact = [c for c in named if c.lower() == ours] or [c for c in named if plain(c) == plain(ours)]
    if len(exact) != 1:
        listed = " and ".join(f"'{c}'" for c in named)
        raise DataError(
            f"{file}: columns {listed} could each be the {ours}; name one with --map {ours}=..., a factor with --by"
        )
    return exact[0]


def _estimand(
    frame: pl.DataFrame, found: dict[str, str], free: Sequence[str], file: Path, truth: bool
) -> dict[str, str]:
    """A numeric estimand is no label but its value, as DeclareDesign writes it beside the label ``inquiry``."""
    name = found["estimand"]
    values = frame[name].drop_nulls().cast(pl.Float64, strict=False)
    if not len(values) or values.null_count():
        return found
    labels = [c for c in free if plain(c) == "inquiry" and c != name]
    whole = bool((values == values.round()).all())
    if truth and not labels:
        return found
    if whole and not labels and not truth:
        raise DataError(
            f"{file}: column '{name}' holds numbers: true values (--true {name}) or labels (--map estimand={name})?"
        )
    rest = {ours: theirs for ours, theirs in found.items() if ours != "estimand"}
    rest |= {"estimand": labels[0]} if labels else {}
    return rest if truth else {**rest, "true_value": name}


def _refuse_mixed(file: Path, roles: Mapping[str, str], stems: Sequence[Stem]) -> None:
    """Reject a wide file with columns that would apply to every method."""
    pairs = ", ".join(f"'{stem.roles['estimate']}'" for stem in stems)
    if "method" in roles:
        raise DataError(
            f"{file}: estimates of several methods side by side ({pairs}), and a column '{roles['method']}': if it is "
            f"a factor, --by {roles['method']}; if it names the method, --map estimate=... and --map std_error=..."
        )
    for ours in ("estimate", "std_error", *COMMON):
        if ours in roles and (len(stems) > 1 or ours in ("estimate", "std_error")):
            raise DataError(
                f"{file}: estimates of several methods side by side ({pairs}), and one column '{roles[ours]}' "
                f"({ours}) for all: if it is a factor, --by {roles[ours]}; else name estimate and SE with --map"
            )
