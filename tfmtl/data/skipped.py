"""What could not be read and was left out: counted, and told at the end of a pass."""

import threading
import warnings
from typing import Any


class Skipped:
    """Counts values and rows that a pass leaves out. Several threads of a dataset may add to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._first = ""

    def note(self, count: Any, example: str | bytes) -> None:
        """Counts `count` of them, of which `example` says where one was and what it was."""
        with self._lock:
            self._first = self._first or (example.decode(errors="replace") if isinstance(example, bytes) else example)
            self._count += int(count)

    def report(self) -> None:
        """Warns of what was left out since the last report."""
        with self._lock:
            count, first, self._count, self._first = self._count, self._first, 0, ""
        if count:
            warnings.warn(
                f"{count} values or rows could not be read and were left out. The first: {first}", stacklevel=2
            )
