"""Dense twins: every estimator again, from textbook formulas with whole matrices, sharing no code with the kernels."""
