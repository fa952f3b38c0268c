"""Results of a run for R, Stata and spreadsheets: one row per replicate, method and estimand, scripts, a codebook."""
