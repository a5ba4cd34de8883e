"""A multi-head SavedModel as a version that TensorFlow Serving can load."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfmtl.keras_host import keras
from tfmtl.serving.endpoints import Encoder, Endpoint, Whole, build_endpoints, trace_whole
from tfmtl.serving.parity import CLOSE, EXACT, HALF, check_parity
from tfmtl.serving.rows import Rows, awkward_rows, rows_of, tensors
from tfmtl.serving.versions import choose_version, publish, remove_old, staging
from tfmtl.spec import Schema
from tfmtl.typing import Predictions

EXAMPLE_ROWS = 1024


def write_bundle(
    model: keras.Model,
    path: str | os.PathLike[str],
    schema: Schema,
    preprocessor: Encoder,
    *,
    version: int | None = None,
    tasks: Iterable[str] | None = None,
    examples: Any = None,
    keep: int | None = None,
) -> Path:
    """`tfmtl.export` with the preprocessor given."""
    base = Path(path).absolute()
    version = choose_version(base, version)
    if keep is not None and keep < 1:
        raise ValueError(f"`keep` must be >= 1. Received: keep={keep}")
    _check_schema(schema)
    served = schema if tasks is None else schema.with_tasks(tasks)
    _check_model(model, schema, preprocessor)
    rows = None if examples is None else rows_of(examples, preprocessor.raw_signature, EXAMPLE_ROWS)

    whole = trace_whole(model, preprocessor)
    endpoints = build_endpoints(whole, preprocessor, served.task_names)

    predict = tf.function(lambda encoded: model(encoded, training=False), autograph=False)

    def answer(rows: Rows) -> Predictions:
        return predict(preprocessor(tensors(rows, preprocessor.raw_signature)))

    with staging(base) as folder:
        save(whole, endpoints, (preprocessor, model), folder)
        check_parity(folder, endpoints, answer, _batches(schema, rows, whole))
        published = publish(folder, base, version)
    if keep is not None:
        remove_old(base, keep, version)
    return published


def save(whole: Whole, endpoints: dict[str, Endpoint], owners: Iterable[Any], folder: Path) -> None:
    """Writes the signatures and what they capture as a SavedModel."""
    functions = {name: endpoint.function for name, endpoint in endpoints.items()}
    captured = {id(handle) for function in functions.values() for handle in function.captured_inputs}
    root = tf.Module()
    root.weights = [variable for variable in whole.traced.variables if id(variable.handle) in captured]
    nodes = [node for owner in owners for node in tf.train.TrackableView(owner).descendants()]
    root.tables = list(
        {id(node): node for node in nodes if id(getattr(node, "resource_handle", None)) in captured}.values()
    )
    tf.saved_model.save(root, str(folder), signatures=functions)


def _batches(schema: Schema, rows: Rows | None, whole: Whole) -> Iterator[tuple[Rows, float]]:
    """The rows to compare on, each with its tolerance."""
    halves = any(y.dtype in (tf.float16, tf.bfloat16) for op in whole.traced.graph.get_operations() for y in op.outputs)
    if rows is not None:
        yield rows, HALF if halves else EXACT
    for batch in awkward_rows(schema.features):
        yield batch, HALF if halves else CLOSE


def _check_schema(schema: Schema) -> None:
    fresh = [feature.name for feature in schema.features if not feature.is_adapted]
    if fresh:
        raise ValueError(f"Features {fresh} were never adapted: call `schema = tfmtl.adapt(schema, dataset)` first.")


def _check_model(model: keras.Model, schema: Schema, preprocessor: Encoder) -> None:
    """Raises ValueError unless `model` reads what `schema` encodes and predicts its tasks."""
    inputs, outputs = getattr(model, "input", None), getattr(model, "output", None)
    if not isinstance(inputs, dict) or not isinstance(outputs, dict):
        raise ValueError(
            f"`model` must be a functional keras.Model from a dict to a dict. Received: {type(model).__name__}"
        )
    encoded = preprocessor.encoded_signature
    masks = {feature.mask for feature in schema.features if hasattr(feature, "mask")}
    unknown, unread = sorted(set(inputs) - set(encoded)), sorted(set(encoded) - set(inputs) - masks)
    if unknown or unread:
        raise ValueError(
            f"`model` and `schema` disagree: the model wants {unknown}, which the schema lacks, and does not read {unread}."
        )
    for name, tensor in inputs.items():
        spec = encoded[name]
        if not spec.shape.is_compatible_with(tuple(tensor.shape)) or spec.dtype != tf.as_dtype(tensor.dtype):
            raise ValueError(
                f"The model reads {name!r} as {tuple(tensor.shape)} {tf.as_dtype(tensor.dtype).name}; "
                f"the schema gives {tuple(spec.shape)} {spec.dtype.name}."
            )
    if set(outputs) != set(schema.task_names):
        raise ValueError(
            f"The model's outputs must be the schema's tasks {list(schema.task_names)}. Received: {list(outputs)}"
        )
    for task, tensor in outputs.items():
        if tuple(tensor.shape) != (None, 1) or tf.as_dtype(tensor.dtype) != tf.float32:
            raise ValueError(
                f"Task {task!r} must be predicted as (None, 1) float32. Received: {tuple(tensor.shape)} {tf.as_dtype(tensor.dtype).name}"
            )
