"""From the weights of yesterday's model to those of a model that knows more: ids, features, tasks, experts, units."""

from dataclasses import replace
from typing import Any

import numpy as np

from tfmtl.keras_host import keras, layers_of
from tfmtl.layers.field_embedding import FieldEmbedding
from tfmtl.layers.fused_tables import FusedTables
from tfmtl.models.schema_tables import as_matrix, holders_of_tables, table_fields
from tfmtl.models.transfer.carrying import Carried, carry, carry_table
from tfmtl.models.transfer.model_meanings import meanings_of
from tfmtl.models.transfer.stage_meanings import vectors_of
from tfmtl.models.transfer.warm_start_report import WarmStartReport
from tfmtl.schema import Categorical, Feature, Numeric, Sequence, TargetRates
from tfmtl.schema.schema import Schema, lookups, table_readers


def warm_start(model: keras.Model, schema: Schema, source: keras.Model, source_schema: Schema) -> WarmStartReport:
    """Gives `model` what `source` has learned, wherever both have a weight that means the same.

    Weights are paired by what they mean, stage by stage: the tower of a task, an expert of a task, the row of an id, the
    part of a kernel that reads a field. So `model` may know more ids than `source`, or have a task, a feature, an expert, a
    level, wider layers or wider tables more; or some of it less. What has no counterpart keeps the values it was made with,
    and the report names it.

    An id takes its row with it, wherever it stands in the new vocabulary; an id that `source` did not know starts from
    row 0 of its table, which is how `source` reads it. What reads a new input (a feature, a unit, another task's tower)
    starts at 0. So where only ids, tasks, features or units were added, the old tasks say what `source` says of the same
    rows, until they are trained. A new expert changes that: gates give it a part of the weight from the first step on, and
    so do the gates of a shared stream that reads a new task's experts.

    What an optimizer remembers is not carried over.

    Args:
        model: changed in place.
        schema: of `model`, for example `tfmtl.extend(source_schema, today, ["item_id"])`.
        source: left as it is.
        source_schema: of `source`.

    Returns:
        What was carried over, and what was not.

    Raises:
        ValueError: a schema that is not its model's, a task or a feature that both schemas have but that means something
            else (its kind, its statistics, bins, pooling, kind of ids), or nothing in common. `model` is then as it was.

    Example:

    >>> import numpy as np
    >>> from tfmtl import Categorical, Schema, Task
    >>> from tfmtl.models import shared_bottom, warm_start
    >>> city = Categorical("city", vocabulary=("Rome", "Oslo"))
    >>> old_schema = Schema([city], [Task("click", mean=0.2)])
    >>> schema = Schema([city], [Task("click", mean=0.2), Task("buy", mean=0.1)])
    >>> old, model = shared_bottom(old_schema, units=(8,)), shared_bottom(schema, units=(8,))
    >>> report = warm_start(model, schema, old, old_schema)
    >>> sorted({name.split(".")[1] for name in report.fresh})
    ['towers[buy]']
    >>> row = {"city": np.array([2], "int32")}
    >>> bool(abs(float(model(row)["click"][0, 0] - old(row)["click"][0, 0])) < 1e-6)
    True
    """
    _check_tasks(schema, source_schema)
    _check_features(schema, source_schema)
    holders, old_holders = holders_of_tables(model, "model", schema), holders_of_tables(source, "source", source_schema)
    weights, old_weights = ([w for holder in of for w in holder.weights] for of in (holders, old_holders))
    meanings, old_meanings = meanings_of(model, schema, weights), meanings_of(source, source_schema, old_weights)

    report = WarmStartReport()
    values: list[tuple[Any, np.ndarray]] = []
    for name, meaning in meanings:
        carried = carry(meaning, old_meanings.by_name.get(name))
        report.note(name, carried)
        if carried.value is not None:
            values.append((meaning.variable, carried.value))
    values += _tables(model, schema, holders, source, source_schema, old_holders, report)
    report.left = [name for name, _ in old_meanings if name not in meanings.by_name] + report.left
    if not values:
        raise ValueError(f"`source` has nothing that `model` could take over. Received: fresh={report.fresh[:5]}")
    for variable, value in values:
        variable.assign(value)
    return report


