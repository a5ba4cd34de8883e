"""A multi-head SavedModel as a version that TensorFlow Serving can load."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfmtl.exporting.endpoints import Encoder, Endpoint, Whole, predictions, trace_whole
from tfmtl.exporting.example_rows import Rows, awkward_rows, length, rows_of, tensors
from tfmtl.exporting.model_card import Facts, plain_metrics, write_card
from tfmtl.exporting.parity import CLOSE, EXACT, HALF, check_parity
from tfmtl.exporting.publishing import check_writable, choose_version, publish, remove_old, staging
from tfmtl.exporting.score import Score
from tfmtl.exporting.server_configs import batch_sizes, named_versions, write_configs
from tfmtl.exporting.signatures import build_endpoints
from tfmtl.exporting.validation import check_arguments, check_keep
from tfmtl.exporting.warmup_requests import write_warmup
from tfmtl.keras_host import keras
from tfmtl.schema import Schema
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
    score: Score | None = None,
    keep: int | None = None,
    metrics: Mapping[str, Any] | None = None,
    data: str | None = None,
) -> Path:
    """`tfmtl.export` with the preprocessor given."""
    base = Path(path).absolute()
    check_writable(base)
    choose_version(base, version)
    check_keep(keep)
    metrics = plain_metrics(metrics)
    sizes = batch_sizes(base)
    named_versions(base)  # an unreadable file must not be found after publishing
    served = check_arguments(model, schema, preprocessor, tasks, score)
    rows = None if examples is None else rows_of(examples, preprocessor.raw_signature, EXAMPLE_ROWS)

    whole = trace_whole(model, preprocessor, served.task_names, score)
    endpoints = build_endpoints(whole, preprocessor, served)
    with staging(base) as folder:
        weights = save(whole, endpoints, (preprocessor, model), folder)
        batches = list(_batches(schema, rows, whole))
        warmup = write_warmup(folder, endpoints, batches[0][0], sizes)
        parity = check_parity(folder, endpoints, _in_memory(model, preprocessor, whole), batches)
        compared = length(rows or {})
        facts = Facts(base.name, served, endpoints, weights, parity, compared, warmup, score, metrics, data)
        write_configs(base)
        published = _publish(folder, base, version, facts)
    if keep is not None:
        remove_old(base, keep, {int(published.name)} | named_versions(base))
    return published


def _publish(folder: Path, base: Path, version: int | None, facts: Facts) -> Path:
    """Publishes `folder` as `version`, or as the next one that nobody else takes in the meantime."""
    while True:
        number = choose_version(base, version)
        write_card(folder, number, facts)
        try:
            return publish(folder, base, number)
        except FileExistsError:
            if version is not None:
                raise


def save(whole: Whole, endpoints: Mapping[str, Endpoint], owners: Iterable[Any], folder: Path) -> int:
    """Writes the signatures and what they read, and nothing else, as a SavedModel; returns how many weights that is.

    Args:
        whole: where the signatures were cut from.
        endpoints: the signatures.
        owners: objects that own lookup tables, directly or not.
        folder: where to write.
    """
    handles = [handle for endpoint in endpoints.values() for handle in endpoint.concrete.captured_inputs]
    read = {id(handle) for handle in handles}
    root = tf.Module()
    root.weights = [variable for variable in whole.traced.variables if id(variable.handle) in read]
    owners = [owner for owner in owners if isinstance(owner, (tf.Module, keras.layers.Layer))]
    nodes = [node for owner in owners for node in tf.train.TrackableView(owner).descendants()]
    root.tables = list(
        {id(node): node for node in nodes if id(getattr(node, "resource_handle", None)) in read}.values()
    )
    reached = {id(variable.handle) for variable in root.weights} | {id(table.resource_handle) for table in root.tables}
    if any(handle.dtype == tf.resource and id(handle) not in reached for handle in handles):
        raise ValueError(
            "A signature reads a lookup table or variable that cannot be found from the preprocessor or the model: what "
            "owns it must be a `tf.Module` or a Keras layer, and hold it as an attribute."
        )
    tf.saved_model.save(root, str(folder), signatures={name: endpoint.function for name, endpoint in endpoints.items()})
    return sum(variable.shape.num_elements() for variable in root.weights)


def _in_memory(model: keras.Model, preprocessor: Encoder, whole: Whole) -> Callable[[Rows], Predictions]:
    """The model's own predictions for rows, with the score."""
    predict = tf.function(lambda encoded: predictions(model, encoded), autograph=False)

    def answer(rows: Rows) -> Predictions:
        return whole.scored(predict(preprocessor(tensors(rows, whole.raw_signature))))

    return answer


def _batches(schema: Schema, rows: Rows | None, whole: Whole) -> Iterator[tuple[Rows, float]]:
    """The rows to compare on, each with its tolerance."""
    halves = any(y.dtype in (tf.float16, tf.bfloat16) for op in whole.traced.graph.get_operations() for y in op.outputs)
    if rows is not None:
        yield rows, HALF if halves else EXACT
    for batch in awkward_rows(schema.features):
        yield batch, HALF if halves else CLOSE
