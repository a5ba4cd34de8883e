"""A signature before it is written."""

from dataclasses import dataclass
from typing import Any

from tfmtl.exporting.served_signature import ServedSignature


@dataclass(frozen=True)
class BuiltSignature:
    """The graph of a signature beside how it is asked.

    Args:
        concrete: what answers, a concrete function. Those of all tasks take some megabytes each, and nobody needs them once
            they are written.
        served: how rows are asked through it.
    """

    concrete: Any
    served: ServedSignature
