"""A bar for what takes long."""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, TypeAlias, TypeVar

from tfmtl.keras_host import keras

T = TypeVar("T")
Verbose: TypeAlias = Literal["auto", 0, 1] | bool
"""Whether a bar is shown; `"auto"`: where a person looks at the output, a terminal."""


def with_progress(steps: Iterable[T], verbose: Verbose, what: str, total: int | None = None) -> Iterator[T]:
    """Hands `steps` on, and shows Keras's progress bar meanwhile.

    Args:
        steps: anything that takes its time.
        verbose: see `Verbose`.
        what: a step is, in one word, such as "batch".
        total: how many steps there are, if that is known.

    Raises:
        ValueError: an unknown `verbose`.
    """
    shown = is_shown(verbose)
    return _shown(steps, what, total) if shown else iter(steps)


def is_shown(verbose: Verbose) -> bool:
    """Whether a bar is shown; raises ValueError for what is no `Verbose`."""
    if verbose not in ("auto", 0, 1):
        raise ValueError(f"`verbose` must be 'auto', 0 or 1. Received: verbose={verbose!r}")
    return sys.stdout.isatty() if verbose == "auto" else bool(verbose)


def _shown(steps: Iterable[T], what: str, total: int | None) -> Iterator[T]:
    bar: Any = keras.utils.Progbar(total, unit_name=what)
    done = 0
    for done, step in enumerate(steps, 1):
        yield step
        bar.update(done, finalize=False)
    bar.update(done, finalize=True)


def step_counter(total: int, verbose: Verbose, what: str) -> Callable[[], None]:
    """What to call after each of `total` steps that are not alike; it shows the bar."""
    bar: Any = keras.utils.Progbar(total, unit_name=what) if is_shown(verbose) else None

    def advance() -> None:
        if bar is not None:
            bar.add(1)

    return advance


def number_of_batches(dataset: Any) -> int | None:
    """How many batches a `tf.data.Dataset` has, if it says so."""
    count = int(dataset.cardinality()) if hasattr(dataset, "cardinality") else -1
    return count if count >= 0 else None
