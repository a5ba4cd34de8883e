"""The oldest versions that setup.cfg allows are those that `make test-floor` runs with."""

import configparser
from collections.abc import Iterator

import pytest
from harness import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version


def requirements() -> Iterator[Requirement]:
    """What users install; not the tools of those who develop, build the site or release."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extras = {
        name: lines for name, lines in setup["options.extras_require"].items() if name not in ("dev", "docs", "release")
    }
    for lines in (setup["options"]["install_requires"], *extras.values()):
        yield from map(Requirement, lines.split())


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints-floor.txt").read_text().splitlines()
    pinned = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(pin.name): Version(str(pin.specifier).removeprefix("==")) for pin in pinned}


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_the_floor_is_tested(requirement):
    floors = [Version(allowed.version) for allowed in requirement.specifier if allowed.operator == ">="]
    assert floors == [pins()[canonicalize_name(requirement.name)]]
