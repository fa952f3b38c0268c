"""JSON files that carry a digest of themselves, checked before they are parsed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simtrial.errors import StoreError
from simtrial.files.whole import read_bytes, write_bytes

_SEAL = re.compile(rb'\n "seal": "([0-9a-f]{64})"\n\}\n\Z')
_OPEN = b"0" * 64

REPAIR = "simtrial audit --repair removes what is damaged, and the same command makes it again"


def write_sealed(file: Path, value: Mapping[str, Any], only_first: bool = False) -> None:
    """Write an object as JSON; its last key, ``seal``, is the SHA-256 of the file with zeros in place of the seal.

    ``only_first``: leave the file alone where another process has written it.
    """
    content = (json.dumps({**value, "seal": _OPEN.decode()}, indent=1, allow_nan=False) + "\n").encode()
    write_bytes(file, content.replace(_OPEN, hashlib.sha256(content).hexdigest().encode()), only_first)


def read_sealed(file: Path) -> dict[str, Any] | None:
    """Read an object back, None where there is no file.

    Raises
    ------
    StoreError
        When the file is not as it was written.
    EnvironmentFailure
        When it cannot be read.
    """
    content = read_bytes(file)
    if content is None:
        return None
    seal = _SEAL.search(content)
    if seal is not None:
        at = seal.start(1)
        if hashlib.sha256(content[:at] + _OPEN + content[at + 64 :]).hexdigest().encode() == seal[1]:
            found: dict[str, Any] = json.loads(content)
            return found
    raise StoreError(f"{file}: damaged, its content has changed since it was written; {REPAIR}")
