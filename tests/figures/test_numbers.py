"""What figures draw is what their frames say: data of artists against rows and performance."""

import numpy as np
import polars as pl
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from simtrial.errors import SimtrialError
from simtrial.figures import heatmap, kind_named, nested_loop
from simtrial.figures.parts.choice import Choice
from simtrial.figures.parts.compose import panels
from simtrial.figures.parts.kind import Kind
from simtrial.figures.parts.look import Look, settings
from simtrial.figures.parts.material import Material
from simtrial.performance import performance
from simtrial.performance.references import distance, distance_class, reference_value
from simtrial.run.implied import implied
from simtrial.run.replay import cells_of

METHOD = "mixed model"


def one(
    name: str, material: Material, frame: pl.DataFrame | None = None, **values: str
) -> tuple[Kind, pl.DataFrame, Axes]:
    """The first panel with some values, and the part of the frame that it shows."""
    kind = kind_named(name)
    frame = kind.prepare(material, Choice()) if frame is None else frame
    for found, part in panels(kind, frame):
        if all(found.get(key) == value for key, value in values.items()):
            with settings():
                axes = Figure().add_subplot()
                kind.panel(axes, part, frame, Look(material.methods, material.labels))
            return kind, part, axes
    raise AssertionError(values)


def line(axes: Axes, label: str, at: int = 0) -> tuple[np.ndarray, np.ndarray]:
    found = [each for each in axes.lines if each.get_label() == label]
    return np.asarray(found[at].get_xdata(), dtype=float), np.asarray(found[at].get_ydata(), dtype=float)


def rows_of(material: Material, part: pl.DataFrame) -> pl.DataFrame:
    keys = {name: part[name][0] for name in ("cell", "method", "estimand")}
    return material.rows.filter(**keys).sort("replicate")


def test_swarm(material: Material) -> None:
    _, part, axes = one("swarm", material, method=METHOD)
    rows = rows_of(material, part)
    x, y = line(axes, "estimates")
    starts, ends = x[::3], x[1::3]
    assert np.isnan(x[2::3]).all()
    np.testing.assert_allclose((starts + ends) / 2, rows["replicate"])
    np.testing.assert_array_equal(y[::3], rows["estimate"])
    assert line(axes, "mean")[1][0] == pytest.approx(rows["estimate"].mean())
    truth = material.cells.filter(cell=part["cell"][0], estimand=part["estimand"][0])["true_value"][0]
    assert set(line(axes, "true value")[1]) == {truth}


def test_swarm_shows_failed_fits_and_wild_estimates(material: Material) -> None:
    frame = kind_named("swarm").prepare(material, Choice())
    first = (pl.col("replicate") == 3) & (pl.col("method") == METHOD)
    wild = (pl.col("replicate") == 5) & (pl.col("method") == METHOD)
    frame = frame.with_columns(
        estimate=pl.when(first).then(None).when(wild).then(1e6).otherwise("estimate"),
        failed=pl.col("failed") | first,
    )
    _, _, axes = one("swarm", material, frame, method=METHOD)
    assert line(axes, "failed")[0].tolist() == [3.0]
    assert line(axes, "beyond the axis")[0].tolist() == [5.0]
    assert axes.get_ylim()[1] < 1e5


def test_zip(material: Material) -> None:
    _, part, axes = one("zip", material, method=METHOD)
    rows = rows_of(material, part)
    truth = part["true_value"][0]
    covers = rows.filter((pl.col("ci_lower") <= truth) & (truth <= pl.col("ci_upper")))
    low, high = axes.get_xlim()
    for label, number in (("covers", covers.height), ("misses", rows.height - covers.height)):
        x, y = line(axes, label)
        assert len(x) == 3 * number
        for start, end, at in zip(x[::3], x[1::3], y[::3], strict=True):
            own = rows.filter(replicate=part.filter(pl.col("centile") == at)["replicate"][0])
            assert start == pytest.approx(max(own["ci_lower"][0], low))
            assert end == pytest.approx(min(own["ci_upper"][0], high))
    measured = material.measured.filter(cell=part["cell"][0], method=METHOD, measure="coverage")["value"][0]
    assert part["share"][0] == pytest.approx(measured)
    table = kind_named("zip").table(part)
    shares = {
        m: v for m, v in material.measured.filter(cell=part["cell"][0], method=METHOD).select("measure", "value").rows()
    }
    assert table["misses_above"][0] / rows.height == pytest.approx(shares["lower_miss"])
    assert table["misses_below"][0] / rows.height == pytest.approx(shares["upper_miss"])


