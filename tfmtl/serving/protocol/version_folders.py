"""Which folders of a base path are versions."""

import logging
import re
from pathlib import Path

_log = logging.getLogger(__name__)

MAX_VERSION = 2**63 - 1
_NUMBER = re.compile(r"([+-]?)0*([0-9]{1,19})")  # not more: Python refuses to read endless numbers


def parse_version(name: str) -> int | None:
    """The version that a folder's name spells: a decimal int64, signs and leading zeros allowed; else None."""
    match = _NUMBER.fullmatch(name)
    if match is None:
        return None
    version = int(match[1] + match[2])
    return version if -MAX_VERSION - 1 <= version <= MAX_VERSION else None


def find_versions(base_path: Path) -> dict[int, Path]:
    """The versions under a base path by number, lowest first.

    Only names are looked at, as the real server does: not what the folders hold. Of two names of one number the first is
    taken.

    Raises:
        OSError: the base path cannot be listed.
    """
    found: dict[int, Path] = {}
    for child in sorted(base_path.iterdir()):
        version = parse_version(child.name)
        if version is None:
            continue
        if version in found:
            _log.warning("%s and %s are both version %d; the first is taken", found[version], child, version)
        found.setdefault(version, child)
    return dict(sorted(found.items()))


def versions(base_path: Path) -> dict[int, Path]:
    """`find_versions`, and none where there is no such folder yet."""
    return find_versions(base_path) if base_path.is_dir() else {}


def describe_base_path(base_path: Path) -> str:
    """What is on disk where versions should be, for the error of a server that waits in vain."""
    if not base_path.exists():
        return f"{base_path} does not exist"
    if not base_path.is_dir():
        return f"{base_path} is not a folder"
    names = sorted(child.name for child in base_path.iterdir())
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    if (base_path / "saved_model.pb").exists():
        return f"{base_path} is itself a version; the base path is its parent. It holds {shown}"
    return f"{base_path} holds {shown or 'nothing'}; versions are folders named by a number"
