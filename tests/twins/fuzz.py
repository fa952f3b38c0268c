"""Product and twin over odd designs: ``python tests/twins/fuzz.py --designs 2000`` prints what came of it.

With ``PYTHONPATH`` at another checkout the same designs try the code of that checkout.
"""

import argparse
import collections
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from twins import menu, receipt
from twins.designs import Batch, draw
from twins.product import analysed, made, observed
from twins.verdict import DIFFERENT, GREY, Verdict, judged

TRIALS = 6
NOTHING_BETWEEN = "1c nothing between practices"
ANOTHER_OPTIMUM = "1b another optimum"
CONSTANT_WITHIN = "1c constant within practices"
NOTHING_WITHIN = "no degrees of freedom within practices"
BY_ARM = "another optimum of variances by arm"
EVENTS = ("acute_episodes", "acute_treated", "first_contact_months", "recruitment_month")


@dataclass
class Tally:
    """Verdicts by method and by design, and every difference."""

    methods: collections.Counter = field(default_factory=collections.Counter)
    designs: collections.Counter = field(default_factory=collections.Counter)
    grey: collections.Counter = field(default_factory=collections.Counter)
    warnings: collections.Counter = field(default_factory=collections.Counter)
    warned: dict = field(default_factory=dict)
    differences: list[dict] = field(default_factory=list)

    def enter(self, kind: str, options: dict, batch: Batch, trial: int, verdict: Verdict, cause: str) -> None:
        self.methods[kind, verdict.verdict] += 1
        if verdict.verdict == GREY:
            self.grey[kind, verdict.why.split(":")[0].split(" 0.9")[0].split(" 1e")[0][:45]] += 1
        if verdict.verdict == DIFFERENT:
            self.differences.append(
                {"batch": batch.number, "trial": trial, "kind": kind, "options": options, "why": verdict.why,
                 "adjust": batch.adjust, "subset": batch.subset, "odd": batch.odd[trial], "cause": cause}
            )  # fmt: skip


