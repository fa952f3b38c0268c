"""Outcomes: one file for each, and the parts they are made of."""
