"""The same tests wherever they run: what a terminal or a CI job says about itself is not theirs."""

import os

for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "TERM"):
    os.environ.pop(name, None)
