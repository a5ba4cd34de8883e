"""Which of the versions on disk a server is to serve."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

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
