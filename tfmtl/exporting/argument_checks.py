"""What can be refused before anything is traced."""

from collections.abc import Iterable, Mapping
from math import inf
from typing import Any, Protocol, runtime_checkable

import tensorflow as tf

from tfmtl.exporting.score import Score
from tfmtl.exporting.traced_model import Encoder
from tfmtl.keras_host import keras
from tfmtl.schema import Schema, Sequence
from tfmtl.schema.schema import table_readers
from tfmtl.typing import TaskKind


@runtime_checkable
class OwnsTables(Protocol):
    """A layer that says what its embedding tables were made for."""

    @property
    def num_rows(self) -> Mapping[str, int]:
        """`{table: its rows}`."""


@runtime_checkable
class PredictsTasks(Protocol):
    """A layer that says what its towers were made for."""

    @property
    def kinds(self) -> Mapping[str, TaskKind]:
        """`{task: its kind}`."""


def check_arguments(
    model: keras.Model,
    inputs: Mapping[str, Any],
    schema: Schema,
    preprocessor: Encoder,
    tasks: Iterable[str] | None,
    score: Score | None,
) -> Schema:
    """The schema with the tasks to serve; ValueError if the arguments of an export do not fit together.

    Args:
        model: what is exported.
        inputs: its symbolic inputs by name.
        schema, preprocessor, tasks, score: those of `export`.
    """
    _check_adapted(schema)
    served = schema if tasks is None else schema.with_tasks([tasks] if isinstance(tasks, str) else tasks)
    _check_ends(model, inputs, schema, preprocessor)
    _check_finite(model)
    if score is not None:
        _check_score(score, schema, served)
    return served


def check_scope() -> None:
    """Raises RuntimeError inside a strategy's scope, in which TensorFlow traces graphs that no single device can answer."""
    if tf.distribute.has_strategy():
        raise RuntimeError(
            "`export` must be called outside of `strategy.scope()`; a model that was made in one is exported as any other. "
            f"Received: {type(tf.distribute.get_strategy()).__name__}"
        )


def check_tolerance(tolerance: float | None) -> None:
    """Raises ValueError unless `tolerance` is a positive number, or None."""
    if tolerance is not None and not (hasattr(tolerance, "__float__") and 0.0 < tolerance < inf):
        raise ValueError(f"`tolerance` must be a number > 0. Received: tolerance={tolerance!r}")


def _check_adapted(schema: Schema) -> None:
    fresh = [feature.name for feature in schema.features if not feature.is_adapted]
    if fresh:
        raise ValueError(f"Features {fresh} were never adapted: call `schema = tfmtl.adapt(schema, dataset)` first.")


def _check_ends(model: keras.Model, inputs: Mapping[str, Any], schema: Schema, preprocessor: Encoder) -> None:
    """Raises ValueError unless `model` reads what `schema` encodes and predicts its tasks."""
    outputs = getattr(model, "output", None)  # which some hosts' Sequential has not
    if not inputs or not isinstance(outputs, dict):
        raise ValueError(
            f"`model` must be a functional keras.Model from named inputs to a dict. Received: {type(model).__name__}"
        )
    encoded = preprocessor.encoded_signature
    masks = {feature.mask for feature in schema.features if isinstance(feature, Sequence)}
    unknown, unread = sorted(set(inputs) - set(encoded)), sorted(set(encoded) - set(inputs) - masks)
    if unknown or unread:
        raise ValueError(
            f"`model` and `schema` disagree: the model wants {unknown}, which the schema lacks, and does not read {unread}."
        )
    for name, tensor in inputs.items():
        spec = encoded[name]
        if not spec.shape.is_compatible_with(tuple(tensor.shape)) or spec.dtype != tf.as_dtype(tensor.dtype):
            raise ValueError(
                f"The model reads {name!r} as {_described(tensor)}; the schema gives {tuple(spec.shape)} {spec.dtype.name}."
            )
    if set(outputs) != set(schema.task_names):
        raise ValueError(
            f"The model's outputs must be the schema's tasks {list(schema.task_names)}. Received: {list(outputs)}"
        )
    for task, tensor in outputs.items():
        width = schema.task(task).output.width
        if tuple(tensor.shape) != (None, width) or tf.as_dtype(tensor.dtype) != tf.float32:
            raise ValueError(
                f"Task {task!r} must be predicted as (None, {width}) float32. Received: {_described(tensor)}"
            )


def _described(tensor: Any) -> str:
    return f"{tuple(tensor.shape)} {tf.as_dtype(tensor.dtype).name}"


def check_layers(layers: Iterable[keras.layers.Layer], schema: Schema) -> None:
    """Raises ValueError if tables or towers of ours were made for another schema: ids would read the rows of others."""
    rows = {table: field.rows for table, field in table_readers(feature.encoded() for feature in schema.features)}
    kinds = {task.name: task.kind for task in schema.tasks}
    for layer in layers:
        if isinstance(layer, OwnsTables):
            _check_made_for(layer, layer.num_rows, rows)
        if isinstance(layer, PredictsTasks):
            _check_made_for(layer, layer.kinds, kinds)


def _check_made_for(layer: Any, held: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    other = {key: value for key, value in held.items() if key in wanted and wanted[key] != value}
    if other:
        raise ValueError(
            f"The schema is not that of the model, whose layer {layer.name!r} was made for {other}. "
            f"Received: { ({key: wanted[key] for key in other}) }"
        )


def _check_finite(model: keras.Model) -> None:
    """Raises ValueError if a weight is NaN or infinite; kernels of a CPU may hide that in what the model answers."""
    for variable in model.weights:
        value = tf.convert_to_tensor(variable)
        if value.dtype.is_floating and not tf.reduce_all(tf.math.is_finite(value)):
            raise ValueError(f"Weight {variable.name!r} of the model holds NaN or infinite numbers.")


def _check_score(score: Score, schema: Schema, served: Schema) -> None:
    """Raises ValueError if the score reads tasks that are not served, or its weights have names of columns."""
    unknown = [task for task in score.tasks if task not in served.task_names]
    if unknown:
        raise ValueError(
            f"`score` weighs tasks {unknown} that are not exported. Received: tasks={list(served.task_names)}"
        )
    weighed = [served.task(name) for name in score.tasks]
    several = [task.name for task in weighed if (task.output.served or task.output.width) > 1]
    if several:
        raise ValueError(
            f"A score is made of tasks that serve one number. Received: {several}, which serve classes or quantiles"
        )
    floors = dict(score.floors)
    bare = [task.name for task in weighed if task.output.form == "value" and task.name not in floors]
    if bare and score.form != "sum":
        raise ValueError(
            f"A regression may predict 0 or less, of which a {score.form!r} score is not defined: say what a value below "
            f"counts as, `Score(..., floors={{{bare[0]!r}: ...}})`, or use form='sum'. Received: no floor of {bare}"
        )
    weights = [name for name in score.inputs if name in schema.feature_columns]
    if weights:
        raise ValueError(f"The score's weights would be inputs named like columns. Received: {weights}")
