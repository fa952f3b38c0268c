"""The run directory: every file in it is named, written and read here."""
