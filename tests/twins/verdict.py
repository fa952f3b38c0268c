"""Whether product and twin agree on one trial: equal, both refuse, not comparable (grey), or different."""

from dataclasses import dataclass

import numpy as np

from twins.frame import Said

EQUAL, REFUSED, ALLOWED, GREY, DIFFERENT = "equal", "both refuse", "refused where allowed", "grey", "different"
TOO_LOOSE = 1e-2  # a tolerance beyond which nothing is compared


@dataclass(frozen=True)
class Verdict:
    """What came of one comparison, and why."""

    verdict: str
    why: str = ""


def judged(found, trial: int, said: Said) -> Verdict:
    """Compare the target row of trial number ``trial`` with what the twin says of it."""
    failed = bool(found.failed[trial])
    if said.grey:
        return Verdict(GREY, said.grey)
    nothing = bool(said.refusal) or not np.isfinite([said.estimate, said.std_error]).all() or not said.df > 0
    if failed and nothing:
        return Verdict(REFUSED, said.refusal)
    if failed and said.either:
        return Verdict(ALLOWED, said.either)
    if failed:
        return Verdict(DIFFERENT, f"product refuses, twin has {said.estimate:.10g} ({said.std_error:.10g})")
    if nothing:
        numbers = f"{found.estimate[0, trial]:.10g} ({found.std_error[0, trial]:.10g})"
        if said.either:
            return Verdict(DIFFERENT, f"twin refuses ({said.refusal or said.either}), product has {numbers}")
        return Verdict(DIFFERENT, f"twin refuses ({said.refusal or 'no error or df'}), product has {numbers}")
    if said.std_error == 0.0 and said.either:
        return Verdict(GREY, f"the twin's error is lost in rounding: {said.either}")
    if said.tolerance > TOO_LOOSE:
        return Verdict(GREY, f"tolerance {said.tolerance:.0e}")
    return _numbers(found, trial, said)


def _numbers(found, trial, said):
    estimate, error, df = (float(getattr(found, n)[0, trial]) for n in ("estimate", "std_error", "df"))
    if said.std_error <= 1e-12 * abs(said.estimate) and error <= 1e-7 * abs(said.estimate):
        return Verdict(GREY, "error is rounding of the estimate")
    checks = {
        "estimate": (abs(estimate - said.estimate) / said.std_error, said.tolerance),
        "std_error": (abs(error / said.std_error - 1.0), said.tolerance),
        "df": (_apart(df, said.df), max(said.df_tolerance, 1e-12)),
    }
    for name, value in said.extras.items():
        if name in ("alpha", "sigma2") and name in found.extras:
            apart = abs(float(found.extras[name][trial]) - value) / (1 if name == "alpha" else value)
            checks[name] = (apart, 100 * said.tolerance + 1e-9)
        if name == "first_stage_f" and value < 1e8:
            checks[name] = (_apart(float(found.extras[name][trial]), value), 100 * said.tolerance + 1e-9)
    if said.p_value is not None:
        checks["p_value"] = (abs(float(found.p_value[0, trial]) - said.p_value), 10 * said.tolerance + 1e-12)
    if said.ends is not None:
        ends = float(found.ci_lower[0, trial]), float(found.ci_upper[0, trial])
        for name, mine, theirs in zip(("ci_lower", "ci_upper"), ends, said.ends, strict=True):
            same = mine == theirs or (
                np.isfinite(mine) and abs(mine - theirs) <= 10 * said.tolerance * _unit(said, theirs)
            )
            checks[name] = (0.0 if same else abs(mine - theirs) / said.std_error, 1e-300)
    wrong = {name: gap for name, (gap, tolerance) in checks.items() if not gap <= tolerance}
    if not wrong:
        return Verdict(EQUAL)
    told = ", ".join(f"{name} off by {gap:.2g} (allowed {checks[name][1]:.1g})" for name, gap in wrong.items())
    both = f"product {estimate:.10g} ({error:.10g}, df {df:.8g}), twin {said.estimate:.10g} "
    return Verdict(DIFFERENT, f"{told}; {both}({said.std_error:.10g}, df {said.df:.8g})")


def _unit(said, end):
    return max(said.std_error, abs(end - said.estimate))


def _apart(one, other):
    if np.isinf(one) and np.isinf(other):
        return 0.0
    return abs(one / other - 1.0) if other else abs(one)
