"""The tables of a model, known by the names and ids that a schema gives them."""

from typing import Any

import numpy as np

from tfmtl.keras_host import keras, layers_of, ops
from tfmtl.layers.fused_tables import FusedTables
from tfmtl.schema import Categorical, Numeric, Schema
from tfmtl.schema.schema import table_readers


def table_fields(schema: Schema) -> dict[str, Categorical | Numeric]:
    """For every table a field that reads it, bins of numbers included: it knows the ids of the rows."""
    fields: dict[str, Categorical | Numeric] = {
        f.name: f for f in schema.features if isinstance(f, Numeric) and f.transform == "buckets"
    }
    for table, field in table_readers(schema.features):
        fields.setdefault(table, field)
    return fields


def holders_of_tables(model: keras.Model, argument: str, schema: Schema) -> list[FusedTables]:
    """The layers of `model` that hold tables; raises ValueError unless these are the tables of `schema`."""
    known = {table: field.rows for table, field in table_fields(schema).items()}
    layers = [layer for layer in layers_of(model) if isinstance(layer, FusedTables)]
    wrong = {table: rows for layer in layers for table, rows in layer.num_rows.items() if known.get(table) != rows}
    if wrong:
        raise ValueError(
            f"The schema is not that of `{argument}`, whose tables have these rows: {wrong}. Received: {known}"
        )
    return layers


def as_matrix(weight: Any) -> np.ndarray:
    """A copy of the values of a table's weight, also where a parameter server keeps it in parts."""
    parts = getattr(weight, "variables", [weight])
    return np.concatenate([np.asarray(ops.convert_to_numpy(part), "float32") for part in parts])
