"""Practices of a trial: how many, how large, what they are like, and whom they screen and recruit."""
