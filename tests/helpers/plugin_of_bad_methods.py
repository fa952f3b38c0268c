"""Registers the methods of bad_methods.py, by --plugin."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import bad_methods

bad_methods.register_all()
