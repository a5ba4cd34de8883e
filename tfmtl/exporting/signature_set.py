"""The signatures of an exported model."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import tensorflow as tf

from tfmtl.exporting.built_signature import BuiltSignature
from tfmtl.exporting.example_rows import RawRows, tensors
from tfmtl.exporting.graph.called_function import CalledFunction
from tfmtl.exporting.graph.traced_function import Signature, Tensors, concrete_function
from tfmtl.exporting.optional_columns import filled, left_out
from tfmtl.exporting.rank_signature import rank_signature
from tfmtl.exporting.score import SCORE
from tfmtl.exporting.served_signature import ServedSignature
from tfmtl.exporting.tf_examples import SERIALISED, as_examples, parse_examples
from tfmtl.exporting.traced_model import Encoder, TracedModel
from tfmtl.schema import Schema, Task
from tfmtl.typing import SERVED, Predictions


def chosen_signatures(signatures: Iterable[str] | None, tasks: Iterable[str]) -> frozenset[str] | None:
    """The names of signatures to write; None for all.

    Raises:
        ValueError: none, or one that there is not.
    """
    if signatures is None:
        return None
    known = [*(name for name in SERVED if name != SCORE), *tasks]
    chosen = [signatures] if isinstance(signatures, str) else list(signatures)
    if not chosen or not set(chosen) <= set(known):
        raise ValueError(f"`signatures` must name one or more of {known}. Received: signatures={chosen}")
    return frozenset(chosen)


def build_signatures(
    traced: TracedModel, preprocessor: Encoder, schema: Schema, chosen: frozenset[str] | None = None
) -> dict[str, BuiltSignature]:
    """The signatures by name; of the names in `SERVED` a task has none.

    Args:
        traced: the model.
        preprocessor: what encodes raw columns.
        schema: with the served tasks.
        chosen: which to build, all without it.

    Raises:
        ValueError: `rank` is chosen, and rows do not come from both a user and a candidate.
    """
    raw, encoded, tasks = traced.raw_signature, traced.encoded_signature, traced.tasks
    parts = traced.shared_parts()

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
            return answer(traced.predict(parts, columns(**given), wanted, encoded=inputs is encoded))

        return concrete_function(function, inputs)

    parsed = partial(parse_examples, raw)
    fill_up = CalledFunction(lambda **given: filled(raw, given), raw)  # called by all, as the parts of the model are

    def from_raw(wanted: tuple[str, ...], answer: Callable[[Predictions], Tensors]) -> BuiltSignature:
        concrete = cut(raw, wanted, answer, columns=fill_up)
        return BuiltSignature(concrete, ServedSignature(as_raw, defaults=left_out(raw)))

    builders: dict[str, Callable[[], BuiltSignature | None]] = {
        "serving_default": lambda: from_raw(tasks, traced.scored),
        "serving_ids": lambda: BuiltSignature(cut(encoded, tasks, traced.scored), ServedSignature(as_encoded)),
        "examples": lambda: BuiltSignature(
            cut(SERIALISED, tasks, traced.scored, columns=parsed), ServedSignature(as_examples)
        ),
        "classify": lambda: BuiltSignature(
            cut(SERIALISED, tasks, partial(_classes, schema), columns=parsed),
            ServedSignature(as_examples, read_predictions=partial(_read_classes, schema)),
        ),
        "rank": lambda: rank_signature(traced, schema),
        **{task: partial(from_raw, (task,), dict) for task in tasks},
    }
    built = {name: build() for name, build in builders.items() if chosen is None or name in chosen}
    if chosen is not None and built.get("rank", True) is None:
        raise ValueError(
            "`signatures` names 'rank', which needs features with side=\"user\" and others. "
            f"Received: sides={sorted({feature.side for feature in schema.features})}"
        )
    return {name: signature for name, signature in built.items() if signature is not None}


def _classes(schema: Schema, predictions: Predictions) -> Tensors:
    """The form that Classify requests want: the tasks are the classes, and of tasks with several columns each of these."""
    scores = tf.concat(list(predictions.values()), 1)  # (B, T)
    names = [name for task in predictions for name in class_names(schema.task(task))]
    return {"scores": scores, "classes": tf.repeat(tf.constant([names]), tf.shape(scores)[0], axis=0)}


def class_names(task: Task) -> list[str]:
    """What Classify calls the columns of a task: its name, and of several columns `{task}={class}` or `{task}[{place}]`."""
    width = task.output.served or task.output.width
    if task.kind == "multiclass":
        return [f"{task.name}={each}" for each in task.classes or range(width)]
    return [task.name] if width == 1 else [f"{task.name}[{place}]" for place in range(width)]


def _read_classes(schema: Schema, outputs: Tensors) -> Predictions:
    places = {name.decode(): place for place, name in enumerate(outputs["classes"][0].numpy())}
    columns = {task.name: [places[name] for name in class_names(task)] for task in schema.tasks}
    return {task: tf.gather(outputs["scores"], found, axis=1) for task, found in columns.items()}