def test_lollipop(material: Material) -> None:
    _, part, axes = one("lollipop", material, measure="coverage")
    values = [line(axes, "value", at)[0][0] for at in range(part.height)]
    assert values == pytest.approx(part["value"].to_list())
    for at, row in enumerate(part.iter_rows(named=True)):
        assert line(axes, "interval", at)[0].tolist() == [row["mc_lower"], row["mc_upper"]]
        assert line(axes, "stick", at)[0][0] == 0.95
    assert part["method"].to_list() == [m for m in material.methods if m in set(part["method"])]
    assert {float(x) for x in line(axes, "reference")[0]} == {0.95}


def test_lollipops_of_one_measure_share_an_axis(material: Material) -> None:
    limits = {one("lollipop", material, measure="bias", cell=cell)[2].get_xlim() for cell in material.factors}
    assert len(limits) == 1


def test_nested_loop(material: Material) -> None:
    _, part, axes = one("nested-loop", material, estimand="itt")
    x, y = line(axes, METHOD)
    own = part.filter(method=METHOD)
    np.testing.assert_array_equal(y[::2], own["value"])
    np.testing.assert_array_equal(y[1::2], own["value"])
    np.testing.assert_array_equal(x, np.repeat(np.arange(5), 2)[1:-1])
    steps = {name: line(axes, name)[1][::2] for name in ("factor:number", "factor:icc")}
    assert [len(set(values)) for values in steps.values()] == [2, 2]
    assert (np.diff(steps["factor:number"]) != 0).tolist() == [False, True, False]
    assert (np.diff(steps["factor:icc"]) != 0).tolist() == [True, True, True]


def test_steps_of_a_nested_loop_have_monte_carlo_intervals_and_noise_does_not_fill_the_axis(material: Material) -> None:
    _, part, axes = one("nested-loop", material, estimand="itt")
    x, y = line(axes, "intervals")  # of the first method
    own = part.filter(method=METHOD)
    np.testing.assert_allclose(y[::3], own["mc_lower"])
    np.testing.assert_allclose(y[1::3], own["mc_upper"])
    assert (np.floor(x[::3]) == own["place"].to_numpy()).all()
    error = float(part["mcse"].median())  # type: ignore[arg-type]
    low, high = nested_loop.widened(part.with_columns(value=0.0, mc_lower=0.0, mc_upper=0.0), 0.0, 0.0)
    assert (low, high) == pytest.approx((-4 * error, 4 * error))
    assert nested_loop.widened(part, -9.0, 9.0) == (-9.0, 9.0)


def test_a_named_factor_becomes_the_outer_loop(material: Material) -> None:
    frame = kind_named("nested-loop").prepare(material, Choice(factor="icc"))
    cells = frame.filter(method=METHOD).sort("place")["factor:icc"].to_list()
    assert cells == ["0.0", "0.0", "0.2", "0.2"]


def test_paired(material: Material) -> None:
    _, part, axes = one("paired", material, method="small sample", panel="Bland–Altman")
    columns = ["replicate", "estimate"]
    own = material.rows.filter(cell=part["cell"][0], method="small sample").select(columns)
    other = material.rows.filter(cell=part["cell"][0], method=METHOD).select(columns)
    both = own.join(other, on="replicate").drop_nulls()
    difference = (both["estimate"] - both["estimate_right"]).to_numpy()
    assert part["reference"][0] == METHOD
    np.testing.assert_allclose(np.sort(line(axes, "replicates")[1][::3]), np.sort(difference))
    sd = difference.std(ddof=1)
    assert line(axes, "mean difference")[1][0] == pytest.approx(difference.mean())
    assert line(axes, "upper_limit")[1][0] == pytest.approx(difference.mean() + 1.959964 * sd, rel=1e-6)


