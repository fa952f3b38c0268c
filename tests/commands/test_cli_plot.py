"""simtrial plot and simtrial report: files, choices, mistakes, and a page that holds nothing but itself."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from browser import BROWSER, browser
from commands import simtrial
from studies import HOSTILE, SWEEP, hostile, study


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return study(tmp_path_factory.mktemp("plots") / "run")


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose title and methods have odd names, and its page."""
    folder = study(tmp_path_factory.mktemp("odd") / "run", 20, hostile())
    assert simtrial("report", folder).code == 0
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose sweep is short."""
    text = SWEEP.replace("[0.0, 0.2]", "[0.1]")
    assert text != SWEEP
    return study(tmp_path_factory.mktemp("small") / "run", 10, text)  # a block for each of two cells


@pytest.fixture(scope="module")
def page(stored: Path) -> str:
    assert simtrial("report", stored).code == 0
    return (stored / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("form", "begins"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_a_figure_is_written_in_the_format_of_its_name(stored: Path, tmp_path: Path, form: str, begins: bytes) -> None:
    file = tmp_path / f"zip.{form}"
    found = simtrial("plot", stored, "zip", "-o", file, "--method", "mixed model", "--column", "single")
    assert (found.code, found.out) == (0, "")
    assert f"figure: {file}" in found.err
    assert file.read_bytes().startswith(begins)
    first = file.read_bytes()
    simtrial("plot", stored, "zip", "-o", file, "--method", "mixed model", "--column", "single")
    assert file.read_bytes() == first


@pytest.mark.parametrize(("arguments", "words"), [
    (("zipp", "-o", "a.svg"), "unknown figure 'zipp'; did you mean 'zip'? (allowed: cost, flow, heatmap"),
    (("zip", "-o", "a.svgz"), "a.svgz: the name must end in .svg, .png or .pdf; did you mean .svg?"),
    (("swarm", "-o", "a.svg", "--method", "mixed"), "unknown method 'mixed'"),
    (("swarm", "-o", "a.svg", "--cell", "number=9"), "unknown cell 'number=9'"),
    (("lollipop", "-o", "a.svg", "--measure", "biass"), "unknown measure 'biass'; did you mean 'bias'?"),
    (("lollipop", "-o", "a.svg", "--measure", "bias,SE error %"), "did you mean 'relative_error_model_se'?"),
    (("heatmap", "-o", "a.svg", "--measure", "bias, coverage"), "heatmap: shows one measure, and 2 are named"),
    (("power", "-o", "a.svg", "--factor", "iccc"), "unknown factor 'iccc'; did you mean 'icc'?"),
    (("zip", "-o", "a.svg", "--true", "0.5"), "--true is for a FILE of results"),
])  # fmt: skip
def test_mistakes(stored: Path, arguments: tuple[str, ...], words: str) -> None:
    found = simtrial("plot", stored, *arguments)
    assert found.code == 2
    assert words in found.err
    assert len(found.err.splitlines()) == 1


def test_what_is_left_out_is_told(stored: Path, tmp_path: Path) -> None:
    found = simtrial("plot", stored, "flow", "-o", tmp_path / "flow.svg", "--replicate", "7")
    assert "the first cell of 4 cells drawn; --cell chooses others" in found.err


def test_a_file_of_results(tmp_path: Path) -> None:
    file = tmp_path / "estimates.csv"
    lines = [f"{r},{m},{0.5 + 0.01 * ((r * 7919 + k) % 41 - 20)},0.1" for k, m in enumerate("ab") for r in range(1, 41)]
    file.write_text("\n".join(["rep,method,b,se", *lines]), encoding="utf-8")
    asked = ("--true", "0.5", "--map", "replicate=rep", "--map", "estimate=b", "--map", "std_error=se")
    for kind in ("swarm", "zip", "paired", "lollipop", "heatmap"):
        found = simtrial("plot", file, kind, "-o", tmp_path / f"{kind}.svg", *asked)
        assert found.code == 0, found.err
    found = simtrial("plot", file, "cost", "-o", tmp_path / "cost.svg", *asked)
    assert found.code == 2
    assert "a FILE of results has none" in found.err


class Outline(HTMLParser):
    """Elements, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_needs_nothing_else(page: str) -> None:
    outline = Outline(page)
    for tag, attributes in outline.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base"), tag
        assert "style" not in attributes, (tag, attributes)
        assert not [name for name in attributes if name.startswith("on")], attributes
        for name in ("src", "href", "action", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#"), attributes
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"\beval\(|new Function|innerHTML", page)


