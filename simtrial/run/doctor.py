"""What the machine and the installation are, and whether a trial comes out as it should."""

from __future__ import annotations

import multiprocessing
import os
import platform
import shutil
from importlib import metadata
from pathlib import Path

import numpy as np

import simtrial
from simtrial import core
from simtrial.run.block import block_rows
from simtrial.scenario import load

LIBRARIES = ("numpy", "polars", "scipy", "statsmodels", "pydantic", "click", "rich", "pandas")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")

ESTIMATE = -0.13894
"""First replicate of `partners`, analysis "primary, partial", to five digits; it changes with the generator alone."""


def findings() -> tuple[list[tuple[str, str]], bool]:
    """Facts as pairs of words, and whether a simulated trial has the estimate that it has elsewhere."""
    found = _first_estimate()
    sound = abs(found - ESTIMATE) < 1e-5
    said = f"{found:.5f}, as it should be" if sound else f"{found:.5f} in place of {ESTIMATE:.5f}: report this"
    return [
        ("simtrial", f"{simtrial.__version__} in {Path(simtrial.__file__).parent}"),
        ("Python", f"{platform.python_version()} ({platform.python_implementation()})"),
        ("system", platform.platform()),
        *((name, metadata.version(name)) for name in LIBRARIES),
        ("kernels", core.version() + (f" (compiled: {core.missing()})" if core.missing() else "")),
        ("BLAS", _blas()),
        ("cores", f"{_cores()} of {os.cpu_count()}"),
        ("memory", _memory()),
        ("disk here", f"{shutil.disk_usage('.').free / 1e9:.1f} GB free, {_writable()}"),
        ("worker processes", multiprocessing.get_all_start_methods()[-1]),
        ("threads", ", ".join(f"{name}={os.environ[name]}" for name in THREADS if name in os.environ) or "not limited"),
        ("a small trial", said),
    ], sound


def _first_estimate() -> float:
    cell = load("partners")[1][0]
    rows = block_rows(cell, 0).filter(method="primary, partial", replicate=1)
    return float(rows["estimate"][0])


def _blas() -> str:
    config = np.show_config(mode="dicts")
    blas = config["Build Dependencies"]["blas"]
    return f"{blas.get('name')} {blas.get('version')}"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.1f} GB"
    except (AttributeError, ValueError, OSError):  # not on Windows
        return "not known"


def _writable() -> str:
    return "writable" if os.access(".", os.W_OK) else "not writable"
