"""Batched numerics on plain arrays; trials (or practices) run along the last axis."""
