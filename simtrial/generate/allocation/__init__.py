"""Allocation of practices to arms, scheme by scheme."""
