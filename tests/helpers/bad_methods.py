"""Forty methods that misbehave, for a run that must not mind: what they do, by name."""

import ctypes
import os
import random
import sys
import time
from dataclasses import replace

import numpy as np

from simtrial import plain_method
from simtrial.estimators import Estimates, Method, method_class, register

GOOD = {"estimate": 0.1, "std_error": 0.2}


def _exits(frame):
    sys.exit("no more of this")


def _exits_quietly(frame):
    sys.exit(0)


def _prints(frame):
    print("noise" * 100)
    sys.stdout.write("more noise")
    return GOOD


def _draws(frame):
    return {"estimate": random.gauss(0, 1) + np.random.normal(), "std_error": 1.0}  # noqa: NPY002


def _seeds(frame):
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    return GOOD


def _changes(frame):
    frame[0, "arm"] = 1 - frame[0, "arm"]
    frame.drop_in_place("mansa_followup")
    return GOOD


def _warns(frame):
    np.log(np.zeros(3))
    return GOOD


def _recurses(frame):
    return _recurses(frame)


def _sleeps(frame):
    time.sleep(0.0005)
    return GOOD


def _swallows(frame):
    while True:
        try:
            time.sleep(5)
        except Exception:
            pass


def _dies(frame):
    os._exit(1)


def _is_killed(frame):
    os.kill(os.getpid(), 9)


def _crashes(frame):
    ctypes.string_at(0)


def _moves_about(frame):
    os.chdir("/")
    return GOOD


def _raises(error):
    def method(frame):
        raise error

    return method


def _returns(value):
    def method(frame):
        return value

    return method


PLAIN = {
    "sys-exit": _exits, "sys-exit-0": _exits_quietly, "prints": _prints, "global-random": _draws, "seeds": _seeds,
    "changes-its-frame": _changes, "warns": _warns, "recurses": _recurses, "sleeps": _sleeps,
    "moves-about": _moves_about, "value-error": _raises(ValueError("no")), "assertion": _raises(AssertionError()),
    "stop-iteration": _raises(StopIteration()),
    "unprintable": _raises(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "\x1b[2J\u202e")),
    "none": _returns(None), "list": _returns([1, 2]), "text": _returns("0.3"), "empty": _returns({}),
    "unknown-key": _returns({"estimate": 1.0, "stderr": 1.0}), "nan": _returns(GOOD | {"estimate": float("nan")}),
    "infinite": _returns(GOOD | {"estimate": float("inf")}), "complex": _returns(GOOD | {"estimate": 1j}),
    "negative-se": _returns({"estimate": 1.0, "std_error": -1.0}), "p-2": _returns(GOOD | {"p_value": 2.0}),
    "df-0": _returns(GOOD | {"df": 0.0}), "arrays": _returns(GOOD | {"estimate": np.zeros(3)}),
}  # fmt: skip
DEADLY = {"os-exit": _dies, "killed": _is_killed, "segfault": _crashes}
SLOW = {"never-ends": _swallows}


def _ordinary(batch, moments) -> Estimates:
    return method_class("ols")(kind="ols", name="x", response="mansa", adjust=[]).fit(batch, moments, None)


def _returns_none(batch, moments, found):
    return None


def _too_short(batch, moments, found):
    return replace(found, estimate=found.estimate[:, :-1])


def _transposed(batch, moments, found):
    return replace(found, estimate=found.estimate.T)


def _lists(batch, moments, found):
    return replace(found, std_error=found.std_error.tolist())


def _negative(batch, moments, found):
    return replace(found, std_error=-found.std_error)


def _infinite(batch, moments, found):
    return replace(found, estimate=found.estimate / 0.0)


def _beyond(batch, moments, found):
    return replace(found, p_value=found.p_value + 1.0)


def _reversed_interval(batch, moments, found):
    return replace(found, ci_lower=found.ci_upper, ci_upper=found.ci_lower)


def _writes_into_columns(batch, moments, found):
    batch.columns["mansa_followup"].values[:] = 0.0
    return found


def _writes_into_moments(batch, moments, found):
    moments.means[:] = 0.0
    moments.gram[:] = 0.0
    moments.basis[:] = 0.0
    return found


def _replaces_columns(batch, moments, found):
    batch.columns.clear()
    return found


BATCHED = {
    f.__name__.strip("_").replace("_", "-"): f
    for f in (_returns_none, _too_short, _transposed, _lists, _negative, _infinite, _beyond, _reversed_interval,
              _writes_into_columns, _writes_into_moments, _replaces_columns)
}  # fmt: skip


def _make(name, function):
    def fit(self, batch, moments, rng, every_term=False):
        return function(batch, moments, _ordinary(batch, moments))

    made = type(
        f"Bad{name}", (Method,), {"__doc__": "Bad.", "__annotations__": {"kind": str}, "kind": name, "fit": fit}
    )
    register(name)(made)


def register_all() -> None:
    """Enter them all as methods; only in a process of their own, for other tests try every kind there is."""
    for name, function in {**PLAIN, **DEADLY, **SLOW}.items():
        plain_method(f"bad-{name}")(function)
    for name, function in BATCHED.items():
        _make(f"bad-batched-{name}", function)


HARMLESS = {"prints", "seeds", "changes-its-frame", "warns", "sleeps", "moves-about", "global-random"}
"""Names of those whose results are valid all the same."""
EVERY = [f"bad-{n}" for n in PLAIN] + [f"bad-batched-{n}" for n in BATCHED]
