"""The `rank` signature: one user, many candidates, one request."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfmtl.exporting.built_signature import BuiltSignature
from tfmtl.exporting.example_rows import RawRows, length, tensors
from tfmtl.exporting.graph.traced_function import Tensors, concrete_function
from tfmtl.exporting.graph.user_once import UserOnce
from tfmtl.exporting.optional_columns import filled, left_out
from tfmtl.exporting.served_signature import ServedSignature
from tfmtl.exporting.traced_model import TracedModel
from tfmtl.schema import Schema
from tfmtl.typing import Predictions


def rank_signature(traced: TracedModel, schema: Schema) -> BuiltSignature | None:
    """The signature, or None where rows do not come from both a user and a candidate.

    Columns of the user's features are `(1, ...)`, all others `(N, ...)`; outputs are `(N, 1)`. Weights of a score that
    takes them at request time are `(1,)`.
    """
    user = [column for feature in schema.features if feature.side == "user" for column in feature.columns]
    if not user or set(user) == set(traced.raw_signature):
        return None
    signature = {name: _of_one(spec) if name in user else spec for name, spec in traced.raw_signature.items()}
    weights = {} if traced.score is None else traced.score.inputs

    def function(**inputs: Any) -> Predictions:
        given = {name: inputs.pop(name) for name in weights}
        # A server does not check shapes: two users at once must fail, not be mixed.
        one_user = {name: tf.ensure_shape(inputs[name], signature[name].shape) for name in user}
        candidates = filled(signature, {name: tensor for name, tensor in inputs.items() if name not in user})
        predictions = UserOnce(traced.function, one_user, candidates).compute(traced.tasks)
        return traced.scored(predictions, {name: tf.ensure_shape(weight, (1,)) for name, weight in given.items()})

    inputs = signature | {name: tf.TensorSpec((1,), tf.float32) for name in weights}
    defaults = left_out(signature) | {name: np.array([weight], np.float32) for name, weight in weights.items()}

    def ask(rows: RawRows) -> Tensors:
        one = {name: column[:1] if name in user else column for name, column in rows.items()}
        return tensors(one, signature) | {name: tf.constant([weight]) for name, weight in weights.items()}

    def meant(rows: RawRows) -> RawRows:
        first = np.zeros(length(rows), np.int64)
        return {name: column[first] if name in user else column for name, column in rows.items()}

    return BuiltSignature(concrete_function(function, inputs), ServedSignature(ask, meant, defaults=defaults))


def _of_one(spec: tf.TensorSpec) -> tf.TensorSpec:
    return tf.TensorSpec((1, *spec.shape[1:]), spec.dtype)
