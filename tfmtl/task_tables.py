"""Columns of tasks that are alike, as one table: a step computes losses and metrics of all of them at once.

A loss or a metric of one task is some hundred operations. With sixty tasks they are more than half of a step's graph, which is
slow to prepare, and on a GPU as many small kernels; under a strategy each loss waits for the other replicas by itself. A `NamedModel`
knows what its step is about to ask for, and announces it: the first loss that is then called computes all that are alike, and
the others take what is theirs. What is called on anything else, or where nothing was announced, is computed by itself.
"""

import contextlib
import json
import threading
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

from tfmtl.keras_host import ops
from tfmtl.typing import Tensor


class Columns(NamedTuple):
    """What a loss or a metric of one task is called on."""

    y_true: Any
    y_pred: Any
    sample_weight: Any = None


class Tabular(Protocol):
    """A loss or a metric that several tasks can be computed by at once."""

    @property
    def table_key(self) -> str | None:
        """Equal for two that one call can stand for; None where each is computed by itself."""

    @property
    def label_name(self) -> str:
        """What errors call the labels."""

    def of_table(self, table: Columns, names: tuple[str, ...]) -> Tensor:
        """What this is of every task, `(T, ...)`, given tables, `(T, B)`, of labels, predictions and maybe weights."""


class _Announced(threading.local):
    """The tables of the step that this thread computes: each replica is a thread of its own."""

    def __init__(self) -> None:
        self.tables: list[_Table] = []


_NOW = _Announced()


class _Table:
    """The columns of tasks that are alike, and once asked for what was computed of them."""

    def __init__(self, calls: list[tuple[Tabular, Columns]]):
        self.calls = calls
        self.values: list[Tensor] | None = None

    def value(self, of: Tabular, columns: Columns) -> Tensor | None:
        for place, (own, announced) in enumerate(self.calls):
            if own is of and all(given is kept for given, kept in zip(columns, announced, strict=True)):
                return self._all()[place]
        return None

    def _all(self) -> list[Tensor]:
        if self.values is None:
            firsts = self.calls[0][1]
            table = Columns(
                *(
                    None if first is None else _stacked([columns[place] for _, columns in self.calls])
                    for place, first in enumerate(firsts)
                )
            )
            names = tuple(of.label_name for of, _ in self.calls)
            self.values = ops.unstack(self.calls[0][0].of_table(table, names), len(names))
        return self.values


def key_of(of: Any, says: Iterable[str]) -> str | None:
    """The `table_key` of a loss or a metric: its class and all of its config but the name.

    None where its own class does not say that it is `elementwise`: what a subclass changes may not be. None too of an
    object that has one of the methods `says`, which say what is computed, for itself, and of a config that JSON does not hold in full.
    """
    kind = type(of)
    if not vars(kind).get("elementwise") or not vars(of).keys().isdisjoint(says):
        return None
    config = {name: value for name, value in of.get_config().items() if name != "name"}
    try:
        return f"{kind.__module__}.{kind.__qualname__} {id(kind)} {of.kind} {json.dumps(config, sort_keys=True)}"
    except TypeError:
        return None


@contextlib.contextmanager
def announced(calls: Iterable[tuple[Any, Columns]]) -> Iterator[None]:
    """Inside, losses and metrics that are about to be called on these columns are computed together where they are alike.

    Args:
        calls: a loss or a metric, any object, and what it will be called on, the very tensors.
    """
    groups: dict[Hashable, list[tuple[Tabular, Columns]]] = defaultdict(list)
    for of, columns in calls:
        key = getattr(of, "table_key", None)  # a loss of Keras's has none
        if key is not None and (form := _form(columns)) is not None:
            groups[key, form].append((of, columns))
    outer, _NOW.tables = _NOW.tables, [_Table(group) for group in groups.values() if len(group) > 1]
    try:
        yield
    finally:
        _NOW.tables = outer


def from_table(of: Tabular, columns: Columns) -> Tensor | None:
    """What `of` is of these columns, if they were announced with others that are alike."""
    for table in _NOW.tables:
        if (value := table.value(of, columns)) is not None:
            return value
    return None


def _form(columns: Columns) -> Hashable:
    """What columns have in common that can be put below each other; None of what is no column, or of columns of other lengths."""
    forms = [_form_of(values) for values in columns if values is not None]
    if None in forms or len({form[1][0] for form in forms if form is not None} - {None}) > 1:
        return None
    return (*forms, columns.sample_weight is None)


def _form_of(values: Any) -> tuple[str, tuple[int | None, ...]] | None:
    shape = getattr(values, "shape", None)
    if shape is None or not hasattr(values, "dtype") or getattr(shape, "rank", 1) is None:
        return None
    listed = tuple(shape)
    return (str(values.dtype), listed) if len(listed) == 1 or (len(listed) == 2 and listed[1] == 1) else None


def _stacked(columns: list[Any]) -> Tensor:
    """`(T, B)` float32 of `(B,)` or `(B, 1)` each."""
    return ops.reshape(ops.cast(ops.stack(columns), "float32"), (len(columns), -1))
