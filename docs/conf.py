"""The documentation as a site: `make docs` builds it without asking any other machine."""

import sys
from pathlib import Path

import simtrial

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

project = "simtrial"
author = "simtrial developers"
release = version = simtrial.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["package.md"]
html_theme = "furo"
html_title = f"simtrial {release}"
html_copy_source = False
html_show_sourcelink = False
myst_enable_extensions = ["deflist", "fieldlist"]
myst_heading_anchors = 4
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = True
napoleon_google_docstring = False
napoleon_use_rtype = False
smartquotes = False  # options begin with two dashes
html_show_sphinx = False
suppress_warnings = ["misc.highlighting_failure"]


def _written(app):
    """Write the pages that are made from the program."""
    import pages

    folder = HERE / "generated"
    folder.mkdir(exist_ok=True)
    for name, text in pages.pages().items():
        file = folder / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def setup(app):
    """Have those pages written before any is read."""
    app.connect("config-inited", lambda app, config: _written(app))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
