"""Which version folders a base path holds, and which of them a policy wants."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tfmtl.serving.protocol.version_folders import parse_version

_log = logging.getLogger(__name__)


class Policy(Protocol):
    """Chooses the versions to serve among those on disk."""

    def select(self, found: Mapping[int, Path]) -> dict[int, Path]:
        """The part of `found` to serve."""


@dataclass(frozen=True)
class Latest:
    """The `num_versions` highest versions."""

    num_versions: int = 1

    def select(self, found: Mapping[int, Path]) -> dict[int, Path]:
        """The highest numbers."""
        return {version: found[version] for version in sorted(found)[-self.num_versions :]}


@dataclass(frozen=True)
class All:
    """Every version."""

    def select(self, found: Mapping[int, Path]) -> dict[int, Path]:
        """All of them."""
        return dict(found)


@dataclass(frozen=True)
class Specific:
    """The versions named, those of them that exist."""

    versions: tuple[int, ...]

    def select(self, found: Mapping[int, Path]) -> dict[int, Path]:
        """The named ones; a number without a folder is only worth a warning."""
        missing = [version for version in self.versions if version not in found]
        if missing:
            _log.warning("versions %s are asked for and not on disk", missing)
        return {version: found[version] for version in self.versions if version in found}


def find_versions(base_path: Path) -> dict[int, Path]:
    """The versions under a base path. Only names are looked at, as the real server does: not what they hold.

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
            continue
        found[version] = child
    return found


def describe(base_path: Path) -> str:
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
