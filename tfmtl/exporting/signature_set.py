"""The signatures of an exported model."""

from collections.abc import Callable
from functools import partial
from typing import Any

import tensorflow as tf

from tfmtl.exporting.example_rows import RawRows, tensors
from tfmtl.exporting.graph.traced_function import Signature, Tensors, concrete_function
from tfmtl.exporting.rank_signature import rank_signature
from tfmtl.exporting.served_signature import ServedSignature
from tfmtl.exporting.tf_examples import SERIALISED, as_examples, parse_examples
from tfmtl.exporting.traced_model import Encoder, TracedModel
from tfmtl.schema import Schema
from tfmtl.typing import Predictions


def build_signatures(traced: TracedModel, preprocessor: Encoder, schema: Schema) -> dict[str, ServedSignature]:
    """The signatures by name; of the names in `SERVED` a task has none."""
    raw, encoded, tasks = traced.raw_signature, traced.encoded_signature, traced.tasks

    def as_raw(rows: RawRows) -> Tensors:
        return tensors(rows, raw)

    def as_encoded(rows: RawRows) -> Tensors:
        return preprocessor(as_raw(rows))

    def cut(
        inputs: Signature,
        wanted: tuple[str, ...],
        answer: Callable[[Predictions], Tensors],
        *,
        columns: Callable[..., Tensors] = dict,
    ) -> Any:
        """A function of `inputs`, cut from the graph: from them `columns`, of these what is `wanted`, of that an `answer`."""

        def function(**given: Any) -> Tensors:
            return answer(traced.predict(columns(**given), wanted, encoded=inputs is encoded))

        return concrete_function(function, inputs)

    parsed = partial(parse_examples, raw)
    signatures = {
        "serving_default": ServedSignature(cut(raw, tasks, traced.scored), as_raw),
        "serving_ids": ServedSignature(cut(encoded, tasks, traced.scored), as_encoded),
        "examples": ServedSignature(cut(SERIALISED, tasks, traced.scored, columns=parsed), as_examples),
        "classify": ServedSignature(
            cut(SERIALISED, tasks, _classes, columns=parsed), as_examples, read_predictions=_read_classes
        ),
    }
    ranked = rank_signature(traced, schema)
    if ranked is not None:
        signatures["rank"] = ranked
    return signatures | {task: ServedSignature(cut(raw, (task,), dict), as_raw) for task in tasks}


def _classes(predictions: Predictions) -> Tensors:
    """The form that Classify requests want: the tasks are the classes."""
    scores = tf.concat(list(predictions.values()), 1)  # (B, T)
    return {"scores": scores, "classes": tf.repeat(tf.constant([list(predictions)]), tf.shape(scores)[0], axis=0)}


def _read_classes(outputs: Tensors) -> Predictions:
    names = [name.decode() for name in outputs["classes"][0].numpy()]
    return {name: outputs["scores"][:, i : i + 1] for i, name in enumerate(names)}