def _tables(
    model: keras.Model,
    schema: Schema,
    holders: list[FusedTables],
    source: keras.Model,
    source_schema: Schema,
    old_holders: list[FusedTables],
    report: WarmStartReport,
) -> list[tuple[Any, np.ndarray]]:
    """The new values of the weights that hold tables."""
    before = _old_tables(schema, source_schema)
    fields, old_fields = table_fields(schema), table_fields(source_schema)
    values = {id(weight): (weight, as_matrix(weight)) for holder in holders for weight in holder.weights}
    taken = set()
    for number, holder in enumerate(holders):
        vectors = _vectors(model, holder)
        for table, dim in holder.dims.items():
            old_table = before.get(table)
            owners = [old for old in old_holders if old_table in old.num_rows]
            weight, rows = holder.place_of(table)
            name = f"table[{table}]"
            if not owners or old_table is None:
                report.note(name, Carried(None, 0))
                continue
            owner = owners[min(number, len(owners) - 1)]
            old_weight, old_rows = owner.place_of(old_table)
            carried = carry_table(
                values[id(weight)][1][rows],
                [(vector, place) for vector in vectors for place in range(dim)],
                as_matrix(old_weight)[old_rows],
                [(vector, place) for vector in _vectors(source, owner) for place in range(owner.dims[old_table])],
                _rows_of(table, fields[table], old_fields[old_table]),
            )
            taken.add(old_table)
            report.note(name, carried)
            if carried.value is not None:
                values[id(weight)][1][rows] = carried.value
    report.left += sorted({f"table[{t}]" for holder in old_holders for t in holder.num_rows if t not in taken})
    return list(values.values())


def _vectors(model: keras.Model, holder: FusedTables) -> tuple[Any, ...]:
    """Whose vectors lie side by side in a row."""
    owners = [layer for layer in layers_of(model) if isinstance(layer, FieldEmbedding) and layer.tables is holder]
    return vectors_of(owners[0]) if owners else tuple(range(holder.copies))


def _old_tables(schema: Schema, source_schema: Schema) -> dict[str, str]:
    """`{table: the table of source that it starts from}`: that of its name, or else the one that a column of it read."""
    known = table_fields(source_schema)
    found = {table: table for table in table_fields(schema) if table in known}
    read = {column: table for column, table, _ in lookups(source_schema.features)}
    for column, table, _ in lookups(schema.features):
        if column in read:
            found.setdefault(table, read[column])
    return found


def _check_tasks(schema: Schema, source_schema: Schema) -> None:
    """Raises ValueError where a task of one name is of two kinds, or predicts something else."""
    old = {task.name: task for task in source_schema.tasks}
    other = {
        task.name: (task.kind, was.kind) if task.kind != was.kind else (task.output, was.output)
        for task, was in ((task, old.get(task.name, task)) for task in schema.tasks)
        if (task.kind, task.output) != (was.kind, was.output)
    }
    if other:
        raise ValueError(f"A task must be of the same kind in both schemas, and predict the same. Received: {other}")


def _check_features(schema: Schema, source_schema: Schema) -> None:
    """Raises ValueError where a feature of one name gives the model numbers that mean something else."""
    old = {feature.name: feature for feature in source_schema.features}
    for feature in schema.features:
        if feature.name in old and _meaning(feature) != _meaning(old[feature.name]):
            raise ValueError(
                "A feature must mean the same in both schemas, but for the ids and widths of its tables. "
                f"Received: {feature} and {old[feature.name]}"
            )
    fields, old_fields = dict(table_readers(schema.features)), dict(table_readers(source_schema.features))
    for table, before in _old_tables(schema, source_schema).items():
        if table in fields and before in old_fields:
            _rows_of(table, fields[table], old_fields[before])


def _meaning(feature: Feature) -> Any:
    """What weights depend on but for ids, widths, and the order of a history's fields."""
    if isinstance(feature, Categorical):
        return Categorical
    if isinstance(feature, Sequence):
        return Sequence, feature.pooling
    if isinstance(feature, TargetRates):  # what was counted is data
        return replace(feature, vocabulary=None, base_rates=None, counts=None, dtype=None, side="context")
    return replace(feature, side="context", dim=None, flag_missing=None)


def _rows_of(table: str, new: Categorical | Numeric, old: Categorical | Numeric) -> np.ndarray:
    """`(rows,)`: the old row that each row starts from; row 0 for row 0 and for ids that `old` did not know."""
    if isinstance(new, Numeric) or isinstance(old, Numeric):
        return np.arange(new.rows)  # the same bins
    kinds = [[k for k in ("vocabulary", "num_ids", "hash_buckets") if getattr(f, k) is not None] for f in (new, old)]
    if (kinds[0], new.hash_buckets, new.dtype) != (kinds[1], old.hash_buckets, old.dtype):
        received = [f"{kind[0]} of {field.dtype}" for kind, field in zip(kinds, (new, old), strict=True)]
        raise ValueError(f"Table {table!r} must have ids of the same kind. Received: {received[0]} and {received[1]}")
    if isinstance(new.vocabulary, tuple) and isinstance(old.vocabulary, tuple):
        place: dict[Any, int] = {value: row for row, value in enumerate(old.vocabulary, start=1)}
        return np.array([0, *(place.get(value, 0) for value in new.vocabulary)])
    rows = np.arange(new.rows)
    return np.where(rows < old.rows, rows, 0)