def test_the_policy_of_the_page_allows_its_own_style_and_script_alone(page: str) -> None:
    (policy,) = [a["content"] for t, a in Outline(page).elements if t == "meta" and "http-equiv" in a]
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag, source in (("style", "style-src"), ("script", "script-src")):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{source} 'sha256-{digest}'" in policy


def test_names_in_the_page_are_unique_and_references_are_kept(page: str) -> None:
    elements = Outline(page).elements
    names = [a["id"] for _, a in elements if "id" in a]
    assert len(names) == len(set(names))
    used = {str(a["href"])[1:] for _, a in elements if "href" in a}
    used |= set(re.findall(r"url\(#([^)]+)\)", page))
    used |= {str(a["aria-labelledby"]) for _, a in elements if "aria-labelledby" in a}
    assert used <= set(names)


def test_every_figure_has_a_table_and_words(page: str) -> None:
    elements = Outline(page).elements
    tags = [tag for tag, _ in elements]
    assert tags.count("figure") == tags.count("figcaption") >= 11
    assert tags.count("caption") == tags.count("table")
    assert all(a.get("scope") in ("col", "row") for tag, a in elements if tag == "th")
    plots = [a for _, a in elements if (a.get("class") or "").startswith("plot")]
    assert plots
    assert all(a.get("role") == "img" and a.get("aria-label") and a.get("tabindex") == "0" for a in plots)
    order = [str(a["id"]) for tag, a in elements if tag == "section"]
    assert order[:3] == ["scenario", "failures", "performance"]
    assert order.index("swarm") < order.index("zip") < order.index("lollipop") < order.index("nested-loop-bias")


def test_the_page_says_the_numbers_of_summarise(stored: Path, page: str) -> None:
    table = simtrial("summarise", stored, "--format", "csv").out
    lines = [line.split(",") for line in table.splitlines()]
    at = {name: lines[0].index(name) for name in ("measure", "value")}
    words = " ".join(Outline(page).words)
    biases = [float(line[at["value"]]) for line in lines[1:] if line[at["measure"]] == "bias"]
    assert len(biases) >= 16
    assert all(f"{value:.4f} (" in words for value in biases)


def test_the_scenario_is_there_in_words(page: str) -> None:
    words = " ".join(" ".join(Outline(page).words).split())
    for text in (
        "Cluster-randomised trials of 8 or 12 practices with ",
        "Outcome mansa: ICC at follow-up given baseline 0 or 0.2, effect of the intervention ",
        "A person is not followed up with probability ",
        "adjusted for mansa_baseline",
        "estimation reml; df between-within",
        "varied: 8, 12",
        "varied: 0.0, 0.2",
    ):
        assert text in words, text


def test_the_measures_that_are_listed_are_those_of_the_table(page: str) -> None:
    def cells(caption: str, tag: str) -> list[str]:
        table = page[page.index(f"<caption>{caption}") :].partition("</table>")[0]
        return [re.sub(r"<[^>]*>", "", cell) for cell in re.findall(rf"<{tag}[ >].*?</th>", table)]

    listed = [cell.removeprefix('scope="row">') for cell in cells("Measures", 'th scope="row"')]
    headings = cells("Performance (Monte", 'th scope="col"') + cells("Difference from", 'th scope="col"')
    shown = [heading for heading in headings if heading not in ("cell", "method", "estimand", "true value")]
    assert listed == shown
    assert {"bias", "coverage", "rejected"} <= set(listed)


def test_the_contents_have_no_two_equal_beginnings(page: str) -> None:
    contents = page[page.index("<nav") : page.index("</nav>")]
    entries = re.findall(r'<a href="#[^"]+">(.*?)</a>', contents)
    assert len({entry[:24] for entry in entries}) == len(entries)
    assert max(map(len, entries)) < 40
    assert "Nested loop: bias" in entries


def test_a_short_sweep_has_no_nested_loops_on_its_page(small: Path, tmp_path: Path) -> None:
    assert simtrial("report", small, "-o", tmp_path / "a.html").code == 0
    assert 'id="nested-loop' not in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_the_page_names_the_program_and_not_its_place(stored: Path, page: str, tmp_path: Path) -> None:
    from simtrial.report.page.page import _by_name

    assert _by_name("/home/a/.venv/bin/simtrial run x.toml -o /tmp/a") == "simtrial run x.toml -o /tmp/a"
    assert _by_name("Study.run") == "Study.run"


def test_the_same_run_gives_the_same_page(stored: Path, page: str, tmp_path: Path) -> None:
    assert simtrial("report", stored, "-o", tmp_path / "other.html").code == 0
    assert (tmp_path / "other.html").read_text(encoding="utf-8") == page
    assert len(page.encode()) < 5_000_000


def test_a_run_goes_on_beside_its_page(stored: Path, page: str) -> None:
    assert simtrial("audit", stored).code == 0


