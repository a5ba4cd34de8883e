"""From the weights of yesterday's model to those of a model that knows more ids."""

from dataclasses import replace
from typing import Any

import numpy as np

from tfmtl.keras_host import keras, layers_of
from tfmtl.layers.fused_tables import FusedTables
from tfmtl.schema import Categorical, Feature, Numeric, Sequence
from tfmtl.schema.schema import Schema, table_readers


def warm_start(model: keras.Model, schema: Schema, source: keras.Model, source_schema: Schema) -> None:
    """Gives `model` the weights of `source`, a model made alike over vocabularies of its own.

    An id takes its row with it, wherever it stands in the new vocabulary. An id that `source` did not know starts from
    row 0 of its table, which is how `source` reads it. So until it is trained `model` says what `source` says of the
    same rows, but for ids that it has itself forgotten. What an optimizer remembers is not carried over.

    Args:
        model: changed in place; made by the same preset or stages with the same options as `source`.
        schema: of `model`, for example `tfmtl.extend(source_schema, today, ["item_id"])`.
        source: left as it is.
        source_schema: of `source`.

    Raises:
        ValueError: schemas that differ in more than the ids of their tables, a schema that is not its model's, or
            weights that do not pair off. `model` is then as it was.

    Example:

    >>> import numpy as np
    >>> from tfmtl import Categorical, Schema, Task
    >>> from tfmtl.models import ple, warm_start
    >>> old_schema = Schema([Categorical("city", vocabulary=("Rome", "Oslo"))], [Task("click")])
    >>> schema = Schema([Categorical("city", vocabulary=("Oslo", "Lima"))], [Task("click")])
    >>> old, model = ple(old_schema, units=(8,)), ple(schema, units=(8,))
    >>> warm_start(model, schema, old, old_schema)
    >>> oslo = model({"city": np.array([1])})["click"], old({"city": np.array([2])})["click"]
    >>> bool(abs(float(oslo[0][0, 0] - oslo[1][0, 0])) < 1e-6)
    True
    """
    rows = _old_rows(schema, source_schema)
    tables, old_tables = _tables(model, "model", schema), _tables(source, "source", source_schema)
    weights, old_weights = _other_weights(model, tables), _other_weights(source, old_tables)
    shapes, old_shapes = ([tuple(weight.shape) for weight in of] for of in (weights, old_weights))
    if shapes != old_shapes or [table.copies for table in tables] != [table.copies for table in old_tables]:
        pairs = zip(weights, shapes, old_shapes, strict=False)
        first = next((f"{w.name} {a} instead of {b}" for w, a, b in pairs if a != b), "another number of weights")
        raise ValueError(f"`source` must be made like `model`, with the same options. Received: {first}")
    for new, old in zip(tables, old_tables, strict=True):
        _check_widths(new, old)
    for new, old in zip(tables, old_tables, strict=True):
        new.take_rows(old, rows)
    for weight, old_weight in zip(weights, old_weights, strict=True):
        weight.assign(old_weight)


def _tables(model: keras.Model, argument: str, schema: Schema) -> list[FusedTables]:
    """The layers of `model` that hold tables, if these are the tables of `schema`."""
    known = _num_rows(schema)
    layers = [layer for layer in layers_of(model) if isinstance(layer, FusedTables)]
    wrong = {table: rows for layer in layers for table, rows in layer.num_rows.items() if known.get(table) != rows}
    if wrong:
        raise ValueError(
            f"The schema is not that of `{argument}`, whose tables have these rows: {wrong}. Received: {known}"
        )
    return layers


def _check_widths(new: FusedTables, old: FusedTables) -> None:
    """Raises ValueError unless both hold the same tables at the same widths: a bottom may choose other widths."""
    widths, old_widths = ({t: dim for dim, group in of.groups.items() for t in group.tables} for of in (new, old))
    if widths != old_widths:
        raise ValueError(
            "`source` must be made like `model`, with tables of the same widths. "
            f"Received: {widths} in `model` and {old_widths} in `source`"
        )


def _other_weights(model: keras.Model, tables: list[FusedTables]) -> list[Any]:
    """The weights that are no tables, layer by layer: freezing one layer changes the order of a whole model's."""
    seen = {id(weight) for table in tables for weight in table.weights}
    found = []
    for layer in reversed(layers_of(model)):  # what is inside of a layer before the layer
        for weight in layer.weights:
            if id(weight) not in seen:
                seen.add(id(weight))
                found.append(weight)
    return found


def _old_rows(schema: Schema, source_schema: Schema) -> dict[str, np.ndarray]:
    """`{table: (rows,)}`: the row of `source`'s table that each row of `model`'s starts from."""
    kinds, old_kinds = ([(task.name, task.kind) for task in of.tasks] for of in (schema, source_schema))
    if kinds != old_kinds:
        raise ValueError(f"Both schemas must have the same tasks in one order. Received: {kinds} and {old_kinds}")
    features, old_features = ([_without_ids(feature) for feature in of.features] for of in (schema, source_schema))
    if features != old_features:
        pairs = zip(features, old_features, strict=False)
        first = next(((a, b) for a, b in pairs if a != b), (len(features), len(old_features)))
        raise ValueError(
            "Both schemas must have the same features, but for the ids of their tables. "
            f"Received: {first[0]} and {first[1]}"
        )
    before = dict(table_readers(source_schema.features))
    tables = {table: _rows_of(table, field, before[table]) for table, field in table_readers(schema.features)}
    return {table: np.arange(rows) for table, rows in _num_rows(schema).items()} | tables


def _without_ids(feature: Feature) -> Feature:
    """What weights depend on but for the rows of tables."""
    if isinstance(feature, Categorical):
        return _any_id(feature)
    if isinstance(feature, Sequence):
        return replace(feature, fields=tuple(_any_id(field) for field in feature.fields), side="context")
    return replace(feature, side="context")


def _any_id(field: Categorical) -> Categorical:
    return replace(field, vocabulary=None, num_ids=1, hash_buckets=None, min_count=1, dtype=None, side="context")


def _num_rows(schema: Schema) -> dict[str, int]:
    """The rows of every table, bins of numbers included."""
    bins = {f.name: f.rows for f in schema.features if isinstance(f, Numeric) and f.transform == "buckets"}
    return bins | {table: field.rows for table, field in table_readers(schema.features)}


def _rows_of(table: str, new: Categorical, old: Categorical) -> np.ndarray:
    """`(rows,)`: row 0 for row 0 and for ids that `old` did not know."""
    kinds = [[k for k in ("vocabulary", "num_ids", "hash_buckets") if getattr(f, k) is not None] for f in (new, old)]
    if (kinds[0], new.hash_buckets, new.dtype) != (kinds[1], old.hash_buckets, old.dtype):
        received = [f"{kind[0]} of {field.dtype}" for kind, field in zip(kinds, (new, old), strict=True)]
        raise ValueError(f"Table {table!r} must have ids of the same kind. Received: {received[0]} and {received[1]}")
    if isinstance(new.vocabulary, tuple) and isinstance(old.vocabulary, tuple):
        place: dict[Any, int] = {value: row for row, value in enumerate(old.vocabulary, start=1)}
        return np.array([0, *(place.get(value, 0) for value in new.vocabulary)])
    rows = np.arange(new.rows)
    return np.where(rows < old.rows, rows, 0)
