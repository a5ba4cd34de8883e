"""One rule for every name that becomes a column, a dict key, a weight's name and a SavedModel's input or output."""

import keyword
import re
from collections.abc import Iterable

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def check_name(what: str, name: str) -> None:
    """Raises ValueError unless `name` survives as a Keras name, and as a SavedModel's tensor and argument."""
    if not isinstance(name, str) or not _IDENTIFIER.fullmatch(name):
        raise ValueError(
            f"A {what} must be named by a letter followed by letters, digits and underscores: the name is also that "
            f"of a weight and of a served tensor. Received: name={name!r}"
        )
    if keyword.iskeyword(name) or name == "self":
        raise ValueError(
            f"A {what} must not be named like a word of Python's: the name is also that of a served function's argument. "
            f"Received: name={name!r}"
        )


def check_column(feature: str, column: str | None) -> None:
    """Raises ValueError unless `column` can be the name of a column in a file, or is None."""
    if column is not None and (not isinstance(column, str) or not column):
        raise ValueError(f"`column` of {feature!r} must be the name of a column. Received: column={column!r}")


def check_separator(feature: str, option: str, separator: str | None) -> None:
    """Raises ValueError unless `separator` is a text of one character or more, or None."""
    if separator is not None and (not isinstance(separator, str) or not separator):
        raise ValueError(
            f"`{option}` of {feature!r} must be a text of one character or more. Received: {option}={separator!r}"
        )


def check_distinct(what: str, names: Iterable[str]) -> None:
    """Raises ValueError if a name occurs twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"Two {what}s have the same name. Received: name={name!r} twice")
        seen.add(name)
