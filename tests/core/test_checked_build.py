"""The checked build of the kernels (`make sanitize`) ends the program where an index lands outside its own array."""

import subprocess
import sys

import pytest

from simtrial import core

needs_checks = pytest.mark.skipif(not hasattr(core._extension, "_entry_of"), reason="no checked build (make sanitize)")
ENTRY = """\
import numpy as np
from simtrial import _core
block = np.arange(20.0)
print(_core._entry_of(block[4:8], block[8:], {place}))
"""


def entry(place):
    """An entry of numbers 4 to 7 of twenty, all of them in one block of memory, by a process of its own."""
    call = [sys.executable, "-c", ENTRY.format(place=place)]
    return subprocess.run(call, capture_output=True, text=True, check=False)


@needs_checks
@pytest.mark.parametrize("place", [0, 3])
def test_an_entry_inside_is_read(place):
    assert entry(place).stdout == f"{place + 4}.0\n"


@needs_checks
@pytest.mark.parametrize("place", [-1, 4, 6, 2**40])
def test_an_entry_of_another_array_is_not(place):
    found = entry(place)
    assert found.returncode != 0
    assert found.stdout == ""
    assert f"numbers: entries from {place}, 1 of them, are beyond the argument" in found.stderr
