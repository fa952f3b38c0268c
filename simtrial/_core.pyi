"""The compiled kernels: arguments as of their twins in `simtrial.kernels`, then the arrays that they fill."""

VERSION: int
