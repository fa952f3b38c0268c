"""Every figure: ink in each panel, the same bytes whenever and wherever it is saved, odd names as text."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from studies import HOSTILE, hostile, study

from simtrial.errors import SimtrialError
from simtrial.figures import ORDER, kind_named, kind_names
from simtrial.figures.parts.choice import Choice
from simtrial.figures.parts.compose import figure, panels
from simtrial.figures.parts.look import Look, folded, legible
from simtrial.figures.parts.material import Material, of_file, of_run
from simtrial.figures.parts.saving import FORMATS, as_bytes
from simtrial.files.read_results import Reading, results

ROWS_ALONE = ("heatmap", "lollipop", "nested-loop", "paired", "power", "se-estimate", "swarm", "zip")


def drawn(name: str, material: Material, most: int = 2) -> Figure:
    """The first panels of a figure."""
    kind = kind_named(name)
    parts = [part for _, part in panels(kind, kind.prepare(material, Choice()))]
    return figure(kind, pl.concat(parts[:most]), Look(material.methods, material.labels))


def test_the_page_knows_the_place_of_every_figure() -> None:
    assert kind_names() == list(ORDER)


@pytest.mark.parametrize("name", kind_names())
def test_every_panel_has_ink(name: str, material: Material) -> None:
    kind, made = kind_named(name), drawn(name, material, 60)
    assert len(made.axes) == len(list(panels(kind, kind.prepare(material, Choice()))))
    canvas = FigureCanvasAgg(made)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[::-1, :, :3]
    for axes in made.axes:
        box = axes.get_window_extent()
        inside = pixels[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)]
        assert (inside.min(axis=2) < 200).mean() > 0.003, (name, axes.get_title())


@pytest.mark.parametrize("name", kind_names())
@pytest.mark.parametrize(
    "form", [pytest.param(f, marks=[] if f == "svg" else [pytest.mark.verify, pytest.mark.slow]) for f in FORMATS]
)
def test_twice_in_one_process_the_bytes_are_the_same(name: str, form: str, material: Material) -> None:
    one, other = (as_bytes(drawn(name, material), form, name) for _ in range(2))
    assert one == other
    made = drawn(name, material)
    assert as_bytes(made, form, name) == as_bytes(made, form, name) == one


SCRIPT = """
import hashlib, sys
import matplotlib
from matplotlib import font_manager
if sys.argv[3] == "none":  # as on a machine without fonts; matplotlib's own stay
    font_manager.fontManager.ttflist = [
        f for f in font_manager.fontManager.ttflist if f.fname.startswith(matplotlib.get_data_path())]
else:  # another font under the name of ours comes first
    font_manager.fontManager.ttflist = [
        font_manager.FontEntry(fname=f.fname, name="DejaVu Sans", weight=400, size="scalable")
        for f in font_manager.fontManager.ttflist if "Serif" in f.fname] + font_manager.fontManager.ttflist
matplotlib.rcParams["font.family"] = "serif"
matplotlib.rcParams["lines.linewidth"] = 7
sys.path.insert(0, sys.argv[1])
from test_every_figure import drawn, of_run, as_bytes, FORMATS, Path
material = of_run(Path(sys.argv[2]))
for name in ("zip", "heatmap", "power"):
    for form in FORMATS:
        print(hashlib.sha256(as_bytes(drawn(name, material), form)).hexdigest())
