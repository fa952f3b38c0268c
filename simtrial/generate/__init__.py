"""The life of a trial as a fold of steps: each reads columns, draws from its own stream, and adds columns."""

from __future__ import annotations

from simtrial.generate.mechanism import added, before_allocation, drawing_order, drawn_for, variables
from simtrial.generate.simulate import after, nobody, practices_per_trial, simulate
from simtrial.generate.stages import REQUIRED, STAGES, steps
from simtrial.generate.step import Drawn, EstimandOptions, Generator, Mechanism, Step, Variable, expression_problems

__all__ = [
    "REQUIRED",
    "STAGES",
    "Drawn",
    "EstimandOptions",
    "Generator",
    "Mechanism",
    "Step",
    "Variable",
    "added",
    "after",
    "before_allocation",
    "drawing_order",
    "drawn_for",
    "expression_problems",
    "nobody",
    "practices_per_trial",
    "simulate",
    "steps",
    "variables",
]
