"""Published worked examples of simulation studies, to the printed digits.

Their data are other people's and not part of this project: they are looked for in the folder that SIMTRIAL_ORACLE
names, or in ../shared/oracle beside the project.
"""

import io
import itertools
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from commands import simtrial
from rows import made, measured, truths
from scipy import stats

from simtrial.performance import Options, performance

PROJECT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("SIMTRIAL_ORACLE", PROJECT.parent / "shared" / "oracle"))
Found = dict[tuple[str, str], tuple[float | None, float | None, int]]


def example(name: str) -> pl.DataFrame:
    """Read an example's data, or skip."""
    file = FOLDER / name
    if not file.is_file():
        pytest.skip(f"{name} is not there: set SIMTRIAL_ORACLE to the folder that holds it")
    return pl.read_csv(file)


def wald(method: str, e: np.ndarray, s: np.ndarray, df: float = np.inf) -> pl.DataFrame:
    """Rows of a method with Wald intervals and tests."""
    half = stats.t.ppf(0.975, df) * s
    p = 2 * stats.t.sf(np.abs(e / s), df)
    return made(method, {"estimate": e, "std_error": s, "ci_lower": e - half, "ci_upper": e + half, "p_value": p})


def by_command(name: str, *options: object, where: dict[str, object] | None = None) -> Found:
    """The same by `simtrial summarise FILE`, as a user calls it."""
    done = simtrial("summarise", FOLDER / name, "--mcse", "normal", "--format", "csv", *options)
    assert done.code == 0, done.err
    return measured(pl.read_csv(io.StringIO(done.out), infer_schema_length=None).filter(**(where or {})))


def check(
    found: Found, method: str, measure: str, printed: tuple[str, ...], scale: float = 1, stata: float = 0
) -> None:
    """Compare value and error with printed numbers: half a unit of the last digit.

    ``stata``: relative difference allowed on top of it, for data that were stored in single precision.
    """
    if not any(printed):
        return
    for ours, text in zip(found[method, measure], printed, strict=False):
        if text:
            half = 0.5000001 * 10 ** -len(text.partition(".")[2])
            assert ours is not None
            assert ours * scale == pytest.approx(float(text), abs=half, rel=stata), (method, measure, text)


MISSING_DATA = {
    "mean_estimate": (".5168", "", ".5009", "", ".4988", ""),
    "median_estimate": (".5070", "", ".4969", "", ".4939", ""),
    "bias": (".0168", ".0048", ".0009", ".0042", "-.0012", ".0043"),
    "relative_bias": ("3.35", ".96", ".18", ".83", "-.24", ".85"),
    "empirical_se": (".1511", ".0034", ".1320", ".0030", ".1344", ".0030"),
    "mse": (".0231", ".0011", ".0174", ".0009", ".0181", ".0009"),
    "model_se": (".1471", ".0005", ".1349", ".0006", ".1338", ".0006"),
    "relative_error_model_se": ("-2.6594", "2.2055", "2.2233", "2.3323", "-.4412", "2.2695"),
    "coverage": (".9430", ".0073", ".9490", ".0070", ".9430", ".0073"),
    "bias_eliminated_coverage": (".9400", ".0075", ".9490", ".0070", ".9430", ".0073"),
    "rejection_rate": (".9460", ".0071", ".9690", ".0055", ".9630", ".0060"),
    "relative_precision": ("", "", "31.0463", "3.9375", "26.3682", "3.8424"),
}


def test_missing_covariate_example_of_rsimsum() -> None:
    """1,000 replicates of complete cases and two imputations of a covariate, true log hazard ratio 0.5."""
    data = example("perf_MIsim.csv")
    methods = ("CC", "MI_LOGT", "MI_T")
    rows = [wald(m, *(data.filter(method=m).sort("dataset")[c].to_numpy() for c in ("b", "se"))) for m in methods]
    found = measured(performance(pl.concat(rows), truths(0.5), Options(form="normal", reference="CC")))
    shown = by_command("perf_MIsim.csv", "--true", 0.5, "--reference", "CC")
    for measure, printed in MISSING_DATA.items():
        for at, method in enumerate(methods):
            check(found, method, measure, printed[2 * at : 2 * at + 2])
            check(shown, method, measure, printed[2 * at : 2 * at + 2])
    assert found["CC", "bias"][2] == shown["CC", "bias"][2] == 1000


STATA = {
    "bias": ("-.0119478", ".02102", "-.0117727", ".0206127"),
    "empirical_se": (".2101996", ".0149382", ".2061269", ".0146488"),
    "mse": (".0438848", ".0070259", ".042202", ".0067567"),
    "rmse": (".2094869", ".0167692", ".2054313", ".0164451"),
    "model_se": (".2058237", ".0014974", ".2016575", ".0014092"),
    "relative_error_model_se": ("-2.081764", "6.995112", "-2.168266", "6.98613"),
    "relative_precision": ("", "", "3.990678", ".1219183"),
}


