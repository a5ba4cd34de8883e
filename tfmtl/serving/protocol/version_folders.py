"""Which folders of a base path are versions."""

import re
from pathlib import Path

MAX_VERSION = 2**63 - 1
_NUMBER = re.compile(r"([+-]?)0*([0-9]{1,19})")  # not more: Python refuses to read endless numbers


def parse_version(name: str) -> int | None:
    """The version that a folder's name spells: a decimal int64, signs and leading zeros allowed; else None."""
    match = _NUMBER.fullmatch(name)
    if match is None:
        return None
    version = int(match[1] + match[2])
    return version if -MAX_VERSION - 1 <= version <= MAX_VERSION else None


def versions(base: Path) -> dict[int, Path]:
    """The version folders under `base` by number, lowest first, as TensorFlow Serving reads their names."""
    found: dict[int, Path] = {}
    for child in sorted(base.iterdir()) if base.is_dir() else ():
        version = parse_version(child.name)
        if version is not None:
            found.setdefault(version, child)
    return dict(sorted(found.items()))
