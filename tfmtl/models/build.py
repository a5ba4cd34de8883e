"""Inputs, bottom, trunk, head: one functional model."""

from collections.abc import Iterable
from typing import Any

from tfmtl.keras_host import keras, model_by_name
from tfmtl.layers.core.join_streams import JoinStreams
from tfmtl.spec import Categorical, Feature, Numeric
from tfmtl.spec.schema import Schema


def encoded_inputs(features: Iterable[Feature]) -> dict[str, Any]:
    """A `keras.Input` for every encoded column, by name: what `Preprocessor(features)` gives out.

    Raises:
        ValueError: a feature that was never adapted.
    """
    inputs = {}
    for feature in (feature.encoded() for feature in features):
        if isinstance(feature, Categorical):
            inputs[feature.name] = keras.Input((), dtype="int32", name=feature.name)
        elif isinstance(feature, Numeric):
            shape = () if feature.size == 1 else (feature.size,)
            inputs[feature.name] = keras.Input(shape, dtype="float32", name=feature.name)
        else:
            for column in (*feature.columns, feature.mask):
                inputs[column] = keras.Input((feature.length,), dtype="int32", name=column)
    return inputs


def build(schema: Schema, bottom: Any, trunk: Any, head: Any, *, name: str = "tfmtl") -> keras.Model:
    """Composes any bottom, any trunk and any head into a functional Keras model.

    The model reads the encoded dict, in which other columns do no harm, and returns `{task: (B, 1)}`; its stages are
    `get_layer("bottom")`, `"trunk"` and `"head"`. Where the bottom's streams differ and the trunk's experts do not read some of them, a `JoinStreams`
    layer `"join"` sets them beside the trunk's output: nothing that a stage was given is dropped.

    Args:
        schema: adapted; its features become the inputs.
        bottom: encoded dict -> streams, such as `SharedBottomRepresentation(schema.features, schema.task_names)`.
        trunk: streams -> streams, such as `PLE((256, 128))`.
        head: streams -> predictions, such as `Towers(schema.tasks)`.
        name: of the model.

    Raises:
        ValueError: a feature that was never adapted, or stages that do not fit.

    Example:

    >>> schema = Schema([Categorical("city", num_ids=100)], [Task("click"), Task("buy")])
    >>> bottom = SharedBottomRepresentation(schema.features, schema.task_names)
    >>> model = build(schema, bottom, MMoE(64, num_experts=4), Towers(schema.tasks))
    >>> sorted(model.output)
    ['buy', 'click']
    """
    inputs = encoded_inputs(schema.features)

    streams = bottom(inputs)
    mixed = trunk(streams)
    own = bottom.task_specific and not trunk.reads_own
    shared = bottom.shared_specific and not trunk.reads_shared
    if own or shared:
        mixed = JoinStreams(own=own, shared=shared, name="join")([mixed, streams])
    predictions = head(mixed)

    missing = sorted(set(schema.task_names) - set(predictions))
    if missing:
        raise ValueError(f"The head predicts no {missing}. Received: {sorted(predictions)} from {head.name!r}")
    return model_by_name(inputs, predictions, name)
