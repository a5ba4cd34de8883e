"""The distinct values of a column, numbered as they come."""

from collections.abc import Collection
from typing import Any

import numpy as np


class Codes:
    """Keeps a column, batch by batch, as numbers of its distinct values: 4 bytes a row whatever the values are.

    Args:
        missing: values that get the number -1 instead of one of their own, as None and NaN always do.
    """

    def __init__(self, missing: Collection[Any] = ()):
        self.missing = missing
        self.values: dict[Any, int] = {}
        self._batches: list[np.ndarray] = []

    def add(self, column: np.ndarray) -> None:
        """Appends a batch, `(B,)`."""
        if column.dtype.kind == "O":  # strings, maybe with None among them, which does not sort
            self._batches.append(np.array([self._code(value) for value in column.tolist()], "int32"))
            return
        distinct, inverse = np.unique(column, return_inverse=True)
        codes = np.array([self._code(value) for value in distinct.tolist()], "int32")
        self._batches.append(codes[inverse])

    def array(self) -> np.ndarray:
        """The numbers of all rows."""
        return np.concatenate(self._batches)

    def names(self) -> dict[str, int]:
        """The values as text, with their numbers; bytes that are no UTF-8 as `\\xff`, so that no two become one."""
        return {
            value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value): code
            for value, code in self.values.items()
        }

    def _code(self, value: Any) -> int:
        if value is None or value in self.missing or value != value:
            return -1
        return self.values.setdefault(value, len(self.values))
