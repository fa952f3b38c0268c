"""A small sweep as a stored run, for figures and pages."""

import json
from pathlib import Path
from unittest import mock

from runs import go
from tomls import changed

from simtrial.estimands import values

SMALL_SAMPLE = """\
[[methods]]
name = "small sample"
kind = "ols"
estimand = "itt"

"""

SWEEP = (
    changed('[[methods]]\nname = "imputed"', f'{SMALL_SAMPLE}[[methods]]\nname = "imputed"')
    + """
[performance]
reference = "mixed model"

[vary.cross]
"mechanism.practices.number" = [8, 12]
"mechanism.outcomes.mansa.icc" = [0.0, 0.2]
"""
)

HOSTILE = (
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "=cmd|' /C calc'!A0",
    "$\\frac{1}{2}$ a_b^c",
    "\u202egnp.exe \u0634\u0644\u0627\u0645",
    "{{ 7 * 7 }} {% raw %}",
)
"""Names of methods that a page or a figure must show as the text they are."""


def study(folder: Path, replicates: int = 60, text: str = SWEEP) -> Path:
    """Run the sweep into a folder and return it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with mock.patch.object(values, "PRACTICES", 2000):
        go(folder, replicates, text=text)
    return folder


def hostile() -> str:
    """The sweep with odd names for its title, its question and its methods, one cell."""
    text = SWEEP[: SWEEP.index("[vary.cross]")]
    text = changed('"Twelve practices, quick to analyse"', json.dumps(f"<b>{HOSTILE[0]}</b> {HOSTILE[4]}"), text)
    text = changed('"Does it work?"', json.dumps(HOSTILE[1]), text)
    for at, name in enumerate(("mixed model", "two-stage least squares", "small sample", "imputed")):
        text = text.replace(f'"{name}"', json.dumps(HOSTILE[at if at < 3 else 4]))
    return text