def test_standard_errors(material: Material) -> None:
    _, part, axes = one("se-estimate", material, method=METHOD)
    rows = rows_of(material, part).drop_nulls("std_error")
    np.testing.assert_array_equal(line(axes, "replicates")[1][::3], rows["std_error"])
    known = {
        m: v for m, v in material.measured.filter(cell=part["cell"][0], method=METHOD).select("measure", "value").rows()
    }
    for measure, label in (("empirical_se", "empirical SE"), ("model_se", "model SE")):
        assert line(axes, label)[1][0] == pytest.approx(known[measure])


def test_heatmap(material: Material) -> None:
    _, part, axes = one("heatmap", material)
    boxes = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert len(boxes) == len(axes.texts) == part.height
    for row, text in zip(part.iter_rows(named=True), axes.texts, strict=True):
        assert text.get_text().split("\n")[0].rstrip("▲▼") == f"{100 * row['value']:.1f}"
        signs = text.get_text().count("▲") - text.get_text().count("▼")
        assert signs == row["distance_class"]


@pytest.mark.parametrize("fill", heatmap.FILLS.values())
def test_numbers_in_the_heatmap_can_be_read(fill: str) -> None:
    assert heatmap.contrast(fill, heatmap.ink_on(fill)) >= 4.5


def test_classes_of_coverage() -> None:
    error = (0.95 * 0.05 / 1000) ** 0.5
    for away, kind in ((0.0, 0), (1.99, 0), (-1.99, 0), (2.01, 1), (-2.01, -1), (3.51, 2), (-5.01, -3), (9.0, 3)):
        assert distance_class(distance(0.95 + away * error, 0.95, 1000)) == kind
    assert distance_class(distance(None, 0.95, 1000)) is None
    assert distance_class(distance(1.0, 0.95, 10)) == 0  # all of few replicates cover: no evidence


def test_reference_values() -> None:
    assert reference_value("bias", 0.3, 0.95) == 0.0
    assert reference_value("coverage", 0.3, 0.9) == 0.9
    assert reference_value("rejection_rate", 0.0, 0.95) == pytest.approx(0.05)
    assert reference_value("rejection_rate", 0.3, 0.95) is None
    assert reference_value("empirical_se", 0.3, 0.95) is None


def test_power(material: Material) -> None:
    frame = kind_named("power").prepare(material, Choice(factor="number"))
    _, part, axes = one("power", material, frame, estimand="itt")
    assert part["level"].unique().sort().to_list() == ["12", "8"]
    containers = {c.get_label(): c for c in axes.containers}
    values = containers[METHOD].lines[0].get_ydata()
    own = part.filter(method=METHOD).sort("at")
    np.testing.assert_array_equal(values, own["value"])
    known = material.measured.filter(method=METHOD, measure="rejection_rate")["value"].to_list()
    assert set(own["value"]) <= set(known)
    assert axes.get_ylim() == (0.0, 1.02)


def test_trials_lie_about_what_the_scenario_implies(material: Material) -> None:
    frame = kind_named("trials").prepare(material, Choice())
    table = kind_named("trials").table(frame)
    for name in ("people per practice", "lost, control", "lost, intervention", "no mansa at follow-up, control"):
        for row in table.filter(characteristic=name).iter_rows(named=True):  # twenty trials each: five standard errors
            assert abs(row["mean"] - row["implied"]) < 5 * row["sd"] / row["trials"] ** 0.5 + 1e-9, row
    exact = table.filter(characteristic="practices")
    assert exact["mean"].to_list() == exact["implied"].to_list()
    _, part, axes = one("trials", material, frame, characteristic="people per practice")
    first = part.filter(cell=part["cell"][0])
    np.testing.assert_allclose(np.sort(line(axes, "trials")[0][::3]), np.sort(first["value"].to_numpy()), atol=0.01)
    assert line(axes, "mean")[0][0] == pytest.approx(first["value"].mean())


