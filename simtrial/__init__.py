"""simtrial: synthetic cluster-randomised trials and a test bench for their estimators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "Drawn", "Estimates", "Generator", "ImputationEngine", "Method", "ObservedBatch", "Variable", "plain_method",
    "register", "register_generator", "register_imputation",
]  # fmt: skip

if TYPE_CHECKING:
    from simtrial.batch import ObservedBatch
    from simtrial.estimators import Estimates, Method, register
    from simtrial.estimators.imputation.engine import ImputationEngine, register_imputation
    from simtrial.generate.generators import Drawn, Generator, Variable, register_generator
    from simtrial.plugins.plain_methods import plain_method

_HOMES = {
    "Drawn": "simtrial.generate.generators",
    "Generator": "simtrial.generate.generators",
    "Variable": "simtrial.generate.generators",
    "register_generator": "simtrial.generate.generators",
    "ImputationEngine": "simtrial.estimators.imputation.engine",
    "register_imputation": "simtrial.estimators.imputation.engine",
    "Estimates": "simtrial.estimators",
    "Method": "simtrial.estimators",
    "ObservedBatch": "simtrial.batch",
    "plain_method": "simtrial.plugins.plain_methods",
    "register": "simtrial.estimators",
}


def __getattr__(name: str) -> Any:
    """Import the plugin interface on first use, so that the command line starts fast."""
    if name not in _HOMES:
        raise AttributeError(f"module 'simtrial' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
