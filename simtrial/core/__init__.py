"""Which core does the arithmetic: numpy, or the same kernels compiled from C where the installation has built them.

Both compute the same formulas; their results differ by rounding. One core serves at a time, so that rows of a run are
the same whatever engine, workers or chunks. The sources in C stand beside this file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import Literal, TypeGuard

from simtrial.errors import RunError, SimtrialError, unknown

Core = Literal["numpy", "compiled"]
CORES: tuple[Core, ...] = ("numpy", "compiled")
VARIABLE = "SIMTRIAL_CORE"
"""Variable of the environment that names the core, as ``--core`` does."""

VERSION = 5
"""Of the compiled kernels; one more whenever their results or arguments change."""


def _load() -> tuple[ModuleType | None, str]:
    """The extension module, or why there is none."""
    try:
        from simtrial import _core
    except ImportError as error:
        return None, "this installation was made without it" if "cannot import name" in str(error) else str(error)
    if _core.VERSION != VERSION:
        return None, f"the one here is of version {_core.VERSION}, and {VERSION} is wanted: install again"
    return _core, ""


_extension, _missing = _load()
_chosen: Core | None = None
_here: ContextVar[Core | None] = ContextVar("core", default=None)


def named() -> Core | None:
    """The core that the user has named, by an option or the environment; None where the choice is left open."""
    return _here.get() or _chosen or _from_environment()


def serving() -> Core:
    """The core that serves: the one asked for, else the compiled one where it is there."""
    return named() or ("numpy" if _extension is None else "compiled")


def version(core: Core | None = None) -> str:
    """A core, by default the one that serves, as runs record it: with the version of its kernels."""
    core = core or serving()
    return core if core == "numpy" else f"{core} {VERSION}"


def missing() -> str:
    """Why the compiled core is not there; empty where it is."""
    return _missing


def compiled() -> ModuleType | None:
    """The compiled kernels, where they serve; the kernels of numpy ask here whether they hand on their work."""
    return _extension if serving() == "compiled" else None


def choose(core: str | None) -> None:
    """Name the core for this process; None leaves it open.

    Raises
    ------
    SimtrialError
        When there is no such core, or not here.
    """
    global _chosen
    _chosen = None if core is None else checked(core, "--core")


@contextmanager
def using(core: str | None) -> Iterator[None]:
    """Name the core for some work; None leaves the choice as it is."""
    before = _here.set(_here.get() if core is None else checked(core, "core"))
    try:
        yield
    finally:
        _here.reset(before)


def going_on(begun: str, where: object) -> Core:
    """The core that goes on with a run, which was ``begun`` with one as `version` writes it: that, unless one is asked.

    Raises
    ------
    RunError
        When it is not here, and the user has not named another.
    """
    if named() is None:
        name = begun.partition(" ")[0]
        if not _is_core(name) or version(name) != begun or (name == "compiled" and _missing):
            why = _missing if name == "compiled" and _missing else f"here is {version()}"
            raise RunError(
                f"{where}: begun with core {begun}, which is not here ({why}); --core numpy goes on with numpy: "
                "its rows agree with the others but for rounding"
            )
        return name
    return serving()


def checked(core: str, where: str) -> Core:
    """Return the name of a core that is there; ``where`` is where it was named."""
    if not _is_core(core):
        raise SimtrialError(f"{where}: {unknown('core', core, CORES)}")
    if core == "compiled" and _missing:
        raise SimtrialError(
            f"{where} compiled: {_missing}; the other one is numpy (simtrial doctor shows which serves)"
        )
    return core


def _is_core(name: str) -> TypeGuard[Core]:
    return name in CORES


def _from_environment() -> Core | None:
    core = os.environ.get(VARIABLE)
    return checked(core, VARIABLE) if core else None