"""


def test_fonts_and_settings_of_the_machine_do_not_matter(stored: Path, material: Material) -> None:
    here = [
        hashlib.sha256(as_bytes(drawn(name, material), form)).hexdigest()
        for name in ("zip", "heatmap", "power")
        for form in FORMATS
    ]
    for fonts in ("none", "others"):
        paths = [str(Path(__file__).parent), str(stored), fonts]
        script = f"import sys; sys.path[:0] = {[p for p in sys.path if 'helpers' in p]!r}\n{SCRIPT}"
        done = subprocess.run([sys.executable, "-c", script, *paths], capture_output=True, text=True, check=True)
        assert done.stdout.split() == here, fonts


@pytest.mark.parametrize("form", FORMATS)
def test_files_tell_no_time_and_no_machine(form: str, material: Material) -> None:
    content = as_bytes(drawn("power", material), form, "Rejections")
    for told in (b"Matplotlib v", b"CreationDate", b"<dc:date>", b"/home", b"/root"):
        assert told not in content, told


def test_nothing_imports_pyplot(material: Material) -> None:
    drawn("swarm", material)
    assert "matplotlib.pyplot" not in sys.modules


def test_hostile_names_are_text(tmp_path: Path) -> None:
    found = of_run(study(tmp_path / "run", 20, hostile()))
    for name in (n for n in kind_names() if n not in ("nested-loop", "power")):
        made = drawn(name, found)
        assert as_bytes(made, "pdf", HOSTILE[0])
        svg = as_bytes(made, "svg", HOSTILE[0]).decode()
        assert "<script" not in svg


def test_names_are_escaped_and_shortened_in_the_middle() -> None:
    assert legible("a\u202eb") == "a\\u202eb"
    assert legible("\u4e2d") == "\\u4e2d"
    assert legible("x" * 30 + "end", 20) == "xxxxxxxxxx…xxxxxxend"
    assert folded("per protocol (availability), partial", 23) == "per protocol\n(availability), partial"
    assert all(len(line) <= 10 for line in folded("x" * 200, 10).split("\n"))


def as_file(material: Material, file: Path) -> Material:
    """The rows of a run written as a file of results from elsewhere, and read."""
    truths = material.cells.select("cell", "estimand", "true_value")
    factors = pl.DataFrame([{"cell": cell, **{f"by_{i}": v for i, v in enumerate(f.values())}}
                            for cell, f in material.factors.items()])  # fmt: skip
    rows = material.rows.join(truths, on=["cell", "estimand"]).join(factors, on="cell")
    columns = ["by_0", "by_1", "replicate", "method", "estimand", "estimate", "std_error", "ci_lower", "ci_upper",
               "p_value", "true_value"]  # fmt: skip
    rows.select(columns).write_csv(file)
    return of_file(results(file, Reading(by=("by_0", "by_1"))), 0.95)


@pytest.mark.parametrize("name", kind_names())
def test_a_file_of_results_has_the_figures_that_need_rows_alone(name: str, material: Material, tmp_path: Path) -> None:
    found = as_file(material, tmp_path / "results.csv")
    if name in ROWS_ALONE:
        kind = kind_named(name)
        ours, theirs = (kind.prepare(m, Choice()) for m in (material, found))
        assert ours.height == theirs.height
        assert as_bytes(drawn(name, found), "svg")
        return
    with pytest.raises(SimtrialError, match=f"^{name}: .*a FILE of results has none$"):
        kind_named(name).prepare(found, Choice())


def test_without_the_packages_one_line_says_how_to_install_them() -> None:
    from simtrial.figures import installed

    def importing(name: str) -> object:
        raise ImportError(name)

    with pytest.raises(SimtrialError, match=r"^figures need matplotlib and jinja2: pip install '\.\[report\]'"):
        installed(importing)


def test_more_panels_than_fit_are_refused(material: Material) -> None:
    kind = kind_named("swarm")
    frame = pl.concat([kind.prepare(material, Choice()).with_columns(method=pl.lit(f"m{i}")) for i in range(20)])
    with pytest.raises(SimtrialError, match="panels are more than a page holds"):
        figure(kind, frame, Look([], {}))


def test_widths_are_those_of_journals(material: Material) -> None:
    kind = kind_named("power")
    frame = kind.prepare(material, Choice())
    for column, mm in (("single", 85), ("double", 170)):
        made = figure(kind, frame, Look(material.methods, material.labels), column)
        assert made.get_size_inches()[0] * 25.4 == pytest.approx(mm)
