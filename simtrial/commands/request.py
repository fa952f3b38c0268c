"""What is asked of `simtrial check`, and how a replicate is looked at after an alarm."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from shlex import join, quote
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
    identical: bool = False
    summary: Path | None = None
    rate: float = 0.001
    against: Path | None = None
    again: Again | None = None


def recipe(
    what: str, plugins: tuple[str, ...] = (), seed: int | None = None, sets: tuple[str, ...] = (),
    baseline: Path | None = None,
) -> str:  # fmt: skip
    """Command that shows a replicate beside the baseline, with places for {cell} and {replicate}.

    Of a scenario it needs no run directory: so it works again and again, whatever has become of the plug-ins since.
    """
    options = [word for plugin in plugins for word in ("--plugin", plugin)]
    options += ["--seed", str(seed)] if seed is not None else []
    options += [word for text in sets for word in ("--set", text)]
    beside = f" --baseline {quote(str(baseline))}" if baseline is not None else ""
    return f"{join(['simtrial', 'replay', what, *options])}{{cell}} --replicate {{replicate}}{beside}"
