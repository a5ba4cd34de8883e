"""The rows of a comparison: to train on, to choose with, to report on."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from tfmtl.data import Preprocessor, adapt, read
from tfmtl.schema import Schema
from tfmtl.training.held_rows import HeldRows

READ_ROWS = 8192
"""Rows that are read at a time."""


def adapted(schema: Schema, train: Any) -> Schema:
    """`schema`, adapted to what `read` takes; a `tf.data` that is not raw cannot adapt it."""
    if schema.is_adapted and all(task.is_measured for task in schema.tasks):
        return schema
    if not _is_dataset(train):
        return adapt(schema, read(train, schema, batch_size=READ_ROWS))
    if schema.is_adapted:
        return schema
    raise ValueError("The schema was never adapted: call `schema = tfmtl.adapt(schema, train)` first.")


def held_parts(
    schema: Schema,
    columns: Iterable[str],
    sources: Mapping[str, Any],
    preprocessor: Callable[[dict[str, Any]], dict[str, Any]] | None,
    group: str | None,
) -> dict[str, HeldRows]:
    """The parts, encoded; of `"test"` the groups too, which no other part needs."""
    encoder = None if all(_is_dataset(source) for source in sources.values()) else Preprocessor(schema.features)
    parts = {}
    for name, source in sources.items():
        of_part = group if name == "test" else None
        if _is_dataset(source):
            dataset, encode = source, preprocessor
        else:
            extra = () if of_part is None or of_part in schema.feature_columns else (of_part,)
            dataset, encode = read(source, schema, batch_size=READ_ROWS, columns=extra), encoder
        if name == "train":
            encode = _for_counted_rows(encode)
        parts[name] = HeldRows(
            dataset,
            columns,
            schema.tasks,
            preprocessor=encode,
            group=of_part,
            is_encoded=encode is None and of_part in schema.feature_columns,
            name=name,
        )
    return parts


def check_parts(schema: Schema, parts: Mapping[str, HeldRows]) -> None:
    """Raises ValueError unless every task can be learned, chosen by and judged."""
    for name, rows in parts.items():
        for task in schema.tasks:
            labels = rows.labels[task.name]
            labels = labels[~np.isnan(labels)]
            if not len(labels):
                raise ValueError(
                    f"Task {task.name!r} has no label in `{name}`, {len(rows)} rows: leave it out with `schema.with_tasks`, "
                    "or give rows that have it."
                )
            if labels.min() == labels.max():
                raise ValueError(
                    f"All {len(labels)} labels of task {task.name!r} in `{name}` are {labels[0]:g}: there is nothing to tell "
                    "apart. Leave it out with `schema.with_tasks`, or give other rows."
                )


def _for_counted_rows(encode: Any) -> Any:
    """What encodes rows that the schema was adapted to: no row may see its own label in `TargetRates`."""
    if not isinstance(encode, Preprocessor):
        return encode
    return Preprocessor(encode.features, passthrough=encode.passthrough, out_of_fold=True)


def _is_dataset(source: Any) -> bool:
    return hasattr(source, "element_spec")
