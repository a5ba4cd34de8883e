"""What features make of the values that they are given."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from tfmtl.checks import check_count


def plain(value: Any) -> Any:
    """A scalar of NumPy's as Python's own, which JSON knows; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def as_text(value: bytes) -> str:
    """Any bytes as a text; those that are no UTF-8 become what Python uses for them in file names (surrogate escapes)."""
    return value.decode("utf-8", "surrogateescape")


def as_bytes(value: str) -> bytes:
    """The bytes that `as_text` made a text of; UTF-8 of every other text."""
    return value.encode("utf-8", "surrogateescape")


def several(name: str, values: Any, *, of: str = "") -> tuple[Any, ...]:
    """`values` as a tuple; ValueError if it is a single one, or a string.

    Args:
        name: of the argument.
        values: what was given.
        of: whose argument it is, for the message.
    """
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ValueError(
            f"`{name}`{f' of {of}' if of else ''} must be a list, also where it holds one. Received: {name}={values!r}"
        )
    return tuple(values)


def set_counts(feature: Any, *names: str, optional: bool = False) -> None:
    """Makes the named counts of a feature plain integers, NumPy's too; ValueError unless they are 1 or more.

    None is left as it is where counts are `optional`.
    """
    for name in names:
        value = getattr(feature, name)
        if value is not None or not optional:
            object.__setattr__(feature, name, check_count(name, value, of=repr(feature.name)))
