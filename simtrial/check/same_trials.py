"""Whether a run analysed the trials of its baseline: their data, and the true values behind them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from simtrial.check.baseline import WRITE, BaselineError, ChangedDataError
from simtrial.check.pairs import ROUNDING, Pair
from simtrial.store.data_checks import alike

BLAMELESS = "no method is compared, for none can be blamed"
REMEDY = f"where the change is meant, write the baseline anew with {WRITE}"


def refuse_other_trials(before: Mapping[str, Any], now: Mapping[str, Any], labels: Mapping[str, str]) -> list[str]:
    """Refuse a run whose data or true values are not those of the baseline; return notes on rounding.

    Raises
    ------
    ChangedDataError
        Naming the first cell, block and columns that differ.
    BaselineError
        When the run kept no checks of its data.
    """
    rounded: set[str] = set()
    for cell, blocks in before["data"].items():
        here = now["data"].get(cell, {})
        common = sorted((b for b in blocks if here.get(b)), key=int)
        if not common:
            raise BaselineError(
                f"the run kept no checks of its data in cell '{labels.get(cell, cell)}' to compare with the baseline's "
                "(made by an earlier version, or in other blocks); run it anew"
            )
        for block in common:
            states = {name: alike(check, here[block][name]) for name, check in blocks[block].items()
                      if name in here[block]}  # fmt: skip
            other = [name for name, state in states.items() if state == "other"]
            if other:
                where = f" in cell '{labels[cell]}'" if len(labels) > 1 else ""
                raise ChangedDataError(
                    f"the data generator changed: {_listed(other)} of block {block}{where} are not those of the "
                    f"baseline ({_listed([n for n in states if n not in other]) or 'no column'} the same). Methods see "
                    f"other trials: {BLAMELESS}; {REMEDY}"
                )
            rounded |= {name for name, state in states.items() if state == "rounded"}
    other_truth = next(_other_truths(before["cells"], now["cells"], labels), None)
    if other_truth:
        raise ChangedDataError(f"the true values changed: {other_truth}. {BLAMELESS.capitalize()}; {REMEDY}")
    return [f"data differ from the baseline's by rounding only: {_listed(sorted(rounded))}"] if rounded else []


def refuse_other_own_values(pairs: Sequence[Pair], labels: Mapping[str, str]) -> None:
    """Refuse rows whose trials have other true values of their own."""
    for pair in pairs:
        before, now = pair.before.sample.own, pair.now.sample.own
        if before is None or now is None:
            continue
        near = np.isclose(now, before, rtol=ROUNDING, atol=ROUNDING, equal_nan=True)
        if not near.all():
            at = int(np.argmin(near))
            raise ChangedDataError(
                f"the true values changed: '{pair.estimand}' of replicate {pair.replicate[at]} in cell "
                f"'{labels.get(pair.cell, pair.cell)}' was {before[at]:.6g} and is {now[at]:.6g}. "
                f"{BLAMELESS.capitalize()}; {REMEDY}"
            )


def _other_truths(before: Mapping[str, Any], now: Mapping[str, Any], labels: Mapping[str, str]) -> Iterator[str]:
    """True values that are not the baseline's, by more than rounding."""
    for cell, described in before.items():
        for estimand, truth in described["true_values"].items():
            here = now[cell]["true_values"].get(estimand, {})
            one, other = truth["true_value"], here.get("true_value")
            size = max(abs(one or 0.0), abs(other or 0.0), truth["true_value_mcse"] or 0.0)
            if (one is None) != (other is None) or (
                one is not None and other is not None and abs(one - other) > ROUNDING * size
            ):
                was, is_ = ("not known" if value is None else str(value) for value in (one, other))
                yield f"'{estimand}' in cell '{labels.get(cell, cell)}' was {was} in the baseline and is {is_}"


def version_notes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Versions and plug-ins that are not those of the baseline."""
    names = dict.fromkeys([*before["versions"], *now["versions"]])
    changed = [
        f"{name} {before['versions'].get(name, 'absent')} in the baseline, {now['versions'].get(name, 'absent')} here"
        for name in names
        if before["versions"].get(name) != now["versions"].get(name)
    ]
    sources, here = ({p["sha256"] for p in about["plugins"]} for about in (before, now))
    changed += ["the source of its plug-ins has changed since the baseline"] if sources != here else []
    return changed


MOST = 6
"""Columns named; of more, the number."""


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more
