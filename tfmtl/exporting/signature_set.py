"""The signatures of an exported model."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfmtl.exporting.example_rows import RawRows, length, tensors
from tfmtl.exporting.graph.traced_function import Signature, Tensors, concrete_function
from tfmtl.exporting.rank_signature import rank_signature
from tfmtl.exporting.served_signature import ServedSignature
from tfmtl.exporting.traced_model import Encoder, TracedModel
from tfmtl.schema import Schema
from tfmtl.schema.categorical import MISSING_ID
from tfmtl.typing import Predictions


def build_signatures(whole: TracedModel, preprocessor: Encoder, schema: Schema) -> dict[str, ServedSignature]:
    """The signatures by name; of the names in `SERVED` a task has none."""

    def ask_raw(rows: RawRows) -> Tensors:
        return tensors(rows, whole.raw_signature)

    def ask_encoded(rows: RawRows) -> Tensors:
        return preprocessor(ask_raw(rows))

    signatures = {
        "serving_default": ServedSignature(_predict(whole), ask_raw),
        "serving_ids": ServedSignature(_predict(whole, encoded=True), ask_encoded),
        "examples": ServedSignature(_examples(whole), ask_examples),
        "classify": ServedSignature(_classify(whole), ask_examples, read_predictions=_read_classes),
    }
    ranked = rank_signature(whole, schema)
    if ranked is not None:
        signatures["rank"] = ranked
    return signatures | {task: ServedSignature(_single(whole, task), ask_raw) for task in whole.tasks}


def ask_examples(rows: RawRows) -> Tensors:
    """`rows` as serialised `tf.Example`s."""
    columns = {name: (list(column) if column.ndim > 1 else column[:, None]) for name, column in rows.items()}
    examples = [
        tf.train.Example(
            features=tf.train.Features(feature={name: _feature(column[row]) for name, column in columns.items()})
        )
        for row in range(length(rows))
    ]
    return {"inputs": tf.constant([example.SerializeToString() for example in examples], tf.string)}


def _feature(values: np.ndarray) -> tf.train.Feature:
    if values.dtype == object:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if values.dtype == np.int64:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))


def _predict(whole: TracedModel, *, encoded: bool = False) -> Any:
    """From columns to all tasks, with the score."""

    def function(**columns: Any) -> Predictions:
        return whole.scored(whole.predict(columns, whole.tasks, encoded=encoded))

    return concrete_function(function, whole.encoded_signature if encoded else whole.raw_signature)


def _single(whole: TracedModel, task: str) -> Any:
    """From raw columns to one task."""
    return concrete_function(lambda **columns: whole.predict(columns, (task,)), whole.raw_signature)


def _examples(whole: TracedModel) -> Any:
    def function(inputs: Any) -> Predictions:
        return whole.scored(whole.predict(_parse(inputs, whole.raw_signature), whole.tasks))

    return concrete_function(function, _SERIALISED)


def _classify(whole: TracedModel) -> Any:
    """The form that Classify requests want: the tasks are the classes."""

    def function(inputs: Any) -> Tensors:
        scores = tf.concat(list(whole.predict(_parse(inputs, whole.raw_signature), whole.tasks).values()), 1)  # (B, T)
        return {"scores": scores, "classes": tf.repeat(tf.constant([whole.tasks]), tf.shape(scores)[0], axis=0)}

    return concrete_function(function, _SERIALISED)


def _read_classes(outputs: Tensors) -> Predictions:
    names = [name.decode() for name in outputs["classes"][0].numpy()]
    return {name: outputs["scores"][:, i : i + 1] for i, name in enumerate(names)}


_SERIALISED = {"inputs": tf.TensorSpec((None,), tf.string)}


def _parse(serialised: Any, signature: Signature) -> Tensors:
    """Raw columns from serialised `tf.Example`s; a feature that one lacks is missing."""
    columns: dict[str, Any] = {}
    for name, spec in signature.items():
        missing = MISSING_ID.get(spec.dtype.name, float("nan"))
        shape = tuple(spec.shape)[1:]
        if shape == (None,):
            columns[name] = tf.io.FixedLenSequenceFeature((), spec.dtype, allow_missing=True, default_value=missing)
        else:
            columns[name] = tf.io.FixedLenFeature(shape, spec.dtype, default_value=np.full(shape, missing).tolist())
    return tf.io.parse_example(serialised, columns)
