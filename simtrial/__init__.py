"""simtrial: synthetic cluster-randomised trials and a test bench for their estimators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from simtrial.batch import ObservedBatch as ObservedBatch
    from simtrial.data_sets import fit as fit
    from simtrial.errors import SimtrialError as SimtrialError
    from simtrial.estimators import Estimates as Estimates
    from simtrial.estimators import Method as Method
    from simtrial.estimators import register as register
    from simtrial.estimators.imputation.engine import ImputationEngine as ImputationEngine
    from simtrial.estimators.imputation.engine import register_imputation as register_imputation
    from simtrial.generate.generators import Drawn as Drawn
    from simtrial.generate.generators import Generator as Generator
    from simtrial.generate.generators import Variable as Variable
    from simtrial.generate.generators import register_generator as register_generator
    from simtrial.plugins.plain_methods import plain_method as plain_method
    from simtrial.result import Result as Result
    from simtrial.result import open as open
    from simtrial.result import read as read
    from simtrial.study import Study as Study
    from simtrial.study import load as load

_HOMES = {
    "load": "simtrial.study",
    "open": "simtrial.result",
    "read": "simtrial.result",
    "fit": "simtrial.data_sets",
    "Study": "simtrial.study",
    "Result": "simtrial.result",
    "SimtrialError": "simtrial.errors",
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
"""Public names, and the module that each is imported from when it is first used."""

__all__ = [name for name in _HOMES if name != "open"]  # a star is not to hide Python's own


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that importing simtrial costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'simtrial' has no attribute '{name}'")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return found


def __dir__() -> list[str]:
    """Public names."""
    return sorted([*_HOMES, "__version__"])
