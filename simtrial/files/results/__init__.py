"""Columns of results made elsewhere: which is which, and their values."""
