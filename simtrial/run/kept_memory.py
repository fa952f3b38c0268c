"""Memory that one block frees and the next one takes again."""

from __future__ import annotations

import ctypes
import gc
import sys
from contextlib import suppress

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Names of settings of glibc's mallopt."""

BETWEEN_LOOKS = 20_000
"""Objects made, less those freed, before Python looks for some that only refer to each other; 700 otherwise."""


def keep_freed_memory() -> None:
    """Let the C library keep up to 64 MB that were freed, in place of returning them after each array (glibc alone).

    A block takes and frees the same few megabytes again and again; each time they come back from the system page by
    page, at a tenth of the time of a block. Objects that refer to each other, which a block hardly makes, are looked
    for seldom. For processes of our own: workers, and the command line.
    """
    gc.set_threshold(BETWEEN_LOOKS, *gc.get_threshold()[1:])
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(TRIM_THRESHOLD, 64 * 2**20)
            mallopt(MMAP_THRESHOLD, 32 * 2**20)
