"""What features and tasks check of their arguments."""

import operator
from typing import Any, get_args

import numpy as np

from tfmtl.typing import Side


def plain(value: Any) -> Any:
    """A scalar of NumPy's as Python's own, which JSON knows; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def check_side(side: str) -> None:
    """Raises ValueError unless `side` is one."""
    if side not in get_args(Side):
        raise ValueError(f"`side` must be one of {get_args(Side)}. Received: side={side!r}")


def set_positive(feature: Any, *names: str, optional: bool = False) -> None:
    """Makes the named counts of a feature plain integers, NumPy's too; ValueError unless they are 1 or more.

    None is left as it is where counts are `optional`.
    """
    for name in names:
        value = getattr(feature, name)
        if value is None and optional:
            continue
        if not hasattr(value, "__index__") or isinstance(value, (bool, np.bool_)) or operator.index(value) < 1:
            raise ValueError(f"`{name}` of {feature.name!r} must be an integer >= 1. Received: {name}={value!r}")
        object.__setattr__(feature, name, operator.index(value))
