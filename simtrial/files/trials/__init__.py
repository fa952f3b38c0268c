"""Columns of a data set of real trials: what methods want of them, and their values."""