def test_an_implied_value_that_is_simulated_has_its_error_and_no_more_digits_than_it_knows(material: Material) -> None:
    frame = kind_named("trials").prepare(material, Choice())
    _, part, axes = one("trials", material, frame, characteristic="ICC of mansa at baseline")
    known = {(q.name, q.of, q.arm): q for q in implied(cells_of(material.folder)[0])}["icc", "mansa", ""]  # type: ignore[arg-type]
    (band, *_) = [each for each in axes.patches if each.get_label() == "band"]
    assert isinstance(band, Rectangle)
    assert band.get_width() == pytest.approx(2 * 1.959964 * known.mcse)
    assert band.get_x() + band.get_width() / 2 == pytest.approx(known.value)
    row = kind_named("trials").table(part).row(0, named=True)
    assert row["implied_mcse"] == pytest.approx(known.mcse, rel=0.05)
    assert abs(row["implied"] - known.value) < known.mcse
    assert len(repr(row["implied"])) < len(repr(known.value))
    _, part, axes = one("trials", material, frame, characteristic="practices")
    assert not [each for each in axes.patches if each.get_label() == "band"]
    assert part["target_mcse"].unique().to_list() == [0.0]


def test_the_flow_adds_up(material: Material) -> None:
    for replicate in (1, 7, 23):
        frame = kind_named("flow").prepare(material, Choice(replicate=replicate))
        whole = frame.filter(stage="allocation", arm="")
        arms = frame.filter((pl.col("stage") == "allocation") & (pl.col("arm") != ""))
        assert whole["people"][0] == arms["people"].sum()
        assert whole["practices"][0] == arms["practices"].sum()
        for arm in ("control", "intervention"):
            people = dict(frame.filter(arm=arm).select("stage", "people").rows())
            assert people["allocation"] - people["lost"] - people["missing"] == people["analysed"]
            assert 0 <= people["receipt"] <= people["allocation"]
        rows = material.rows.filter(cell=frame["cell"][0], replicate=replicate, method=METHOD)
        assert rows.height == 1


def test_cost(material: Material) -> None:
    _, part, axes = one("cost", material)
    widths = [bar.get_width() for bar in axes.patches]
    assert widths == pytest.approx(part["microseconds_per_trial"].to_list())
    assert part["share"].sum() == pytest.approx(1.0)
    assert [m for m in part["what"] if m in material.methods] == list(material.methods)


def test_choices_are_checked(material: Material) -> None:
    for asked, words in (
        (Choice(methods=["mixed modle"]), "unknown method 'mixed modle'; did you mean 'mixed model'"),
        (Choice(cells=["icc=0.3, number=8"]), "unknown cell"),
    ):
        with pytest.raises(SimtrialError, match=words):
            kind_named("swarm").prepare(material, asked)
    with pytest.raises(SimtrialError, match="unknown measure 'covrage'; did you mean 'coverage'"):
        kind_named("lollipop").prepare(material, Choice(measures=["covrage"]))
    with pytest.raises(SimtrialError, match="unknown factor 'ic'; did you mean 'icc'"):
        kind_named("power").prepare(material, Choice(factor="ic"))
    with pytest.raises(SimtrialError, match="'bias' has no nominal value"):
        kind_named("heatmap").prepare(material, Choice(measures=["bias"]))


def test_cells_are_named_in_any_order_and_spelling(material: Material) -> None:
    frame = kind_named("swarm").prepare(material, Choice(cells=["icc=0.20,number=12"], methods=[METHOD]))
    assert frame["cell"].n_unique() == frame["method"].n_unique() == 1
    assert material.factors[frame["cell"][0]] == {"mechanism.practices.number": 12, "mechanism.outcomes.mansa.icc": 0.2}


def test_measured_is_performance(material: Material) -> None:
    again = performance(material.rows, material.cells, material.options)
    assert material.measured.equals(again)
