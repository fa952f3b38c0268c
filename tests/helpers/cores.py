"""Tests that want the compiled kernels are skipped, with the reason, where these are not installed."""

import pytest

from simtrial import core

needs_compiled = pytest.mark.skipif(bool(core.missing()), reason=f"no compiled kernels: {core.missing()}")
