"""Engines of `mi`: models of what is missing, and data sets completed from them."""
