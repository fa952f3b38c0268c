"""Text that a spreadsheet would take for a formula."""

FORMULA = r"^[=+\-@\t\r]"
"""How such text begins; it is written after an apostrophe."""