def test_odd_names_are_text_everywhere(odd: Path) -> None:
    text = (odd / "report.html").read_text(encoding="utf-8")
    outline = Outline(text)
    tags = [tag for tag, _ in outline.elements]
    assert tags.count("script") == tags.count("style") == 1
    assert "img" not in tags
    assert "b" not in tags
    words = " ".join(outline.words)
    for name in (HOSTILE[0], HOSTILE[1], HOSTILE[2]):
        assert name in words
    assert "\u202e" not in text
    assert "\\u202egnp.exe" in text


def test_an_incomplete_run_says_so(small: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(small, folder)
    chunk = sorted((folder / "blocks").rglob("*.parquet"))[-1]
    chunk.unlink()
    (folder / "records" / chunk.parent.name / f"{chunk.stem}.json").unlink()
    found = simtrial("report", folder, "-o", tmp_path / "a.html")
    assert found.code == 3
    assert not (tmp_path / "a.html").exists()
    assert simtrial("report", folder, "-o", tmp_path / "a.html", "--partial").code == 0
    assert "Incomplete: 1 of 2 blocks are missing" in (tmp_path / "a.html").read_text(encoding="utf-8")


needs_browser = pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed here: pages are not looked at")

INK = """(function(){return Array.from(document.querySelectorAll('.plot')).filter(function(p){
  var b=p.querySelector('svg').getBoundingClientRect();return b.width<100||b.height<40}).length})()"""


UNTOLD = """Array.from(document.querySelectorAll('.scroll')).filter(function(b){
  var h=b.previousElementSibling;
  return (b.scrollWidth>b.clientWidth+1)!==!!(h&&h.className==='hint'&&!h.hidden)}).length"""
"""Boxes that scroll without a word of it, or say so and do not."""

BROKEN = """(function(){return Array.from(document.querySelectorAll('thead th')).filter(function(h){
  var text=h.firstChild; if(!text||!h.offsetWidth){return false}
  return (text.data.match(/\\S+/g)||[]).some(function(word){
    var r=document.createRange(),at=text.data.indexOf(word);
    r.setStart(text,at);r.setEnd(text,at+word.length);return !/[-/]/.test(word)&&r.getClientRects().length>1})
  }).map(function(h){return h.textContent})})()"""
"""Headings with a word that stands on two lines."""


@needs_browser
@pytest.mark.parametrize("width", [1100, 390])
def test_in_a_browser_the_page_is_quiet_and_fits(
    stored: Path, page: str, odd: Path, tmp_path: Path, width: int
) -> None:
    from PIL import Image

    with browser(tmp_path) as chromium:
        for run in (stored, odd):
            for dark in (False, True):
                chromium.open(run / "report.html", width, dark=dark)
                assert chromium.told() == []
                assert chromium.value("document.documentElement.scrollWidth") <= width
                assert chromium.value(INK) == 0
                assert chromium.value(UNTOLD) == 0
                assert chromium.value(BROKEN) == []
                for section in ("zip", "heatmap", "lollipop"):
                    chromium.picture(tmp_path / "a.png", f"#{section} .plot")
                    grey = Image.open(tmp_path / "a.png").convert("L")
                    counts = grey.histogram()
                    ground = max(counts)
                    assert 0.01 < 1 - ground / sum(counts) < 0.995, (section, width, dark)


@needs_browser
def test_pointing_at_a_replicate_shows_the_command_that_draws_it(stored: Path, page: str, tmp_path: Path) -> None:
    with browser(tmp_path) as chromium:
        chromium.open(stored / "report.html", 1100)
        chromium.value("document.querySelector('#swarm .plot').focus()")
        for key in ("ArrowRight", "ArrowRight"):
            chromium.value(
                "document.querySelector('#swarm .plot').dispatchEvent("
                f"new KeyboardEvent('keydown', {{key: '{key}', bubbles: true, cancelable: true}}))"
            )
        assert chromium.value("document.querySelector('.tip').textContent") == "replicate 2"
        command = chromium.value("document.querySelector('#swarm .picked code').textContent")
        assert command.endswith("--replicate 2")
        assert command.startswith("simtrial replay ")
        assert chromium.told() == []
        chromium.open(stored / "report.html", 1100, scripts=False)
        assert chromium.told() == []


@needs_browser
def test_print_shows_dark_ink_on_white(stored: Path, page: str, tmp_path: Path) -> None:
    with browser(tmp_path) as chromium:
        chromium.open(stored / "report.html", 800, dark=True, media="print")
        assert chromium.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert chromium.value("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
        assert chromium.value("getComputedStyle(document.querySelector('nav')).display") == "none"