def run(seed: int, designs: int, first: int = 0, tally: Tally | None = None) -> Tally:
    """Try designs batch by batch."""
    tally = Tally() if tally is None else tally
    for number in range(first, first + -(-designs // TRIALS)):
        try_batch(seed, number, tally)
    return tally


def try_batch(seed: int, number: int, tally: Tally, only: str | None = None) -> None:
    """Analyse one batch by every method drawn, together, and one trial of it alone."""
    batch = draw(seed, number, TRIALS)
    rng = np.random.default_rng([seed, number, 1])
    change = rng.random() < 0.15
    for trial in batch.trials:
        _events(rng, trial)
    whole = observed(batch.trials)
    lonely = int(rng.integers(TRIALS))
    alone = observed(batch.trials[lonely : lonely + 1])
    worst: dict[int, set[str]] = {t: set() for t in range(TRIALS)}
    frames: list[dict] = [{} for _ in batch.trials]
    for kind, options in menu.chosen(rng) + receipt.chosen(rng, only):
        if only and kind != only:
            continue
        more = {"outcome": "change"} if change and kind in ("lmm", "ols", "gee", "cluster-means") else {}
        minus = "mansa_baseline" if more else None
        own = receipt if receipt.takes(kind, options) else menu
        few = receipt.covariates(kind, batch.adjust)
        adjust = [] if kind == "icc" and options["estimation"] == "anova" else few
        method = made(kind, adjust, batch.subset, {**options, **more})
        try:
            found, by_itself = (_quietly(b, method, tally, number) for b in (whole, alone))
        except Exception as error:  # one method that raises takes all trials of its batch with it
            verdict = Verdict(DIFFERENT, f"raises {type(error).__name__}: {error}")
            tally.enter(kind, {**options, **more}, batch, lonely, verdict, "raises")
            worst[lonely].add(DIFFERENT)
            continue
        for t, data in enumerate(batch.trials):
            views = [(found, t)] + ([(by_itself, 0)] if t == lonely else [])
            for rows, at in views:
                with np.errstate(all="ignore"):
                    frame, said = own.twin(kind, options, data, few, batch.subset, minus, rows, at, frames[t])
                verdict = judged(rows, at, said)
                cause = _cause(kind, rows, at, frame, said, data) if verdict.verdict == DIFFERENT else ""
                told = {**options, **more, **({"alone": True} if rows is by_itself else {})}
                tally.enter(kind, told, batch, t, verdict, cause)
                worst[t].add(verdict.verdict)
    for verdicts in worst.values():
        order = (DIFFERENT, "equal", GREY, "refused where allowed", "both refuse")
        tally.designs[next(v for v in order if v in verdicts) if verdicts else "nothing"] += 1


def _quietly(batch, method, tally, number):
    """Analyse; a warning of numpy's is noted, and is no result."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = analysed(batch, method)
    for warning in {(Path(w.filename).name, w.lineno, str(w.message)) for w in told}:
        tally.warnings[(method.kind, *warning)] += 1
        tally.warned.setdefault((method.kind, *warning), number)
    return found


def _events(rng, trial) -> None:
    """Columns of the methods that count events, and the order of recruitment."""
    people = len(trial["arm"])
    every = rng.poisson(1.5, people).astype(float)
    treated = np.where(trial["arm"] == 1, rng.binomial(every.astype(int), 0.4), 0).astype(float)
    starts = np.where(rng.random(people) < 0.3, np.nan, rng.uniform(0, 14, people))
    trial |= {"acute_episodes": np.where(rng.random(people) < 0.1, np.nan, every), "acute_treated": treated,
              "first_contact_months": starts, "recruitment_month": rng.integers(0, 12, people) + 0.0}  # fmt: skip


def _cause(kind, found, trial, frame, said, data) -> str:
    """Which known kind of fault a difference has the marks of."""
    people = frame.people if said.people is None else said.people
    if found.n_used[trial] != people and kind != "clda":
        return "1e blank in a condition"
    if kind == "lmm" and said.refusal.startswith("not the minimum"):
        return BY_ARM
    if kind in ("lmm", "icc", "g-computation", "per-protocol", "as-treated") and _used_up(frame):
        return NOTHING_WITHIN
    if said.either and kind != "gee":
        return CONSTANT_WITHIN
    if said.extras.get("ci_type") == "rays" and "ci_" in str(judged(found, trial, said).why):
        return "1f two rays"
    if said.spectrum is not None and not found.failed[trial]:
        rho = float(found.extras["icc"][trial] if kind == "lmm" else found.estimate[0, trial])
        own, best = (said.spectrum.value(r / max(1 - r, 1e-15)) for r in (rho, said.extras.get("icc", said.estimate)))
        whole = len(frame.terms) == frame.columns and not _partly_constant(frame, data)
        if own > best + 1e-8 and whole:
            return ANOTHER_OPTIMUM
    if said.refusal == "error is rounding":
        return NOTHING_BETWEEN
    if frame.x is not None and _partly_constant(frame, data):
        return "1a constant in some practices"
    if frame.refusal == "constant_outcome":
        return "1a constant outcome"
    return "other"


def _used_up(frame) -> bool:
    """Whether covariates that vary within practices leave no row within them, or none without one of the practices."""
    if frame.q is None or frame.refusal:
        return False
    within = np.concatenate([frame.q[g] - frame.q[g].mean(axis=0) for g in frame.groups]).astype(float)
    spent = np.linalg.matrix_rank(within, tol=1e-7)
    return frame.people - frame.clusters - spent < frame.sizes.max()


def _partly_constant(frame, data) -> bool:
    """Whether a covariate varies among people but not in every practice of two or more."""
    groups = [g for g in frame.groups if len(g) > 1]
    for k, name in enumerate(frame.terms):
        values = frame.x[:, k]
        same = [bool((values[g] == values[g[0]]).all()) for g in groups]
        if name not in ("intercept", "arm") and any(same):
            return True
    return False


def printed(tally: Tally, shown: int) -> None:
    """Say what came of it."""
    kinds = sorted({k for k, _ in tally.methods})
    names = ("equal", "both refuse", "refused where allowed", GREY, DIFFERENT)
    print(f"designs: {dict(tally.designs)}")
    for kind in kinds:
        print(f"{kind:16}", *(f"{name} {tally.methods[kind, name]:5}" for name in names))
    for (kind, why), count in sorted(tally.grey.items(), key=lambda item: -item[1])[:25]:
        print(f"  grey {count:5} {kind}: {why}")
    for warning, count in tally.warnings.most_common(12):
        print(f"  warning {count:4} first in batch {tally.warned[warning]}: {warning}")
    causes = collections.Counter((d["cause"], d["kind"]) for d in tally.differences)
    for (cause, kind), count in sorted(causes.items()):
        where = len({(d["batch"], d["trial"]) for d in tally.differences if (d["cause"], d["kind"]) == (cause, kind)})
        print(f"  different: {cause} / {kind}: {count} rows in {where} designs")
    seen = collections.Counter()
    for d in tally.differences:
        seen[d["cause"], d["kind"]] += 1
        if seen[d["cause"], d["kind"]] <= shown:
            print(
                f"batch {d['batch']} trial {d['trial']} {d['cause']}: {d['kind']} {d['options']} adjust {d['adjust']}"
            )
            print(f"    {d['why']}\n    {d['odd']}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--designs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--shown", type=int, default=2)
    parser.add_argument("--kind")
    given = parser.parse_args()
    tally = Tally()
    for number in range(given.first, given.first + -(-given.designs // TRIALS)):
        try_batch(given.seed, number, tally, given.kind)
    import simtrial

    print(f"code: {Path(simtrial.__file__).parent}")
    printed(tally, given.shown)


if __name__ == "__main__":
    main()
