"""simtrial: synthetic cluster-randomised trials and a test bench for their estimators."""

__version__ = "0.1.0"
