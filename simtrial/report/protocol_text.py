"""A protocol as Markdown or as a page of HTML; whatever a scenario says stays text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape

from simtrial.errors import one_line
from simtrial.report.protocol import Code, Gap, Part, Section, Table

TO_WRITE = "TO BE WRITTEN"
"""What marks a gap."""

Chapters = Mapping[str, Sequence[Section]]

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; font-size: 0.875rem; }
th, td { border: 1px solid color-mix(in srgb, currentColor 30%, transparent); padding: 0.25rem 0.5rem; }
th, td { text-align: left; vertical-align: top; min-width: 7rem; max-width: 28rem; overflow-wrap: break-word; }
th:first-child, td:first-child { max-width: none; }
pre { overflow-x: auto; padding: 0.5rem; background: color-mix(in srgb, currentColor 8%, transparent); }
mark { padding: 0 0.2rem; }
h2 { margin-top: 2.5rem; }
"""


def markdown(title: str, chapters: Chapters) -> str:
    """The protocol as Markdown."""
    lines = [f"# {_plain(title)}", ""]
    for chapter, sections in chapters.items():
        lines += [f"## {_plain(chapter)}", ""]
        for section in sections:
            lines += [f"### {_plain(section.heading)}", ""]
            for part in section.parts:
                lines += [*_markdown(part), ""]
    return "\n".join(lines).rstrip() + "\n"


def _markdown(part: Part) -> list[str]:
    if isinstance(part, Gap):
        return [f"**{TO_WRITE}**: {_plain(part.about)}"]
    if isinstance(part, Code):
        fence = "`" * (1 + max((len(run) for line in part.lines for run in re.findall("`+", line)), default=2))
        return [f"{max(fence, '```', key=len)}", *map(one_line, part.lines), f"{max(fence, '```', key=len)}"]
    if isinstance(part, Table):
        rows = [part.headings, ["---"] * len(part.headings), *part.rows]
        return ["| " + " | ".join(c if c == "---" else _plain(c) for c in row) + " |" for row in rows]
    return [_plain(part)]


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    quoted = re.sub(r"([\\`*_{}\[\]<>#|~&$])", r"\\\1", one_line(text))
    begun = re.sub(r"^(\s*\d+)(?=[.)]\s)", r"\1\\", quoted)  # a list, as of numbers
    return re.sub(r"^(\s*)(?=[-+=])", r"\1\\", begun)


def html(title: str, chapters: Chapters) -> str:
    """The protocol as a page of its own: nothing is loaded, and nothing runs."""
    body = [f"<h1>{_text(title)}</h1>"]
    for chapter, sections in chapters.items():
        body.append(f"<h2>{_text(chapter)}</h2>")
        for section in sections:
            body.append(f"<h3>{_text(section.heading)}</h3>")
            body += [_html(part) for part in section.parts]
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    head = [
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(one_line(title))}</title>",
        f"<style>{STYLE}</style>",
    ]
    lines = ["<!doctype html>", '<html lang="en">', "<head>", *head, "</head>", "<body>", *body, "</body>", "</html>"]
    return "\n".join(lines) + "\n"


def _html(part: Part) -> str:
    if isinstance(part, Gap):
        return f"<p><mark>{TO_WRITE}</mark>: {_text(part.about)}</p>"
    if isinstance(part, Code):
        return f"<pre>{_text(chr(10).join(map(one_line, part.lines)))}</pre>"
    if isinstance(part, Table):
        head = "".join(f'<th scope="col">{_text(cell)}</th>' for cell in part.headings)
        rows = ["<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in part.rows]
        return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f"<p>{_text(part)}</p>"


def _text(text: str) -> str:
    """Text of a page, its direction of writing its own."""
    return f"<bdi>{escape(chr(10).join(map(one_line, text.split(chr(10)))))}</bdi>"
