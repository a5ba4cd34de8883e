"""What all variables of a step share."""

import contextlib
from collections.abc import Callable, Hashable, Iterator
from typing import Any


class StepCache:
    """Computes once a step what is the same for every variable.

    A model of many tasks has thousands of variables; what were traced anew for each would take longer than the model itself.
    This is an object of its own because Keras would look for variables in a dict on an optimizer.
    """

    def __init__(self) -> None:
        self._found: dict[Hashable, Any] | None = None

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """A step: what is asked for inside is computed once, and forgotten at its end."""
        self._found = {}
        try:
            yield
        finally:
            self._found = None

    def __call__(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """`compute()`, or what it gave when this step asked for `key` before. Outside of a step nothing is kept."""
        if self._found is None:
            return compute()
        if key not in self._found:
            self._found[key] = compute()
        return self._found[key]
