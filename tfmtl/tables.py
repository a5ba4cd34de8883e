"""Embedding tables: weights of which a step reads, and trains, some rows."""

import re
from typing import Any

from tfmtl.keras_host import add_uncast, keras, ops, raw


def add_table(layer: keras.layers.Layer, name: str, shape: tuple[int, ...], initializer: Any, **kwargs: Any) -> Any:
    """Adds an embedding table: a step reads some of its rows, and optimizers for sparse gradients may take it.

    Cast as a whole it would be copied at every step and its gradient would be dense; lookups are cast instead.
    """
    table = add_uncast(layer, name, shape, initializer, **kwargs)
    for part in getattr(table, "variables", [table]):  # a parameter server keeps a table in parts
        part.is_table = True
    return table


def is_table(variable: Any) -> bool:
    """Whether `variable` is an embedding table: made by `add_table`, or the weight of a Keras `Embedding`."""
    path = getattr(variable, "path", variable.name)
    return getattr(variable, "is_table", False) or bool(re.search(r"(^|/)embeddings(/part_\d+)?(:0)?$", path))


def lookup(table: Any, rows: Any) -> Any:
    """The rows of an embedding table, read without touching the others.

    `ops.take` on a Keras 3 variable first reads all of it, and TensorFlow copies a variable at every read once single
    rows of it have been written, as sparse optimizers do. On the raw variable it gathers the rows in place.
    """
    return ops.take(raw(table), rows, axis=0)
