"""The JSON of `:classify` and `:regress`: examples in, results out."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, input_pb2, regression_pb2

from tfmtl.serving.server.rest_json import decode_b64, float_texts, is_b64
from tfmtl.serving.server.serving_error import invalid

_INT64 = range(-(2**63), 2**63)


def examples_input(body: Mapping[str, Any]) -> input_pb2.Input:
    """The tf.Examples of a body's `examples`, with its `context` if it has one."""
    given = input_pb2.Input()
    context = _example(body["context"]) if "context" in body else None
    examples = body.get("examples")
    if type(examples) is not list or not examples:
        raise invalid("Expecting the key 'examples' with a list of at least one object")
    rows = [_example(row) for row in examples]
    if context is None:
        given.example_list.examples.extend(rows)
    else:
        given.example_list_with_context.context.CopyFrom(context)
        given.example_list_with_context.examples.extend(rows)
    return given


def classifications_text(result: classification_pb2.ClassificationResult) -> str:
    """`{"results": [[[label, score], ...], ...]}`."""
    rows = []
    for entry in result.classifications:
        scores = float_texts(np.array([found.score for found in entry.classes], np.float32))
        pairs = [f"[{json.dumps(found.label)}, {score}]" for found, score in zip(entry.classes, scores, strict=True)]
        rows.append("[" + ", ".join(pairs) + "]")
    return '{"results": [' + ", ".join(rows) + "]}"


def regressions_text(result: regression_pb2.RegressionResult) -> str:
    """`{"results": [value, ...]}`."""
    values = np.array([entry.value for entry in result.regressions], np.float32)
    return '{"results": [' + ", ".join(float_texts(values)) + "]}"


def _example(row: Any) -> tf.train.Example:
    if type(row) is not dict:
        raise invalid(f"Example must be JSON object but got JSON {type(row).__name__}")
    example = tf.train.Example()
    for name, value in row.items():
        example.features.feature[_text(name)].CopyFrom(_feature(name, value if type(value) is list else [value]))
    return example


def _feature(name: str, values: list[Any]) -> tf.train.Feature:
    """A feature of the one kind that its values have: integers and booleans, numbers with a point, or strings."""
    kinds = {_kind(name, value) for value in values}
    if len(kinds) > 1:
        raise invalid(f"Unexpected element type in feature: {name}: it mixes {' and '.join(sorted(kinds))}")
    match kinds.pop() if kinds else "":
        case "int64":
            if any(value not in _INT64 for value in values):
                raise invalid(f"Feature: {name} has an element outside int64.")
            return tf.train.Feature(int64_list=tf.train.Int64List(value=[int(value) for value in values]))
        case "float":
            with np.errstate(over="ignore"):
                return tf.train.Feature(float_list=tf.train.FloatList(value=np.array(values, np.float32).tolist()))
        case "bytes":
            strings = [decode_b64(value) if is_b64(value) else _utf8(value) for value in values]
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=strings))
    return tf.train.Feature()


def _kind(name: str, value: Any) -> str:
    if type(value) in (int, bool):
        return "int64"
    if type(value) is float:
        return "float"
    if type(value) is str or is_b64(value):
        return "bytes"
    raise invalid(f"Feature: {name} has element with unexpected JSON type: {type(value).__name__}")


def _utf8(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise invalid("JSON Parse error: a lone surrogate is not text") from error


def _text(name: str) -> str:
    """A feature's name; a proto's map keys must be UTF-8."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise invalid("The name of a feature must be UTF-8") from error
    return name
