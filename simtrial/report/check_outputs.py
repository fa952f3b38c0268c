"""Findings of a check for machines: JUnit XML, annotations of GitHub, and a summary in Markdown."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as Xml

from simtrial.check.findings import Finding, worst_first
from simtrial.errors import one_line

MOST = 10
"""Annotations that GitHub shows of a step."""

ROWS = 20
"""Findings in the summary; of more, the number."""


def junit(findings: Sequence[Finding], name: str) -> str:
    """One test case for each finding: the class is the cell, the name the method and what was checked of it.

    Neither depends on what comes of it: histories of test cases go by their names.
    """
    failures = sum(f.fails for f in findings)
    suite = Xml.Element("testsuite", name=_xml(name), tests=str(len(findings)), failures=str(failures), errors="0",
                        skipped="0")  # fmt: skip
    for found in findings:
        case = Xml.SubElement(
            suite, "testcase", classname=_xml(f"{name}.{found.cell}" if found.cell else name),
            name=_xml(f"{found.method}: {found.about or found.source}"), time="0",
        )  # fmt: skip
        text = _xml(in_full(found))
        if found.fails:
            Xml.SubElement(case, "failure", message=text, type=_xml(found.verdict)).text = text
        else:
            Xml.SubElement(case, "system-out").text = text
    root = Xml.Element("testsuites")
    root.append(suite)
    Xml.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + Xml.tostring(root, encoding="unicode") + "\n"


def in_full(found: Finding) -> str:
    """A finding in one line, with its replicates, and the command that shows it."""
    counts = f"{found.n:,} replicates, {found.failed:,} failed"
    command = f"; see it: {found.command}" if found.command else ""
    return f"{found.method}: {found.verdict}: {found.sentence} [{counts}]{command}"


def _xml(text: str) -> str:
    """Text that XML may hold: what is not printable is escaped."""
    return one_line(text)


def github_annotations(findings: Sequence[Finding], places: Mapping[str, tuple[str, int]]) -> list[str]:
    """Workflow commands of GitHub, errors first and at most as many as it shows; the last one names the rest.

    ``places`` are file and line of methods.
    """
    shown = [f for f in worst_first(findings) if f.fails or f.doubtful]
    some = shown if len(shown) <= MOST else shown[: MOST - 1]
    lines = []
    for found in some:
        where = ""
        if found.method in places:
            file, line = places[found.method]
            where = f"file={_property(file)},line={line},"
        kind = "error" if found.fails else "warning"
        cell = f" ({found.cell})" if found.cell else ""
        title = _property(f"{found.method}{cell}: {found.verdict}")
        lines.append(f"::{kind} {where}title={title}::{_data(in_full(found))}")
    if len(some) < len(shown):
        kind = "error" if shown[len(some)].fails else "warning"
        lines.append(f"::{kind} title=simtrial check::{len(shown) - len(some)} more findings: see the summary")
    return lines


def annotation_of(error: str) -> str:
    """Workflow command for an error that kept everything from being checked."""
    return f"::error title=simtrial check::{_data('; '.join(error.splitlines()))}"


def refusal(error: str, name: str) -> str:
    """Summary of a check that could not be made."""
    return f"### simtrial check {cell_text(name)}: nothing was checked\n\n{cell_text('; '.join(error.splitlines()))}\n"


def _data(text: str) -> str:
    """Escape the message of a workflow command."""
    return one_line(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """Escape a property of a workflow command."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def fenced(text: str) -> str:
    """Text of which GitHub takes nothing for a command: commands are stopped until a word that it does not hold."""
    word = hashlib.sha256(text.encode()).hexdigest()[:32]
    return f"::stop-commands::{word}\n{text.rstrip()}\n::{word}::\n"


def markdown(findings: Sequence[Finding], name: str, notes: Sequence[str]) -> str:
    """Summary of a check: the verdict, a table with the worst first, and notes."""
    failing, doubtful = sum(f.fails for f in findings), sum(f.doubtful and not f.fails for f in findings)
    verdict = f"{failing} of {len(findings)} checks fail" if failing else f"all {len(findings)} checks hold"
    verdict += f", {doubtful} undecided" if doubtful else ""
    lines = [f"### simtrial check {cell_text(name)}: {verdict}", ""]
    lines += ["| verdict | cell | method | measure | replicates | failed | what |"]
    lines += ["| --- | --- | --- | --- | ---: | ---: | --- |"]
    for found in worst_first(findings)[:ROWS]:
        words = [found.verdict, found.cell, found.method, found.measure, f"{found.n:,}", f"{found.failed:,}"]
        command = f"<br>`{code_text(found.command)}`" if found.command else ""
        lines.append(f"| {' | '.join(map(cell_text, words))} | {cell_text(found.sentence)}{command} |")
    if len(findings) > ROWS:
        lines += ["", f"and {len(findings) - ROWS} more"]
    lines += ["", *(f"- {cell_text(note)}" for note in notes)] if notes else []
    return "\n".join(lines) + "\n"


def cell_text(text: str) -> str:
    """Text in a cell of a Markdown table: none of it is markup."""
    plain = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]#|~!@:])", r"\\\1", plain)


def code_text(text: str) -> str:
    """Text of a piece of code in a cell: no backtick, no end of the cell."""
    return one_line(text).replace("`", "'").replace("|", "\\|")
