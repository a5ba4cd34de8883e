"""What arguments are checked for everywhere, in one wording."""

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any, get_args


def check_option(name: str, value: Any, options: Any, *, of: str = "", optional: bool = False) -> None:
    """Raises ValueError unless `value` is one of those of a `Literal`, or None where it is `optional`.

    Args:
        name: of the argument.
        value: what was given.
        options: the `Literal`.
        of: whose argument it is, for the message.
        optional: whether None is one of them.
    """
    known = (None, *get_args(options)) if optional else get_args(options)
    if value not in known:
        raise ValueError(f"{_named(name, of)} must be one of {known}. Received: {name}={value!r}")


def check_count(name: str, value: Any, *, least: int = 1, of: str = "", why: str = "") -> int:
    """`value` as a plain integer, NumPy's too; raises ValueError unless it is one of `least` or more.

    Args:
        name: of the argument.
        value: what was given.
        least: the least count.
        of: whose argument it is, for the message.
        why: what the least count means, for the message.
    """
    if not _is_integer(value) or value < least:
        reason = f": {why}" if why else ""
        raise ValueError(f"{_named(name, of)} must be an integer >= {least}{reason}. Received: {name}={value!r}")
    return int(value)


def check_units(name: str, units: int | Sequence[int], *, least: int = 0) -> tuple[int, ...]:
    """`units` as a tuple of widths; raises ValueError unless they are integers above 0, `least` of them or more."""
    widths = tuple(units) if isinstance(units, Iterable) else (units,)
    if not all(_is_integer(width) and width >= 1 for width in widths):
        raise ValueError(f"`{name}` must hold integers >= 1. Received: {name}={units!r}")
    if len(widths) < least:
        raise ValueError(f"`{name}` needs one width or more. Received: {name}={units!r}")
    return tuple(map(int, widths))


def check_names(name: str, names: Iterable[str]) -> tuple[str, ...]:
    """`names` as a tuple; raises ValueError unless they are distinct strings, one or more, and no string themselves."""
    found = tuple(names)
    fits = found and len(set(found)) == len(found) and all(isinstance(each, str) for each in found)
    if isinstance(names, str) or not fits:
        raise ValueError(f"`{name}` must be distinct names, at least one. Received: {name}={names!r}")
    return found


def check_dropout(dropout: float) -> None:
    """Raises ValueError unless `dropout` is a share of units that leaves some."""
    if not 0 <= dropout < 1:
        raise ValueError(f"`dropout` must be in [0, 1). Received: dropout={dropout!r}")


def _is_integer(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _named(name: str, of: str) -> str:
    return f"`{name}` of {of}" if of else f"`{name}`"
