"""Likelihood of a mixture of two classes of people that share a practice effect, with its first two derivatives.

Person i of practice j belongs to class 1 with probability expit(z_i'g), and to class 0 otherwise. Given the class c,
y_i = d_ic'b + tau v_j + e_i with v_j ~ N(0, 1) and e_i ~ N(0, sigma^2). Where the class is known the likelihood is that
of the class and of a random-intercept model; where it is not, people are independent mixtures given v_j, and v_j is
integrated out by Gauss-Hermite quadrature, centred and scaled for every practice.

With s the complete-data score, H minus its derivative, and E and Var over classes and v given the data, the score is
E s (Fisher), the observed information E H - Var s (Louis 1982, doi:10.1111/j.2517-6161.1982.tb01203.x).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import ModuleType

import numpy as np

from simtrial.arrays import Floats, Ints, in_order
from simtrial.core import compiled
from simtrial.kernels.segments import sum_by

KNOWN_NODES = 3  # of a normal posterior: exact for the fourth powers that the variance of a score has


@dataclass(frozen=True, kw_only=True)
class People:
    """People of whom all classes are known, or none: rows of a practice stand together, practices of a trial too.

    Attributes
    ----------
    outcome, first, other
        y (rows,), and the designs d_1 and d_0 (rows, p).
    predictors
        z (rows, q).
    in_first
        Class 1 or 0 (rows,) where known, else None.
    trial, practice
        Trial of a row, and its practice, numbered from 0 (rows,).
    practice_trial, sizes
        Trial and people of every practice (practices,).
    """

    outcome: Floats
    first: Floats
    other: Floats
    predictors: Floats
    in_first: Floats | None
    trial: Ints
    practice: Ints
    practice_trial: Ints
    sizes: Floats

    def take(self, chosen: Ints) -> People:
        """Some of the trials, numbered in the order of ``chosen``, which rises."""
        place = np.full(max(int(self.trial.max(initial=-1)), int(chosen.max(initial=-1))) + 1, -1)
        place[chosen] = np.arange(len(chosen))
        rows, practices = place[self.trial] >= 0, place[self.practice_trial] >= 0
        return People(
            outcome=self.outcome[rows], first=self.first[rows], other=self.other[rows],
            predictors=self.predictors[rows], in_first=None if self.in_first is None else self.in_first[rows],
            trial=place[self.trial[rows]], practice=(np.cumsum(practices) - 1)[self.practice[rows]],
            practice_trial=place[self.practice_trial[practices]], sizes=self.sizes[practices],
        )  # fmt: skip


@dataclass(frozen=True)
class Point:
    """Log-likelihood (trials,), score (trials, P), E H and Var s (trials, P, P); P numbers b, tau, log sigma, g."""

    loglik: Floats
    score: Floats
    complete: Floats
    missing: Floats

    def __add__(self, more: Point) -> Point:
        return Point(*(own + other for own, other in zip(vars(self).values(), vars(more).values(), strict=True)))


def point(people: People, at: Floats, nodes: int, derivatives: bool = True) -> Point:
    """Likelihood and its derivatives at parameters ``at`` (trials, P); without ``derivatives`` these are 0."""
    if (core := compiled()) is not None:  # here and nowhere else simtrial/core/two_classes_kernel.c takes over
        return _compiled(core, people, at, nodes, derivatives)
    given = _Given.of(people, at, nodes if people.in_first is None else KNOWN_NODES)
    trials, size = at.shape
    loglik = sum_by(given.loglik, people.practice_trial, trials)
    if not derivatives:
        return Point(loglik, np.zeros((trials, size)), *np.zeros((2, trials, size, size)))
    score, between = _of_practices(people, given)
    return Point(
        loglik=loglik,
        score=_by(score, people.practice_trial, trials),
        complete=_complete(people, given, _by(score, people.practice_trial, trials)),
        missing=_by(between, people.practice_trial, trials) + _of_people(people, given),
    )


def _compiled(core: ModuleType, people: People, at: Floats, nodes: int, derivatives: bool) -> Point:
    """The same by the compiled kernel."""
    (trials, size), known = at.shape, people.in_first is not None
    found = Point(np.empty(trials), np.empty((trials, size)), *np.empty((2, trials, size, size)))
    in_first = np.empty(0) if people.in_first is None else people.in_first
    core.point_of_classes(
        *in_order(people.outcome, people.first, people.other, people.predictors, in_first),
        *(np.ascontiguousarray(values, np.int64) for values in (people.practice_trial, people.sizes)),
        *in_order(at, *_quadrature(KNOWN_NODES if known else nodes)), derivatives, *vars(found).values(),
    )  # fmt: skip
    return found


@cache
def _quadrature(nodes: int) -> tuple[Floats, Floats]:
    """Nodes and logarithms of the weights of Gauss-Hermite quadrature for a normal variable."""
    x, w = np.polynomial.hermite_e.hermegauss(nodes)
    return x, np.log(w)


@dataclass(frozen=True, kw_only=True)
class _Given:
    """What holds at a parameter: residuals by class, probabilities of class 1, nodes v and their weights.

    ``prior``, ``one``, ``two`` (rows,): expit(z'g), and residuals in class 1 and 0 without the practice effect;
    ``node``, ``share`` (practices, K); ``first`` P(class 1 | y, v) (rows, K); ``tau``, ``sigma`` (rows,).
    """

    loglik: Floats
    prior: Floats
    one: Floats
    two: Floats
    node: Floats
    share: Floats
    first: Floats
    tau: Floats
    sigma: Floats
    trials: int

    @classmethod
    def of(cls, people: People, at: Floats, nodes: int) -> _Given:
        """Take these parameters for given; ``nodes`` points of the practice effect."""
        p, q = people.first.shape[1], people.predictors.shape[1]
        trial = people.trial
        beta, tau, sigma = at[:, :p], at[:, p], np.exp(at[:, p + 1])
        slope = at[:, p + 2 :]
        one = people.outcome - (people.first * beta[trial]).sum(axis=1)
        two = people.outcome - (people.other * beta[trial]).sum(axis=1)
        line = (people.predictors * slope[trial]).sum(axis=1) if q else np.zeros(len(trial))
        log_first = -np.logaddexp(0.0, -line)
        prior = np.exp(log_first)
        known = people.in_first
        expected = prior if known is None else known
        blur = 0.0 if known is not None else prior * (1.0 - prior) * (one - two) ** 2
        node, weight = _nodes(
            people, expected * one + (1.0 - expected) * two, blur * np.ones(len(trial)), tau, sigma, nodes
        )
        t, s = tau[trial], sigma[trial]
        shift = t[:, None] * node[people.practice]
        halved = -0.5 / s[:, None] ** 2
        if known is None:
            first_log = log_first[:, None] + halved * (one[:, None] - shift) ** 2
            odds = line[:, None] + halved * (one - two)[:, None] * ((one + two)[:, None] - 2.0 * shift)
            less = np.exp(-np.abs(odds))
            terms = first_log + np.log1p(less) + np.maximum(-odds, 0.0)
            first = np.where(odds > 0, 1.0, less) / (1.0 + less)
        else:
            own = np.where(known == 1, one, two)
            terms = np.where(known == 1, log_first, log_first - line)[:, None] + halved * (own[:, None] - shift) ** 2
            first = np.broadcast_to(known[:, None], terms.shape)
        terms = terms - (np.log(s) + 0.5 * np.log(2.0 * np.pi))[:, None]
        whole = _within(terms, people) + weight
        top = whole.max(axis=1)
        share = np.exp(whole - top[:, None])
        total = share.sum(axis=1)
        return cls(
            loglik=top + np.log(total), prior=prior, one=one, two=two, node=node, share=share / total[:, None],
            first=first, tau=t, sigma=s, trials=len(at),
        )  # fmt: skip


def _nodes(
    people: People, residual: Floats, blur: Floats, tau: Floats, sigma: Floats, nodes: int
) -> tuple[Floats, Floats]:
    """Nodes and log weights (practices, K) about the posterior of v were the mixture normal; exact if it is."""
    x, log_weight = _quadrature(nodes)
    t = tau[people.practice_trial]
    spread = sigma[people.practice_trial] ** 2 + _within(blur, people) / people.sizes
    whole = spread + people.sizes * t**2
    centre, sd = t * _within(residual, people) / whole, np.sqrt(spread / whole)
    node = centre[:, None] + sd[:, None] * x
    weight = log_weight + 0.5 * x**2 + np.log(sd)[:, None] - 0.5 * node**2 - 0.5 * np.log(2.0 * np.pi)
    return node, weight


def _within(values: Floats, people: People) -> Floats:
    """Sum over the people of every practice (practices, ...)."""
    if not len(values):
        return np.zeros((0, *values.shape[1:]))
    first = np.concatenate([[0], np.cumsum(people.sizes)[:-1]]).astype(np.intp)
    return np.asarray(np.add.reduceat(values, first, axis=0))


def _by(values: Floats, group: Ints, groups: int) -> Floats:
    """Sum over the first axis by group (groups, ...); groups stand together."""
    out = np.zeros((groups, *values.shape[1:]))
    if len(values):
        first = np.flatnonzero(np.diff(group, prepend=-1))
        out[group[first]] = np.add.reduceat(values, first, axis=0)
    return out


def _of_practices(people: People, given: _Given) -> tuple[Floats, Floats]:
    """Expected score of every practice (practices, P), and its variance over v (practices, P, P)."""
    rows, size = people.practice, people.first.shape[1] + 2 + people.predictors.shape[1]
    p, (practices, nodes) = people.first.shape[1], given.node.shape
    shift = given.tau[:, None] * given.node[rows]
    square = given.sigma[:, None] ** 2
    own = given.first * (given.one[:, None] - shift) / square
    rest = (1.0 - given.first) * (given.two[:, None] - shift) / square
    each = np.empty((practices, size, nodes))
    for k in range(p):
        each[:, k] = _within(people.first[:, k, None] * own + people.other[:, k, None] * rest, people)
    each[:, p] = given.node * _within(own + rest, people)
    each[:, p + 1] = _within(own * (given.one[:, None] - shift) + rest * (given.two[:, None] - shift), people)
    each[:, p + 1] -= people.sizes[:, None]
    apart = given.first - given.prior[:, None]
    for k in range(people.predictors.shape[1]):
        each[:, p + 2 + k] = _within(people.predictors[:, k, None] * apart, people)
    mean = (each * given.share[:, None]).sum(axis=2)
    away = each - mean[:, :, None]
    return mean, (away * given.share[:, None]) @ away.transpose(0, 2, 1)


def _of_people(people: People, given: _Given) -> Floats:
    """Variance over classes of everybody's score, expected over v (trials, P, P); none where the class is known.

    The scores of the two classes differ by a + b v, so it sums a (m_0 a + m_1 b)' + b (m_1 a + m_2 b)' with m_k the
    expectation of v^k P(class 1) P(class 0).
    """
    p, q = people.first.shape[1], people.predictors.shape[1]
    size, square = p + 2 + q, given.sigma[:, None] ** 2
    if people.in_first is not None:
        return np.zeros((given.trials, size, size))
    doubt = given.share[people.practice] * given.first * (1.0 - given.first)
    node = given.node[people.practice]
    some = doubt * node
    moments = [values.sum(axis=1)[:, None] for values in (doubt, some, some * node)]
    apart = (given.one - given.two)[:, None] / square
    ends = np.zeros((2, len(people.outcome), size))
    a, b = ends
    a[:, :p] = (people.first * given.one[:, None] - people.other * given.two[:, None]) / square
    b[:, :p] = (people.other - people.first) * (given.tau[:, None] / square)
    b[:, p : p + 1] = apart
    a[:, p + 1 : p + 2] = apart * (given.one + given.two)[:, None]
    b[:, p + 1 : p + 2] = -2.0 * given.tau[:, None] * apart
    a[:, p + 2 :] = people.predictors
    weighted = np.stack([moments[0] * a + moments[1] * b, moments[1] * a + moments[2] * b])
    return _crossed(ends, weighted, people.trial, given.trials)


def _crossed(left: Floats, right: Floats, trial: Ints, trials: int) -> Floats:
    """Sum over rows of left right' by trial: (k, rows, P) each -> (trials, P, P)."""
    count = np.bincount(trial, minlength=trials)
    place = np.arange(len(trial)) - (np.cumsum(count) - count)[trial]
    beside = np.zeros((2, trials, len(left) * int(count.max(initial=1)), left.shape[2]))
    for k in range(len(left)):
        beside[0, trial, place * len(left) + k] = left[k]
        beside[1, trial, place * len(left) + k] = right[k]
    return np.asarray(beside[0].transpose(0, 2, 1) @ beside[1])


def _complete(people: People, given: _Given, score: Floats) -> Floats:
    """Expected complete-data information (trials, P, P)."""
    p, trial = people.first.shape[1], people.trial
    share, node = given.share[people.practice], given.node[people.practice]
    first, moved = (share * given.first).sum(axis=1), (share * given.first * node).sum(axis=1)
    mean = (share * node).sum(axis=1)
    one, other = people.first, people.other
    inverse = 1.0 / given.sigma**2
    out = np.zeros((given.trials, p + 2 + people.predictors.shape[1], p + 2 + people.predictors.shape[1]))

    def summed(values: Floats) -> Floats:
        return _by(values, trial, given.trials)

    weighted = np.stack([(first * inverse)[:, None] * one, ((1.0 - first) * inverse)[:, None] * other])
    out[:, :p, :p] = _crossed(np.stack([one, other]), weighted, trial, given.trials)
    out[:, :p, p] = summed((moved * inverse)[:, None] * one + ((mean - moved) * inverse)[:, None] * other)
    out[:, p, p] = summed((share * node**2).sum(axis=1) * inverse)
    out[:, : p + 1, p + 1] = 2.0 * score[:, : p + 1]
    out[:, p + 1, p + 1] = 2.0 * (score[:, p + 1] + summed(np.ones(len(trial))))
    lower = np.tril_indices(p + 2, -1)
    out[:, lower[0], lower[1]] = out[:, lower[1], lower[0]]
    spread = given.prior * (1.0 - given.prior)
    z = people.predictors
    out[:, p + 2 :, p + 2 :] = _crossed(z[None], (spread[:, None] * z)[None], trial, given.trials)
    return out
