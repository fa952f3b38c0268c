"""What README and documentation show runs, and leads somewhere."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
LINK = re.compile(r"(?<!!)\[[^\]\n]+\]\(([^)\s]+)\)")
SITE = [page for page in DOCS.glob("*.md") if page.name != "package.md"]


def anchors(page: Path) -> set[str]:
    """Anchors of the headings of a page, as GitHub and MyST make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    titles = re.findall(r"^#+ (.+)$", text, flags=re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_runs_and_prints_what_stands_below_it(
    page: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page with Python in a process of its own, which has imported nothing but what the page does."""
    if "```python" not in page.read_text(encoding="utf-8"):
        monkeypatch.setattr(sys, "path", [str(DOCS), *sys.path])
        import blocks

        assert blocks.main([str(page)]) == 0, capsys.readouterr().err
        return
    command = [sys.executable, str(DOCS / "blocks.py"), str(page)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    generated = {"generated/scenario-reference.md", "generated/catalogue.md"}
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"https?://|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        if path in generated:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link


def test_the_text_for_a_package_index_has_no_links_into_the_repository() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (ROOT / project["readme"]).read_text(encoding="utf-8")
    assert [link for link in LINK.findall(text) if not link.startswith("https://")] == []
    assert f"`{project['name']}`" in text


def test_every_page_is_in_the_contents_once() -> None:
    trees = re.findall(r"```\{toctree\}\n(.*?)```", (DOCS / "index.md").read_text(encoding="utf-8"), flags=re.S)
    listed = [line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")]
    pages = {page.stem for page in SITE} - {"index"}
    assert sorted(listed) == sorted(pages | {"generated/scenario-reference", "generated/catalogue"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```python\nprint(1 / 0)\n```\n", "page.md:2: ZeroDivisionError"),
        ("```python\nprint(1)\n```\n\n```text\n2\n```\n", "prints something else"),
        ("```\nsimtrial runn partners\n```\n", "there is no command 'runn'"),
        ("```\nsimtrial run partners --replicate 3\n```\n", "No such option"),
        ("```\nmake coffee\n```\n", "no target 'coffee'"),
        ("```\nsome words\n```\n", "what is no command is a block of text"),
        ("```toml\nname = x\n```\n", "TOMLDecodeError"),
        ('```toml\nname = "a"\nextends = "partners"\n[runs]\n```\n', "unknown table 'runs'"),
        ("```r\nlibrary(lme4)\n```\n", "say why above it"),
    ],
)
def test_a_page_with_a_mistake_is_found(
    tmp_path: Path, text: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(DOCS), *sys.path])
    import blocks

    page = tmp_path / "page.md"
    page.write_text(text)
    assert blocks.main([str(page)]) == 1
    assert message in capsys.readouterr().err


def test_every_key_of_a_scenario_file_is_in_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(DOCS), *sys.path])
    import pages

    from simtrial.scenario.json_schema import scenario_schema

    text = pages.scenario_reference()
    for name, table in scenario_schema()["definitions"].items():
        if name.startswith("generator-") or table.get("type") != "object":
            continue
        for key in table.get("properties", {}):
            assert f"| `{key}` |" in text, (name, key)
    rows = re.findall(r"^\|.*\|$", text, flags=re.M)
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}


@pytest.mark.verify
@pytest.mark.slow
def test_the_commands_of_the_readme_run_in_a_fresh_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other as they stand, but for the number of replicates, and those that take minutes by design."""
    for name in ("tests", "scenarios"):  # what a clone has
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "README.md").read_text(encoding="utf-8").split("## Use\n")[1]
    commands = re.findall(r"^simtrial .+?(?=\s+#|$)", text[: text.index("\n```\n\n")], flags=re.M)
    assert len(commands) > 20
    for command in commands:
        words = shlex.split(command.replace("--replicates 2000", "--replicates 125").split(" > ")[0])[1:]
        if words[0] in ("fidelity", "show"):
            continue
        done = subprocess.run(
            [sys.executable, "-m", "simtrial", *words], capture_output=True, text=True, check=False, timeout=300,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.returncode == 0, (command, done.stderr)
