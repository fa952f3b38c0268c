"""The mixture of compliers and never-takers: a dense likelihood climbed from where the product ended."""

import numpy as np
from scipy import optimize

from simtrial.flags import text
from twins.adherence import _basis
from twins.frame import Frame, Said, refused

POINTS, SHARPEST = 320, 12  # of v in -8 to 8, and as many times more at most where practices tell their effect sharply
EXACT, NEAR = 1e-5, 0.05  # of the log-likelihood, and standard errors of the effect
CLOSE = 5e-3
LARGE = 300


class Likelihood:
    """Minus the log-likelihood and its gradient: mixtures multiplied over a practice, then summed over points of v.

    Parameters are the means of compliers and never-takers in control, the effects on either (on never-takers if free),
    slopes, tau, log sigma and the coefficients of being a complier.
    """

    def __init__(self, made: Frame, adjust, predictors, taken, exclusion, scale, times):
        self.v = np.linspace(-8.0, 8.0, POINTS * times + 1)
        self.phi = np.exp(-0.5 * self.v**2) / np.sqrt(2 * np.pi) * (self.v[1] - self.v[0])
        arm = made.arm == 1
        x, z = _basis(made, adjust, False)[:, 1:], _basis(made, predictors, False)
        one, zero = np.ones((made.people, 1)), np.zeros((made.people, 1))
        effect = arm[:, None] * 1.0
        never = [] if exclusion else [effect]
        self.first = np.hstack([one, zero, effect, *(0 * e for e in never), x])
        self.other = np.hstack([zero, one, zero, *never, x])
        self.z, self.y, self.groups = z, made.outcome.astype(float) / scale, made.groups
        self.may = np.where(arm, taken, True), np.where(arm, ~taken, True)
        self.p, self.size = self.first.shape[1], self.first.shape[1] + 2 + z.shape[1]

    def __call__(self, parameters):
        beta, tau, sigma = parameters[: self.p], parameters[self.p], np.exp(parameters[self.p + 1])
        prior = 1 / (1 + np.exp(-self.z @ parameters[self.p + 2 :]))
        with np.errstate(divide="ignore", over="ignore", under="ignore"):
            left = [(self.y - x @ beta)[:, None] - tau * self.v for x in (self.first, self.other)]
            log = [
                np.where(may, np.log(share), -np.inf)[:, None] - 0.5 * (r / sigma) ** 2
                for may, share, r in zip(self.may, (prior, 1 - prior), left, strict=True)
            ]
            both = np.logaddexp(*log)
            chance = [np.exp(one - both) for one in log]
        total, posterior = 0.0, np.empty_like(both)
        for g in self.groups:
            height = both[g].sum(axis=0)
            top = height.max()
            own = np.exp(height - top) * self.phi
            total += top + np.log(own.sum())
            posterior[g] = own / own.sum()
        total -= len(self.y) * (np.log(sigma) + 0.5 * np.log(2 * np.pi))
        weight = [posterior * c for c in chance]
        gradient = np.zeros(self.size)
        for w, r, x in zip(weight, left, (self.first, self.other), strict=True):
            gradient[: self.p] += x.T @ (w * r).sum(axis=1) / sigma**2
            gradient[self.p] += (w * r * self.v).sum() / sigma**2
            gradient[self.p + 1] += (w * ((r / sigma) ** 2 - 1)).sum()
        gradient[self.p + 2 :] = self.z.T @ (weight[0].sum(axis=1) - prior)
        return -total, -gradient

    def climbed(self, start, free):
        """The minimum over some parameters from a start."""
        at = start.copy()

        def criterion(values):
            at[free] = values
            value, gradient = self(at)
            return value, gradient[free]

        def curvature(values):
            at[free] = values
            return self.hessian(at, free)

        options = {"gtol": 1e-7, "maxiter": 60}
        found = optimize.minimize(
            criterion, start[free], jac=True, hess=curvature, method="trust-exact", options=options
        )
        at[free] = found.x
        return at, found.fun

    def hessian(self, at, free):
        """Central differences of the gradient."""
        step, rows = 1e-5, []
        for k in free:
            up, down = at.copy(), at.copy()
            up[k], down[k] = up[k] + step, down[k] - step
            rows.append((self(up)[1] - self(down)[1])[free] / (2 * step))
        return (np.array(rows) + np.array(rows).T) / 2


