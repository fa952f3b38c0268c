"""Sums by practice that methods share: rows and columns of an analysis, and its sufficient statistics."""
