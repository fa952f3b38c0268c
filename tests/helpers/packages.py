"""Measures as rsimsum and simhelpers name them: our name, and what theirs is multiplied by."""

RSIMSUM = {
    "nsim": ("n_estimates", 1.0),
    "thetamean": ("mean_estimate", 1.0),
    "thetamedian": ("median_estimate", 1.0),
    "bias": ("bias", 1.0),
    "rbias": ("relative_bias", 100.0),  # theirs a proportion
    "empse": ("empirical_se", 1.0),
    "mse": ("mse", 1.0),
    "relprec": ("relative_precision", 1.0),
    "modelse": ("model_se", 1.0),
    "relerror": ("relative_error_model_se", 1.0),
    "cover": ("coverage", 1.0),
    "becover": ("bias_eliminated_coverage", 1.0),
    "power": ("rejection_rate", 1.0),
}
SIMHELPERS = {
    "bias": ("bias", 1.0),
    "var": ("variance", 1.0),
    "stddev": ("empirical_se", 1.0),
    "rmse": ("rmse", 1.0),
    "rel_bias_var": ("relative_bias_variance", 100.0),
    "rel_mse_var": ("relative_mse_variance", 1.0),
    "coverage": ("coverage", 1.0),
    "width": ("mean_width", 1.0),
    "rej_rate": ("rejection_rate", 1.0),
}
