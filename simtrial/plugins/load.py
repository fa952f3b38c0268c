"""Modules of one's own that register methods and generators; loaded only when named."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
import types
from collections.abc import Sequence
from pathlib import Path

from simtrial.errors import SimtrialError, in_words
from simtrial.plugins.source import digest_of_source


def load_plugins(names: Sequence[str]) -> list[dict[str, str]]:
    """Import modules that register methods or generators: ``package.module``, or the path of a .py file.

    Returns
    -------
    records
        Name, file and SHA-256 of the source of each, to be kept with the run.
    """
    records = []
    for name in names:
        if not name.endswith(".py") and not all(part.isidentifier() for part in name.split(".")):
            raise SimtrialError(f"--plugin '{name}': give package.module on the path, or a .py file")
        try:
            module = _from_file(Path(name)) if name.endswith(".py") else _from_path(name)
        except ModuleNotFoundError as error:
            missing = f"no module '{error.name}'"
            if f"{name}.".startswith(f"{error.name}."):
                message = f"--plugin {name}: {missing}; give package.module on the path, or a .py file"
            else:
                message = f"--plugin {name}: it imports what is not there: {missing}"
            raise SimtrialError(message) from None
        except SimtrialError as error:
            raise SimtrialError(f"--plugin {name}: {str(error).removeprefix(f'--plugin {name}: ')}") from error
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # sys.exit of a plug-in is none of this program
            raise SimtrialError(f"--plugin {name}: import failed: {in_words(error)}") from error
        file = Path(str(module.__file__)).resolve()
        source = digest_of_source(file, "" if name.endswith(".py") else name)
        records.append({"name": name, "file": str(file), "sha256": source})
        _loaded[source] = module.__name__
    return records


_loaded: dict[str, str] = {}
"""Modules of the plug-ins that this process has loaded, by the digest of their source."""


def is_loaded(source: str) -> bool:
    """Whether this process has loaded a plug-in of this source, from wherever."""
    return _loaded.get(source) in sys.modules


def loaded_files() -> list[Path]:
    """Files of the plug-ins that this process has loaded."""
    return [Path(str(sys.modules[name].__file__)) for name in _loaded.values() if name in sys.modules]


def _from_path(name: str) -> types.ModuleType:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    return importlib.import_module(name)


def _from_file(file: Path) -> types.ModuleType:
    if not file.is_file():
        raise SimtrialError(f"--plugin {file}: {'is a folder' if file.is_dir() else 'no such file'}")
    path = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:12]  # two folders may have files of one name
    name = f"simtrial_plugin_{file.stem}_{path}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
