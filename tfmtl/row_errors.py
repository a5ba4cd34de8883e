"""What goes wrong while rows are read reaches the caller as itself."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

T = TypeVar("T")

_RAISED: deque[Exception] = deque(maxlen=8)
"""The last errors of generators, which a dataset may read ahead of whoever asks it for rows."""


def noting_errors(generate: Callable[..., Iterator[T]]) -> Callable[..., Iterator[T]]:
    """`generate`, whose errors are noted for `as_raised`: TensorFlow hands on their text, within one of its own."""

    @wraps(generate)
    def noted(*arguments: Any) -> Iterator[T]:
        try:
            yield from generate(*arguments)
        except Exception as error:
            _RAISED.append(error)
            raise

    return noted


@contextmanager
def as_raised() -> Iterator[None]:
    """Raises, in place of an error of TensorFlow that quotes one of a generator, the generator's own."""
    try:
        yield
    except Exception as error:
        original = _quoted_in(error)
        if original is None:
            raise
        raise original from None


def raising_as_is(method: Callable[..., Any]) -> Callable[..., Any]:
    """`method` within `as_raised`."""

    @wraps(method)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        with as_raised():
            return method(*arguments, **options)

    return wrapped


def _quoted_in(error: Exception) -> Exception | None:
    text = str(error)
    for raised in reversed(_RAISED):
        if raised is not error and f"{type(raised).__name__}: {raised}" in text:
            _RAISED.remove(raised)
            return raised
    return None
