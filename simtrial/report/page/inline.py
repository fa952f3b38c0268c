"""SVG files of figures as parts of an HTML page: no styles of their own, names that no other figure has."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from xml.etree import ElementTree

from simtrial.figures.parts.look import BAND, GROUND, INK

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_HREF = f"{{{XLINK}}}href"
_GLYPH = re.compile(r"DejaVuSans(?:-Bold)?-[0-9a-f]+")
_URL = re.compile(r"url\(#([^)]+)\)")
_FLAT = {INK: "currentColor"}
CLASSES = {GROUND: "ground", BAND: "band"}
"""Fills that follow the colours of the page, and the classes that give them."""


@dataclass
class Glyphs:
    """Outlines of the letters that figures of a page share, by name, in the order in which they come up."""

    found: dict[str, str] = field(default_factory=dict)

    def take(self, root: ElementTree.Element) -> None:
        """Take the outlines out of a figure."""
        for defs in list(root.iter(f"{{{SVG}}}defs")):
            for path in list(defs):
                name = path.attrib.get("id", "")
                if _GLYPH.fullmatch(name):
                    self.found.setdefault(name, path.attrib.get("d", ""))
                    defs.remove(path)

    def written(self) -> str:
        """An element that draws nothing and holds the outlines."""
        paths = [f'<path id="{n}" transform="scale(.015625)" d="{_short(d)}"></path>' for n, d in self.found.items()]
        return f'<svg width="0" height="0" aria-hidden="true" class="letters"><defs>{"".join(paths)}</defs></svg>'


def inline(svg: bytes, prefix: str, glyphs: Glyphs) -> str:
    """Return a figure as an <svg> element for a page; names in it begin with ``prefix``, letters go to ``glyphs``.

    Styles become attributes, which a strict content security policy takes; ink takes the colour of the page's text.
    """
    root = ElementTree.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                parent.remove(child)
    for element in root.iter():
        _attributes(element)
    glyphs.take(root)
    used = _used(root)
    for element in root.iter():
        _names(element, used, prefix)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.attrib |= {"stroke-linejoin": "round", "stroke-linecap": "butt", "aria-hidden": "true", "focusable": "false"}
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag == f"{{{SVG}}}defs" and not len(child):
                parent.remove(child)
    return _written(root)


def _attributes(element: ElementTree.Element) -> None:
    """Style of an element as attributes of their own."""
    style = element.attrib.pop("style", "")
    pairs = [part.split(":", 1) for part in style.split(";") if ":" in part]
    element.attrib |= {name.strip(): value.strip() for name, value in pairs}
    for name in ("fill", "stroke"):
        value = element.attrib.get(name)
        if name == "fill" and value in CLASSES:
            element.attrib["class"] = CLASSES[value]
            del element.attrib[name]
        elif value in _FLAT:
            element.attrib[name] = _FLAT[value]


def _used(root: ElementTree.Element) -> set[str]:
    """Names that something refers to."""
    found = set()
    for element in root.iter():
        for name, value in element.attrib.items():
            if name in (_HREF, "href"):
                found.add(value.removeprefix("#"))
            found |= set(_URL.findall(value))
    return found


def _names(element: ElementTree.Element, used: set[str], prefix: str) -> None:
    """Names of an element with the prefix; those that nothing refers to are left out."""
    name = element.attrib.pop("id", None)
    if name in used:
        element.attrib["id"] = prefix + str(name)
    target = element.attrib.pop(_HREF, None)
    if target is not None:
        name = target.removeprefix("#")
        element.attrib["href"] = f"#{name}" if _GLYPH.fullmatch(name) else f"#{prefix}{name}"
    for key, value in element.attrib.items():
        if "url(#" in value:
            element.attrib[key] = _URL.sub(lambda found: f"url(#{prefix}{found[1]})", value)


_FLOAT = re.compile(r"-?\d+\.\d+")
_LEVEL = re.compile(r"M(\S+) (\S+)L(\S+) \2(?=M|$)")


def _short(d: str) -> str:
    """A path in fewer letters: tenths of a point, no blanks round commands, level lines as such."""
    d = _FLOAT.sub(lambda n: f"{float(n[0]):.1f}".removesuffix(".0"), d)
    d = re.sub(r"\s*([A-Za-z])\s*", r"\1", " ".join(d.split()))
    return _LEVEL.sub(r"M\1 \2H\3", d)


def _written(root: ElementTree.Element) -> str:
    """An element as text, without namespaces, which HTML has no need of; nothing between elements."""
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{SVG}}}")
        element.text = None if not (element.text or "").strip() else element.text
        element.tail = None
        if element.tag == "path" and "d" in element.attrib:
            element.attrib["d"] = _short(element.attrib["d"])
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)