@pytest.mark.parametrize(
    ("df", "width", "coverage", "power"),
    [
        (np.inf, (".8047793", ".0057556", ".7886414", ".0054198"), ("92", "2.712932", "92", "2.712932"),
         ("8", "2.712932", "8", "2.712932")),
        (5.0, ("1.055505", ".0075487", "1.034339", ".0071084"), ("99", ".9949874", "98", "1.4"),
         ("1", ".9949874", "2", "1.4")),
    ],
    ids=["normal", "t with 5 df"],
)  # fmt: skip
def test_printed_output_of_simsum(
    df: float, width: tuple[str, ...], coverage: tuple[str, ...], power: tuple[str, ...]
) -> None:
    """Stata's table of 100 replicates of two methods, true value 0, seven significant digits."""
    data = example("perf_stata_check.csv")
    rows = [wald(m, data[m].to_numpy(), data[f"se_{m}"].to_numpy(), df) for m in ("b_1", "b_2")]
    by_hand = measured(performance(pl.concat(rows), truths(0.0), Options(form="normal", reference="b_1")))
    shown = by_command("perf_stata_check.csv", "--true", 0, "--reference", "b_1", "--df", df)
    for found, (at, method) in itertools.product((by_hand, shown), enumerate(("b_1", "b_2"))):
        here = slice(2 * at, 2 * at + 2)
        for measure, printed in {**STATA, "mean_width": width}.items():
            check(found, method, measure, printed[here], stata=5e-6)
        check(found, method, "coverage", coverage[here], scale=100)
        check(found, method, "rejection_rate", power[here], scale=100)
        assert found[method, "relative_bias"][0] is None


MORRIS = {  # bias, empirical SE, SE error %, coverage, bias-eliminated coverage, power, precision gain over Weibull
    (1.0, "exponential"): ("-.0029", ".2093", "-.66", ".9544", ".9556", ".6900", ".159"),
    (1.0, "weibull"): ("-.0032", ".2094", "-.70", ".9544", ".9531", ".6881", ""),
    (1.0, "cox"): ("-.0021", ".2091", "-.53", ".9544", ".9544", ".6894", ".309"),
    (1.5, "exponential"): (".0494", ".1381", "11.46", ".9600", ".9719", ".8638", "20.49"),
    (1.5, "weibull"): (".0048", ".1516", "1.69", ".9556", ".9569", ".8962", ""),
    (1.5, "cox"): (".0062", ".1511", "2.09", ".9575", ".9613", ".8956", ".640"),
}
ERRORS = {  # their Monte Carlo standard errors, where they are printed
    (1.0, "exponential"): (".0052", ".0037", "1.76", ".0052", "", "", ".134"),
    (1.0, "weibull"): (".0052", "", "", "", "", "", ""),
    (1.0, "cox"): (".0052", "", "", "", "", "", ".096"),
    (1.5, "exponential"): (".0035", ".0024", "1.97", ".0049", "", "", ".45"),
    (1.5, "weibull"): (".0038", ".0027", "1.80", ".0051", "", "", ""),
    (1.5, "cox"): (".0038", ".0027", "1.81", ".0050", "", "", ".199"),
}
MEASURED = ("bias", "empirical_se", "relative_error_model_se", "coverage", "bias_eliminated_coverage", "rejection_rate",
            "relative_precision")  # fmt: skip


@pytest.mark.parametrize("gamma", [1.0, 1.5])
def test_worked_example_of_the_tutorial(gamma: float) -> None:
    """Morris, White and Crowther (2019): 1,600 replicates, three survival models, true log hazard ratio -0.5."""
    data = example("morris2019.csv").filter(pl.col("gamma") == gamma)
    methods = [m for g, m in MORRIS if g == gamma]
    rows = [wald(m, *(data.filter(method=m).sort("rep")[c].to_numpy() for c in ("estimate", "se"))) for m in methods]
    by_hand = measured(performance(pl.concat(rows), truths(-0.5), Options(form="normal", reference="weibull")))
    options = ("--true", -0.5, "--by", "gamma", "--reference", "weibull")
    shown = by_command("morris2019.csv", *options, where={"gamma": gamma})
    for found, method in itertools.product((by_hand, shown), methods):
        for measure, *printed in zip(MEASURED, MORRIS[gamma, method], ERRORS[gamma, method], strict=True):
            check(found, method, measure, tuple(printed))