def mixture(made: Frame, data, adjust, predictors, receipt, found, trial, exclusion=True, df="clusters-p", **_) -> Said:
    """What a dense likelihood makes of the product's maximum; none is sought where it has none."""
    if made.refusal or made.grey:
        return refused(made)
    arm, taken = made.arm == 1, receipt[made.rows] == 1
    if (taken & ~arm).any():
        return Said(refusal="receipt_in_control")
    if not (taken & arm).any() or not (~taken & arm).any():
        return Said(refusal="one_stratum")
    left = made.clusters - {"clusters-2": 2, "normal": -np.inf}.get(df, made.cluster_rank)
    if left <= 0:
        return Said(refusal="tau2_not_identified")
    flags = set(text(int(found.flags[trial])).split(";"))
    if found.failed[trial]:
        odd = flags & {"collapsed", "not_converged"}
        return (
            Said(grey=f"the product has no maximum: {sorted(odd)[0]}")
            if odd
            else Said(estimate=0.0, std_error=1.0, df=1.0)
        )
    if "separation" in flags:
        return Said(grey="classes are separated")
    extras = {name: float(values[trial]) for name, values in found.extras.items()}
    scale = float(np.sqrt((made.outcome.astype(float) ** 2).mean()))
    if made.people > LARGE:
        return Said(grey="a dense likelihood of so many people takes long")
    sharp = int(np.ceil(np.sqrt(extras["tau2"] / extras["sigma2"] * made.sizes.max()) / 3)) or 1
    if sharp > SHARPEST:
        return Said(grey="practices tell their effect too sharply for a dense grid")
    likelihood = Likelihood(made, adjust, predictors, taken, exclusion, scale, sharp)
    start, p = np.zeros(likelihood.size), likelihood.p
    start[1] = likelihood.y[~taken & arm].mean() - (0.0 if exclusion else extras["never_taker_effect"] / scale)
    start[0] = start[1] + extras["class_difference"] / scale
    start[2] = found.estimate[0, trial] / scale
    if not exclusion:
        start[3] = extras["never_taker_effect"] / scale
    start[p], start[p + 1] = np.sqrt(extras["tau2"]) / scale, 0.5 * np.log(extras["sigma2"]) - np.log(scale)
    start[p + 2] = np.log(taken.sum() / (arm & ~taken).sum()) / likelihood.z[0, 0]
    free = [k for k in range(likelihood.size) if k != p or made.sizes.max() > 1]
    loose = [0, 1, *range(4 - exclusion, p), *range(p + 2, likelihood.size)]
    peak = _nearest(likelihood, start, loose, free, -extras["loglik"] - made.people * np.log(scale))
    if peak is None:
        return Said(grey="no start of the twin ends")
    at, fun = peak
    with np.errstate(all="ignore"):
        covariance = np.linalg.pinv(likelihood.hessian(at, free))
    error = np.sqrt(covariance[2, 2])
    theirs = -fun - made.people * np.log(scale)
    if abs(theirs - extras["loglik"]) > EXACT * (1 + abs(theirs)):
        near = abs(at[2] - start[2]) < NEAR * error
        word = (
            "another likelihood" if near else "another maximum " + ("above" if theirs > extras["loglik"] else "below")
        )
        return Said(refusal=f"{word}: {theirs:.8g}, not {extras['loglik']:.8g}", grey="" if near else word)
    return Said(at[2] * scale, error * scale, float(left), tolerance=CLOSE, df_tolerance=1e-12)


def _nearest(likelihood, start, loose, free, wanted):
    """The minimum nearest in height to that of the product: parameters it does not report may begin elsewhere."""
    rng, best = np.random.default_rng(3), None
    for trial in range(8):
        begin = start.copy()
        if trial:
            begin[loose[2:]] += rng.normal(0, 1.0, len(loose) - 2)
        try:
            with np.errstate(all="ignore"):
                at, _ = likelihood.climbed(begin, loose)
                at, fun = likelihood.climbed(at, free)
        except ValueError:  # a step to where there is no likelihood
            continue
        if best is None or abs(fun - wanted) < abs(best[1] - wanted):
            best = at, fun
        if abs(best[1] - wanted) < EXACT:
            break
    return best
