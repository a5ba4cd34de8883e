"""From the weights of yesterday's model to those of a model that knows more ids."""

from typing import Any

import numpy as np

from tfmtl.keras_host import keras, layers_of
from tfmtl.layers.core.fused_tables import FusedTables
from tfmtl.spec.features import Categorical, Numeric
from tfmtl.spec.schema import Schema, table_readers


def warm_start(model: keras.Model, schema: Schema, source: keras.Model, source_schema: Schema) -> None:
    """Gives `model` the weights of `source`, a model made alike over vocabularies of its own.

    An id takes its row with it, wherever it stands in the new vocabulary. An id that `source` did not know starts from row
    0 of its table, which is how `source` reads it. So until it is trained `model` says what `source` says of the same rows,
    but for ids that it has itself forgotten. What an optimizer remembers is not carried over.

    Args:
        model: changed in place; made by the same preset or stages with the same options as `source`.
        schema: of `model`, for example `tfmtl.extend(source_schema, today, ["item_id"])`.
        source: left as it is.
        source_schema: of `source`.

    Raises:
        ValueError: features of other names, kinds, widths, bins or statistics, or weights that do not pair off.

    Example:

    >>> old_schema = Schema([Categorical("city", vocabulary=("Rome", "Oslo"))], [Task("click")])
    >>> schema = Schema([Categorical("city", vocabulary=("Oslo", "Lima"))], [Task("click")])
    >>> old, model = ple(old_schema, units=(8,)), ple(schema, units=(8,))
    >>> warm_start(model, schema, old, old_schema)
    >>> oslo = model({"city": np.array([1])})["click"], old({"city": np.array([2])})["click"]
    >>> bool(ops.abs(oslo[0] - oslo[1]) < 1e-6)
    True
    """
    rows = _old_rows(schema, source_schema)
    tables, old_tables = _tables(model), _tables(source)
    weights, old_weights = _other_weights(model, tables), _other_weights(source, old_tables)
    _check_pairs(tables, old_tables, weights, old_weights)
    for new, old in zip(tables, old_tables, strict=True):
        new.take_rows(old, rows)
    for weight, old_weight in zip(weights, old_weights, strict=True):
        weight.assign(old_weight)


def _tables(model: keras.Model) -> list[FusedTables]:
    return [layer for layer in layers_of(model) if isinstance(layer, FusedTables)]


def _other_weights(model: keras.Model, tables: list[FusedTables]) -> list[Any]:
    held = {id(weight) for table in tables for weight in table.weights}
    return [weight for weight in model.weights if id(weight) not in held]


def _check_pairs(tables: list[Any], old_tables: list[Any], weights: list[Any], old_weights: list[Any]) -> None:
    shapes, old_shapes = ([tuple(w.shape) for w in ws] for ws in (weights, old_weights))
    same_tables = [t.copies for t in tables] == [t.copies for t in old_tables]
    if shapes != old_shapes or not same_tables:
        pairs = zip(weights, shapes, old_shapes, strict=False)
        first = next((f"{w.name} {a} instead of {b}" for w, a, b in pairs if a != b), "another number of weights")
        raise ValueError(f"`source` must be made like `model`, with the same options. Received: {first}")


def _old_rows(schema: Schema, source_schema: Schema) -> dict[str, np.ndarray]:
    """`{table: (rows,)}`: the row of `source`'s table that each row of `model`'s starts from."""
    new, old = {f.name: f for f in schema.features}, {f.name: f for f in source_schema.features}
    if list(new) != list(old):
        raise ValueError(f"Both schemas must have the same features. Received: {list(new)} and {list(old)}")
    for name, feature in new.items():
        if isinstance(feature, Numeric) and feature != old[name]:
            raise ValueError(
                f"Bins and statistics of {name!r} must stay as they were: its weights go with them. "
                f"Received: {feature} and {old[name]}"
            )
    before = dict(table_readers(source_schema.features))
    tables = dict(table_readers(schema.features))
    if set(tables) != set(before):
        raise ValueError(f"Both schemas must have the same tables. Received: {sorted(tables)} and {sorted(before)}")
    bins = {f.name: np.arange(f.rows) for f in new.values() if isinstance(f, Numeric) and f.transform == "buckets"}
    return bins | {table: _rows_of(table, field, before[table]) for table, field in tables.items()}


def _rows_of(table: str, new: Categorical, old: Categorical) -> np.ndarray:
    """`(rows,)`: row 0 for row 0 and for ids that `old` did not know."""
    kinds = [[k for k in ("vocabulary", "num_ids", "hash_buckets") if getattr(f, k) is not None] for f in (new, old)]
    moved = new.hash_buckets != old.hash_buckets
    if kinds[0] != kinds[1] or new.dim != old.dim or moved:
        raise ValueError(
            f"Table {table!r} must have ids of the same kind and rows of the same width. Received: {new} and {old}"
        )
    if isinstance(new.vocabulary, tuple) and isinstance(old.vocabulary, tuple):
        place = {value: row for row, value in enumerate(old.vocabulary, start=1)}
        return np.array([0, *(place.get(value, 0) for value in new.vocabulary)])
    rows = np.arange(new.rows)
    return np.where(rows < old.rows, rows, 0)
