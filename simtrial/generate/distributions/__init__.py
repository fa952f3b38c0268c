"""Distributions that several stages draw from."""
