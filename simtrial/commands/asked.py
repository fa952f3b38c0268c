"""What is asked of `simtrial check`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simtrial.commands.fresh_check import Again


@dataclass(frozen=True)
class Request:
    """What is asked of a check.

    ``what`` is the scenario or run as the user named it; ``replay`` the command that shows a replicate, with places for
    {cell} and {replicate}; ``summary`` a file that a summary in Markdown is added to. ``rate`` is the probability of a
    false alarm over all expectations, or over the published values of the file ``against``; ``again`` how to run what
    fails once more.
    """

    what: str
    form: str
    replay: str
    baseline: Path | None = None
    update: bool = False
    reason: str = ""
    strict: bool = False
    summary: Path | None = None
    rate: float = 0.001
    against: Path | None = None
    again: Again | None = None
