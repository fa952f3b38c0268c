"""Numbers in README and docs: run the scenarios they come from, store them in numbers.csv, rewrite the marked blocks.

``make docs-numbers`` runs everything (some minutes); ``python docs/refresh.py verify/clda`` one of the scenarios;
``--blocks`` runs nothing and writes the blocks from numbers.csv. A block stands between ``<!-- numbers: NAME -->`` and
``<!-- end of numbers -->`` and is never edited by hand.
"""

from __future__ import annotations

import csv
import json
import re
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parents[1]
NUMBERS = ROOT / "docs" / "numbers.csv"
FIELDS = ("source", "factors", "method", "estimand", "measure", "value", "mcse", "n")
BLOCK = re.compile(r"(<!-- numbers: ([a-z0-9 -]+) -->\n)(.*?)(<!-- end of numbers -->)", re.S)
SHOWN = frozenset({
    "bias", "empirical_se", "model_se", "relative_error_model_se", "coverage", "rejection_rate", "convergence_rate",
    "flag:boundary",
})  # fmt: skip
ONLY = {
    "verify/itt-sweep": frozenset({"rejection_rate"}),  # it has 975 cells and methods
    "verify/informative-size": frozenset({"bias", "coverage"}),
    "verify/cace-small-samples": frozenset({"relative_error_model_se", "coverage"}),
    **{
        source: frozenset({"bias", "median_bias", "empirical_se", "coverage", "median_width"})
        for source in ("partners-cace", "verify/cace-methods", "verify/weak-instrument", "verify/cace-mixture")
    },
    "verify/mi-priors": frozenset({"relative_error_model_se", "coverage", "mean_width"}),
    "verify/missing-outcomes": frozenset({"bias", "coverage"}),
}
SOURCES = {
    "partners": 10_000, "verify/twenty-practices": 10_000, "verify/clda": 10_000, "verify/mi-by-arm": 4_000,
    "verify/missing-outcomes": 2_000, "verify/itt-sweep": 4_000, "verify/informative-size": 2_000,
    "verify/cace-small-samples": 10_000, "verify/cace-methods": 4_000, "verify/weak-instrument": 4_000,
    "verify/cace-mixture": 1_000, "partners-cace": 1_000, "verify/mi-priors": 2_000,
}  # fmt: skip
"""Scenarios, and replicates a cell."""


@dataclass(frozen=True)
class Line:
    """One number: where it comes from, its value, Monte Carlo standard error and count."""

    source: str
    factors: Mapping[str, object]
    method: str
    estimand: str
    measure: str
    value: float
    mcse: float
    n: int

    def fields(self) -> tuple[str, ...]:
        """As in numbers.csv; six digits, which every machine agrees on."""
        factors = json.dumps(self.factors, sort_keys=True)
        numbers = (f"{self.value:.6g}", f"{self.mcse:.6g}", str(self.n))
        return (self.source, factors, self.method, self.estimand, self.measure, *numbers)


