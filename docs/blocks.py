"""Run the blocks of a page of the documentation, and hold what they print against what stands below them.

    python docs/blocks.py [--write] PAGE ...

A block of Python runs in the page's own namespace and in a folder of its own; a block of text directly below it is
what it prints (with --write it is written there). A block whose lead ends in the name of a file, such as "save as
`mine.py`:", is that file. TOML is read, and loaded where it is a whole scenario. Commands of simtrial are parsed by the
program itself, not run. What cannot run says why in the line above it: <!-- not run: REASON -->.
"""

import contextlib
import io
import os
import re
import shlex
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^(```+)([^\n]*)\n(.*?)^\1[ ]*$", re.M | re.S)
SHELL = ("", "sh", "bash", "console")
NOT_OURS = (
    "pip ",
    "source ",
    "git ",
    "python ",
    "cd ",
    "export ",
    "srun ",
    "sbatch ",
    "dask ",
    "ssh ",
    "eval ",
    "pytest ",
)
"""Beginnings of commands that belong to other programs."""


class PageError(Exception):
    """A block that does not run, or prints something else."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, text, first line, the lines above it, and where its text stands in the page."""

    language: str
    text: str
    line: int
    lead: str
    start: int
    end: int

    @property
    def reason(self) -> str:
        """Why it is not run, empty where it is."""
        found = re.search(r"<!-- (not run: .+?|numbers: .+?) -->\s*$", self.lead)
        return found[1] if found else ""

    @property
    def file(self) -> str:
        """The file that it is, empty where it is none."""
        paragraph = " ".join(self.lead.rstrip().rpartition("\n\n")[2].split())
        found = re.search(r"`([\w./-]+\.(py|toml|csv|sh))`(?: that [\w ]+)?:$", paragraph)
        return (
            found[1]
            if found and Path(found[1]).suffix[1:] in (self.language, {"python": "py"}.get(self.language))
            else ""
        )


def blocks_of(text: str) -> list[Block]:
    """Blocks of a page in order."""
    return [
        Block(m[2].strip(), m[3], text[: m.start(3)].count("\n") + 1, text[: m.start()], m.start(3), m.end(3))
        for m in FENCE.finditer(text)
    ]


def run(page: Path) -> str:
    """Run a page in the present folder; return its text with what was printed.

    Raises
    ------
    PageError
        Where a block does not run.
    """
    text = page.read_text(encoding="utf-8")
    namespace: dict[str, Any] = {"__name__": "page"}
    sys.path.insert(0, os.getcwd())
    printed, changed = "", list[tuple[Block, str]]()
    follows = -1  # where the text of a block begins that stands directly below the last one of Python
    for block in blocks_of(text):
        try:
            if block.reason:
                continue
            if block.file:
                Path(block.file).write_text(block.text, encoding="utf-8")
            if block.language == "python" and not block.file:
                printed, follows = _python(block, page, namespace), block.end + len("```\n\n```text\n")
            elif block.language == "text":
                if block.start == follows:
                    changed.append((block, printed))
            elif block.language == "toml":
                _toml(block)
            elif block.language in SHELL:
                _shell(block)
            elif not (block.language.startswith("{") or block.file):
                raise PageError(f"'{block.language}' cannot be run: say why above it, <!-- not run: REASON -->")
        except Exception as error:
            raise PageError(f"{page.name}:{block.line}: {type(error).__name__}: {error}") from error
    for block, output in reversed(changed):
        text = text[: block.start] + output + text[block.end :]
    return text


def _python(block: Block, page: Path, namespace: dict[str, Any]) -> str:
    code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code, namespace)
    return out.getvalue()


def _toml(block: Block) -> None:
    """Read a file or a piece of one; load it if it is whole and needs no plug-in."""
    found = tomllib.loads(block.text)
    whole = "name" in found and ("extends" in found or "mechanism" in found)
    own = "generator" in found.get("mechanism", {}) or "plugin" in block.lead.rpartition("\n\n")[2]
    if whole and not own and all(found["mechanism"].values() if "extends" not in found else [True]):
        from simtrial.errors import SimtrialError
        from simtrial.scenario import load

        Path("block.toml").write_text(block.text, encoding="utf-8")
        try:
            load("block.toml")
        except SimtrialError as error:
            if "unknown kind of method" not in str(error):
                raise


def _shell(block: Block) -> None:
    for line in _commands(block.text):
        if line.startswith("simtrial "):
            _parse(shlex.split(line, comments=True)[1:])
        elif line.startswith("make "):
            target = line.split()[1]
            if f"\n{target}:" not in (ROOT / "Makefile").read_text(encoding="utf-8"):
                raise PageError(f"there is no target '{target}'")
        elif block.language == "" and not line.startswith(NOT_OURS):
            raise PageError(f"no command: {line}; what is no command is a block of text")


def _commands(text: str) -> Iterator[str]:
    """Command lines, those that go on put together; comments and assignments left out."""
    for line in re.sub(r"\\\n\s*", "", re.sub(r"\$\{?\w+\}?", "1", text)).splitlines():
        line = line.strip().removeprefix("$ ").removeprefix(".venv/bin/")
        if line and not line.startswith("#"):
            yield re.split(r"\s(?:>|\|)\s|\s&&\s|\s&$", line)[0]


def _parse(words: list[str]) -> None:
    """Let the program parse a command, without running it."""
    import click

    from simtrial.cli import cli

    name, *arguments = words
    if name.startswith("-"):
        return
    if name not in cli.commands:
        raise PageError(f"there is no command '{name}'")
    if name == "COMMAND" or "--help" in arguments:
        return
    try:
        cli.commands[name].make_context(name, [word for word in arguments if word != "..."])
    except click.BadParameter as error:
        if "does not exist" not in error.message:
            raise PageError(f"simtrial {' '.join(words)}: {error.message}") from None


def main(arguments: list[str]) -> int:
    """Run pages; return 1 if one is not as it stands."""
    wrong = 0
    for name in (name for name in arguments if name != "--write"):
        page, home = Path(name).resolve(), os.getcwd()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            try:
                text = run(page)
            except PageError as error:
                print(error, file=sys.stderr)
                wrong += 1
                continue
            finally:
                os.chdir(home)
        if text == page.read_text(encoding="utf-8"):
            continue
        if "--write" in arguments:
            page.write_text(text, encoding="utf-8")
        else:
            print(f"{page.name}: prints something else: python docs/blocks.py --write {name}", file=sys.stderr)
            wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