class Numbers:
    """Lines by what they are, so that a block asks for a number by name and an absent one is an error."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self.lines = list(lines)

    def get(self, source: str, method: str, measure: str, *, estimand: str = "", **factors: object) -> list[Line]:
        """Lines that match; ``factors`` by the last part of their key (icc, number, cluster_size_cv ...)."""
        found = [
            line for line in self.lines
            if (line.source, line.method, line.measure) == (source, method, measure)
            and estimand in ("", line.estimand)
            and factors.items() <= {key.split(".")[-1]: value for key, value in line.factors.items()}.items()
        ]  # fmt: skip
        if not found:
            raise LookupError(f"numbers.csv has no {measure} of {method} in {source} {factors}: make docs-numbers")
        return found

    def one(self, source: str, method: str, measure: str, *, estimand: str = "", **factors: object) -> Line:
        """Return the one line that matches."""
        (line,) = self.get(source, method, measure, estimand=estimand, **factors)
        return line

    def pooled(self, source: str, method: str, measure: str, **factors: object) -> float:
        """Share over all trials of the cells that match."""
        lines = self.get(source, method, measure, **factors)
        return sum(line.value * line.n for line in lines) / sum(line.n for line in lines)


def run(source: str) -> Iterator[Line]:
    """Run a scenario and yield its numbers."""
    import polars as pl

    from simtrial.commands.run_directories import fill
    from simtrial.core import using
    from simtrial.performance.summary import options_of, summary
    from simtrial.scenario import load
    from simtrial.store.reading import read_run_by_cell

    scenario, cells = load(source, [f"run.replicates={SOURCES[source]}"])
    with tempfile.TemporaryDirectory() as folder:
        with using("numpy"):  # which every installation has; a status on the edge may differ between the cores
            fill(scenario, cells, Path(folder) / "run", "auto", None, 1000, [])
        parts, stored, record = read_run_by_cell([Path(folder) / "run"])
        factors = dict(stored.select("cell", "factors").rows())
        options = options_of(record, everything=True)
        for rows in parts:
            found = summary(rows, stored, options).filter(pl.col("measure").is_in(ONLY.get(source, SHOWN)))
            for row in found.iter_rows(named=True):
                values = (row["value"], row["mcse"] or 0.0, row["n"])
                if row["value"] is not None:
                    what = (json.loads(factors[row["cell"]]), row["method"], row["estimand"] or "", row["measure"])
                    yield Line(source, *what, *values)
            if source.startswith("partners"):
                yield from quantiles(source, rows)
        if source not in ONLY:
            yield from truths(source, stored)


def truths(source: str, cells: object) -> Iterator[Line]:
    """True values of the estimands."""
    for row in cells.iter_rows(named=True):  # type: ignore[attr-defined]
        what = (json.loads(row["factors"]), "", row["estimand"], "true_value")
        yield Line(source, *what, row["true_value"], row["true_value_mcse"] or 0.0, 0)


def quantiles(source: str, rows: object) -> Iterator[Line]:
    """Median and central 95% of estimates and of CI half-widths."""
    import polars as pl

    frame = rows.with_columns(half=(pl.col("ci_upper") - pl.col("ci_lower")) / 2)  # type: ignore[attr-defined]
    frame = frame.unique(["method", "replicate"])  # one row for each, whatever it is judged against
    for (method,), group in frame.sort("method", "replicate").group_by("method", maintain_order=True):
        for name in ("estimate", "half"):
            values = group[name].drop_nulls()
            for share in (0.025, 0.5, 0.975):
                value = float(values.quantile(share, interpolation="linear"))
                yield Line(source, {}, method, "", f"{name}:{share}", value, 0.0, len(values))


def read(file: Path = NUMBERS) -> Numbers:
    """Read the stored numbers."""
    with file.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    return Numbers(
        Line(r["source"], json.loads(r["factors"]), r["method"], r["estimand"], r["measure"], float(r["value"]),
             float(r["mcse"]), int(r["n"]))
        for r in rows
    )  # fmt: skip


def write(lines: Iterable[Line]) -> None:
    """Store numbers, sorted by source."""
    order = list(SOURCES)
    with NUMBERS.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(FIELDS)
        writer.writerows(line.fields() for line in sorted(lines, key=lambda line: order.index(line.source)))


def signed(value: float, digits: int) -> str:
    """A number with a proper minus and no negative zero."""
    text = f"{value:.{digits}f}"
    text = text.removeprefix("-") if float(text) == 0 else text
    return text.replace("-", "−")


def table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def demo(numbers: Numbers) -> str:
    """Four rows of the demo, with 10,000 replicates."""
    methods = ("primary, partial", "primary, full", "multiple imputation, partial", "CACE i, partial")
    shown = (("bias", 4), ("empirical_se", 4), ("model_se", 4), ("relative_error_model_se", 1), ("coverage", 3))
    titles = ("true value", "bias", "empirical SE", "model SE", "SE error %", "coverage")
    lines = [f" {'method':<30} {'estimand':<10}" + "".join(f"{t:>17}" for t in titles)]
    for method in methods:
        found = [numbers.one("partners", method, name) for name, _ in shown]
        true = numbers.one("partners", "", "true_value", estimand=found[0].estimand)
        cells = [f"{true.value:.4f}"]
        pairs = zip(found, shown, strict=True)
        cells += [f"{signed(line.value, d)} ({line.mcse:.{d}f})".replace("−", "-") for line, (_, d) in pairs]
        lines.append(f" {method:<30} {found[0].estimand:<10}" + "".join(f"{c:>17}" for c in cells))
    return "```\n" + "\n".join(lines) + "\n```\n"


def published(numbers: Numbers) -> str:
    """Table 2 of the trial beside its simulated estimates and half-widths."""
    import tomllib

    scenario = tomllib.loads((ROOT / "scenarios" / "partners.toml").read_text(encoding="utf-8"))

    def middle(method: str, what: str) -> tuple[float, str]:
        low, mid, high = (numbers.one("partners", method, f"{what}:{q}").value for q in (0.025, 0.5, 0.975))
        return mid, f"{signed(mid, 3)} ({signed(low, 3)} to {signed(high, 3)})"

    rows = []
    for row in scenario["published"]:
        half = (row["ci_upper"] - row["ci_lower"]) / 2
        median, text = middle(row["method"], "half")
        estimate = middle(row["method"], "estimate")[1]
        off = f"{round(100 * (median / half - 1)):+d}%".replace("-", "−")
        rows.append([row["method"], signed(row["estimate"], 3), estimate, signed(half, 3), text, off])
    heading = ["analysis", "published estimate", "simulated median (central 95%)", "published half-width",
               "simulated median (central 95%)", "difference"]  # fmt: skip
    return table(heading, rows)


def both(numbers: Numbers, source: str, method: str, **factors: object) -> str:
    """SE error and coverage in percent, as in "2.8, 96.9"."""
    error = numbers.one(source, method, "relative_error_model_se", **factors)
    coverage = numbers.one(source, method, "coverage", **factors)
    return f"{signed(error.value, 1)}, {100 * coverage.value:.1f}"


def imputation(numbers: Numbers) -> str:
    """Multiple imputation beside the mixed model, 20 practices."""
    source, iccs = "verify/twenty-practices", (0.01, 0.05, 0.2)
    methods = ("primary, partial", "multiple imputation, partial", "primary, full", "multiple imputation, full")
    rows = [[m, *(both(numbers, source, m, icc=icc) for icc in iccs)] for m in methods]
    return table(["SE error %, coverage %", *(f"ICC {icc:.2f}" for icc in iccs)], rows)


def imputation_by_arm(numbers: Numbers) -> str:
    """One slope for both arms, or one for each."""
    source, rows = "verify/mi-by-arm", []
    for method in ("complete cases", "imputation, one slope", "imputation by arm"):
        bias, coverage = (numbers.one(source, method, measure) for measure in ("bias", "coverage"))
        rows.append([method, f"{signed(bias.value, 3)} ({bias.mcse:.3f})", f"{100 * coverage.value:.1f}"])
    return table(["", "bias (Monte Carlo error)", "coverage %"], rows)


LOSSES = {
    "at random": (0.0, 0.0, 0.0), "by baseline": (0.8, 0.0, 0.0), "by sessions": (0.0, -0.8, 0.0),
    "by baseline, leavers worse": (0.8, 0.0, -0.5),
}  # fmt: skip
LOSS_METHODS = (
    "complete cases", "complete cases, adjusted", "weighting", "augmented weighting", "imputation",
    "imputation with sessions, by arm", "imputation with six sessions, by arm", "imputation, practices ignored",
    "imputation, practices fixed", "imputation, half a point worse", "mean imputed", "baseline carried forward",
)  # fmt: skip


def missing_outcomes(numbers: Numbers) -> str:
    """Bias and coverage of methods for missing outcomes, by why outcomes are missing."""
    source, rows = "verify/missing-outcomes", []
    for method in LOSS_METHODS:
        found = []
        for baseline, sessions, shift in LOSSES.values():
            bias, coverage = (
                numbers.one(
                    source, method, measure, mansa_baseline=baseline, sessions_slope=sessions,
                    leavers_shift_intervention=shift,
                ).value
                for measure in ("bias", "coverage")
            )  # fmt: skip
            found.append(f"{signed(bias, 3)}, {100 * coverage:.1f}")
        rows.append([method, *found])
    return table(["bias, coverage %", *LOSSES], rows)


PRIORS = ("uniform-icc", "half-normal", "half-cauchy", "uniform-tau", "inverse-gamma", "reml")


def imputation_priors(numbers: Numbers) -> str:
    """Priors of the variances behind imputation, every cell."""
    source, rows = "verify/mi-priors", []
    for k in (8, 20, 39):
        for rate in (0.14, 0.3):
            for icc in (0.0, 0.01, 0.05, 0.2):
                cells = (both(numbers, source, m, number=k, rate=rate, icc=icc) for m in ("complete cases", *PRIORS))
                rows.append([str(k), f"{100 * rate:.0f}%", f"{icc:.2f}", *cells])
    return table(["practices", "lost", "ICC", "complete cases", *(f"`{prior}`" for prior in PRIORS)], rows)


def mean_of(numbers: Numbers, source: str, method: str, measure: str, **factors: object) -> Line:
    """Mean of a measure over the cells that match, which are independent, with its Monte Carlo standard error."""
    lines = numbers.get(source, method, measure, **factors)
    mcse = sum(line.mcse**2 for line in lines) ** 0.5 / len(lines)
    return replace(lines[0], value=sum(line.value for line in lines) / len(lines), mcse=mcse)


def imputation_summary(numbers: Numbers) -> str:
    """The same, the mean of four ICCs: SE error, coverage and width, with Monte Carlo errors."""
    source, rows = "verify/mi-priors", []
    for method in ("complete cases", *PRIORS, "uniform-icc, lost information"):
        cells = []
        for k in (8, 20, 39):
            for rate in (0.14, 0.3):
                error, cover, width = (
                    mean_of(numbers, source, method, measure, number=k, rate=rate)
                    for measure in ("relative_error_model_se", "coverage", "mean_width")
                )
                cells.append(
                    f"{signed(error.value, 1)} ({error.mcse:.1f}), {100 * cover.value:.1f} ({100 * cover.mcse:.1f}), "
                    f"{width.value:.2f}"
                )
        rows.append([method if " " in method else f"`{method}`", *cells])
    heading = [f"{k} practices, {100 * rate:.0f}% lost" for k in (8, 20, 39) for rate in (0.14, 0.3)]
    return table(["SE error %, coverage %, width", *heading], rows)


def constrained(numbers: Numbers) -> str:
    """The constrained model beside the mixed model."""
    source, rows = "verify/clda", []
    for method in ("constrained model", "mixed model"):
        for rate, title in ((0.121, "12.1% in both arms"), (0.3, "30% in intervention")):
            cells = (both(numbers, source, method, number=k, rate_intervention=rate) for k in (12, 20, 39))
            rows.append([method, title, *cells])
    return table(["SE error %, coverage %", "dropout", "12 practices", "20 practices", "39 practices"], rows)


SWEEP = {
    "mixed model, z": "mixed model, z",
    "mixed model, between-within": "mixed model, between-within",
    "mixed model, Satterthwaite": "mixed model, Satterthwaite",
    "mixed model, Kenward-Roger": "mixed model, Kenward–Roger",
    "mixed model, variance may be negative": 'mixed model, `tau2 = "unconstrained"`, Kenward–Roger',
    "least squares, classical": "least squares, classical",
    "least squares, CR1 and z": "least squares, CR1 and z",
    "least squares, CR2": "least squares, CR2",
    "GEE, robust and z": "GEE, robust and z",
    "GEE, Kauermann-Carroll": "GEE, Kauermann–Carroll",
    "GEE, Fay-Graubard": "GEE, Fay–Graubard",
    "cluster means, equal weights": "cluster means, equal weights",
    "cluster means, inverse variance": "cluster means, inverse variance",
}


def rejections(icc: float) -> Callable[[Numbers], str]:
    """Rejections at 5% by number of practices, over the coefficients of variation together."""

    def make(numbers: Numbers) -> str:
        counts = (8, 12, 20, 39, 100)
        rows = []
        for method, title in SWEEP.items():
            shares = (numbers.pooled("verify/itt-sweep", method, "rejection_rate", icc=icc, number=k) for k in counts)
            rows.append([title, *(f"{100 * share:.1f}" for share in shares)])
        return table(["practices", *map(str, counts)], rows)

    return make


def by_variation(numbers: Numbers) -> str:
    """Rejections at 5% by coefficient of variation of practice size, over everything else."""
    levels = (0.0, 0.62, 1.0)
    rows = []
    for method, title in SWEEP.items():
        shares = (numbers.pooled("verify/itt-sweep", method, "rejection_rate", cluster_size_cv=cv) for cv in levels)
        rows.append([title, *(f"{100 * share:.1f}" for share in shares)])
    return table(["coefficient of variation", *(f"{cv:g}" for cv in levels)], rows)


INFORMATIVE = {
    "over people": (
        "rows alike, CR2", "standardised over people", "mixed model", "GEE, exchangeable", "practice means",
    ),
    "over practices": (
        "practice means", "standardised over practices", "mixed model", "GEE, exchangeable", "rows alike, CR2",
    ),
}  # fmt: skip
TITLES = {
    "rows alike, CR2": "least squares, rows alike", "practice means": "practice means, or rows by 1/n",
    "standardised over people": "standardised mixed model (`g-computation`)",
    "standardised over practices": "standardised mixed model (`g-computation`)",
}  # fmt: skip


def informative_size(numbers: Numbers) -> str:
    """Bias and coverage against either average where the effect depends on practice size."""
    source, rows = "verify/informative-size", []
    cells = [(number, cv) for number in (39, 100) for cv in (0.62, 1.0)]
    for estimand, methods in INFORMATIVE.items():
        rows.append([f"**{estimand}**", *("" for _ in cells)])
        for method in methods:
            found = []
            for number, cv in cells:
                bias, coverage = (
                    numbers.one(
                        source, method, measure, estimand=estimand, number=number, cluster_size_cv=cv, size_effect=0.3
                    ).value
                    for measure in ("bias", "coverage")
                )
                found.append(f"{signed(bias, 2)} ({100 * coverage:.0f})")
            rows.append([TITLES.get(method, method), *found])
    return table(["", *(f"{number} practices, CV {cv:g}" for number, cv in cells)], rows)


def complier_intervals(numbers: Numbers) -> str:
    """Coverage of intervals of the complier effect with few practices."""
    source, rows = "verify/cace-small-samples", []
    cells = [(number, cv) for cv in (0.0, 0.62) for number in (10, 16, 24, 39)]
    for method in (
        "CR0 and z", "CR1S and t, practices - 1", "CR2 and z", "CR2 and t, practices - 2", "CR2 and Satterthwaite",
        "practice means", "mixed models, jackknife", "CR2, Anderson-Rubin", "practice means, Anderson-Rubin",
    ):  # fmt: skip
        found = [numbers.one(source, method, "coverage", number=k, cluster_size_cv=cv) for k, cv in cells]
        rows.append([method.replace(" - ", " − "), *(f"{100 * line.value:.1f}" for line in found)])
    return table(["coverage %", *(f"{k}" if cv == 0 else f"{k}, CV {cv:g}" for k, cv in cells)], rows)


def published_compliers(numbers: Numbers) -> str:
    """Half-widths of the published complier effects by several methods."""
    import tomllib

    scenario = tomllib.loads((ROOT / "scenarios" / "partners.toml").read_text(encoding="utf-8"))
    cells = [f"CACE {which}, {adjusted}" for which in ("i", "ii") for adjusted in ("partial", "full")]
    printed = {row["method"]: (row["ci_upper"] - row["ci_lower"]) / 2 for row in scenario["published"]}
    rows = [["**published**", *(f"**{printed[cell]:.3f}**" for cell in cells)]]
    for method in (
        "2SLS, CR0 and z", "2SLS, CR2 and Satterthwaite", "practice means", "ratio of mixed models, z", "mixture, z",
    ):  # fmt: skip
        found = []
        for cell in cells:
            half = numbers.one("partners-cace", f"{method}: {cell}", "half:0.5").value
            found.append(f"{half:.3f} ({round(100 * (half / printed[cell] - 1)):+d}%)".replace("-", "−"))
        rows.append([method, *found])
    return table(["median half-width", *cells], rows)


def complier_methods(numbers: Numbers) -> str:
    """Bias and coverage of six analyses where compliers differ from others or allocation acts on others too."""
    source, rows = "verify/cace-methods", []
    cells = [(c, other) for c in (0.0, 0.5) for other in (0.0, 0.2)]
    for method, estimand in (
        ("intention to treat", "itt"), ("2SLS", "cace"), ("2SLS", "limit of iv"), ("principal scores", "cace"),
        ("per protocol", "cace"), ("as treated", "cace"),
    ):  # fmt: skip
        found = []
        for c, other in cells:
            which = {"engagement_correlation": c, "effect_otherwise": other}
            bias, coverage = (
                numbers.one(source, method, measure, estimand=estimand, **which) for measure in ("bias", "coverage")
            )
            found.append(f"{signed(bias.value, 3)} ({100 * coverage.value:.0f})")
        rows.append([f"{method}, against {estimand}", *found])
    titles = (f"correlation {c:g}, effect on others {other:g}" for c, other in cells)
    return table(["bias (coverage %)", *titles], rows)


def weak_instruments(numbers: Numbers) -> str:
    """Coverage and median width where allocation hardly moves receipt; no width is stored of sets without an end."""
    source, rows = "verify/weak-instrument", []
    cells = ((0.933, 0.0), (0.867, 0.0), (0.09, 0.93), (0.09, 0.85))
    for method in (
        "Wald, CR2",
        "Wald, CR2 and z",
        "tF",
        "Anderson-Rubin of practice means",
        "randomisation",
        "wild bootstrap",
    ):
        found = []
        for none, access in cells:
            which = {"no_contact": none, "control_access": access}
            coverage = numbers.one(source, method, "coverage", **which).value
            try:
                width = numbers.one(source, method, "median_width", **which).value
            except LookupError:
                width = float("inf")
            found.append(f"{100 * coverage:.1f}, {f'{width:.1f}' if width < 1e6 else 'unbounded'}")
        rows.append([method, *found])
    titles = ["5% receive", "10% receive", "68%, and 64% of controls", "68%, and 58% of controls"]
    return table(["coverage %, median width", *titles], rows)


def complier_mixture(numbers: Numbers) -> str:
    """Bias, empirical SE and coverage of the mixture."""
    source, rows = "verify/cace-mixture", []
    cells = ((0.0, "normal"), (0.9, "normal"), (0.0, "skewed"))
    for method in ("2SLS", "mixture", "mixture, predicted", "mixture without exclusion"):
        found = []
        for r, shape in cells:
            bias, error, coverage = (
                numbers.one(source, method, measure, engagement_baseline=r, residuals=shape).value
                for measure in ("bias", "empirical_se", "coverage")
            )
            found.append(f"{signed(bias, 2)}, {error:.2f}, {100 * coverage:.0f}")
        rows.append([method, *found])
    titles = ["no predictor, normal", "baseline predicts receipt, normal", "no predictor, skewness 2"]
    return table(["bias, empirical SE, coverage %", *titles], rows)


BLOCKS: dict[str, tuple[str, Callable[[Numbers], str]]] = {
    "demo": ("partners", demo),
    "published": ("partners", published),
    "imputation": ("verify/twenty-practices", imputation),
    "imputation priors": ("verify/mi-priors", imputation_priors),
    "imputation priors summary": ("verify/mi-priors", imputation_summary),
    "imputation by arm": ("verify/mi-by-arm", imputation_by_arm),
    "missing outcomes": ("verify/missing-outcomes", missing_outcomes),
    "constrained model": ("verify/clda", constrained),
    "rejections icc 0": ("verify/itt-sweep", rejections(0.0)),
    "rejections icc 5": ("verify/itt-sweep", rejections(0.05)),
    "rejections icc 20": ("verify/itt-sweep", rejections(0.2)),
    "rejections by variation": ("verify/itt-sweep", by_variation),
    "informative size": ("verify/informative-size", informative_size),
    "complier intervals": ("verify/cace-small-samples", complier_intervals),
    "published compliers": ("partners-cace", published_compliers),
    "complier methods": ("verify/cace-methods", complier_methods),
    "weak instruments": ("verify/weak-instrument", weak_instruments),
    "complier mixture": ("verify/cace-mixture", complier_mixture),
}
"""Every block: the scenario it comes from, and the function that writes it."""


def pages() -> list[Path]:
    """Pages that may hold blocks."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def rewritten(text: str, numbers: Numbers, sources: Collection[str] = SOURCES) -> str:
    """Return a page with its blocks written anew, those of some sources."""

    def made(found: re.Match[str]) -> str:
        source, block = BLOCKS[found[2]]
        return found[1] + block(numbers) + found[4] if source in sources else found[0]

    return BLOCK.sub(made, text)


def main(arguments: Sequence[str]) -> None:
    """Run the sources asked for, all unless named, and write every block."""
    names = [a for a in arguments if a != "--blocks"]
    chosen = [] if "--blocks" in arguments else names or list(SOURCES)
    wrong = [name for name in chosen if name not in SOURCES]
    if wrong:
        sys.exit(f"{wrong[0]}: not among {', '.join(SOURCES)}")
    lines = read().lines if NUMBERS.exists() else []
    for source in chosen:
        print(f"docs-numbers: {source}, {SOURCES[source]:,} replicates a cell", file=sys.stderr)
        lines = [line for line in lines if line.source != source] + list(run(source))
        write(lines)
    numbers = read()
    for page in pages():
        text = page.read_text(encoding="utf-8")
        page.write_text(rewritten(text, numbers, {line.source for line in lines}), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
