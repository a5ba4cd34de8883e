"""Inputs, bottom, trunk, head: one functional model."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.layers.join_streams import JoinStreams
from tfmtl.models.pretrained import load_pretrained
from tfmtl.named_model import model_by_name
from tfmtl.schema import Categorical, Feature, Numeric, Sequence
from tfmtl.schema.schema import Schema
from tfmtl.stages.stage import Bottom, Head, ReadsSideStreams, Trunk, check_stage
from tfmtl.typing import PRIOR, SCENARIO, SIDE_STREAMS, Predictions, Streams


def encoded_inputs(features: Iterable[Feature]) -> dict[str, Any]:
    """A `keras.Input` for every encoded column, by name: what `Preprocessor(features)` gives out.

    Args:
        features: adapted.

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
                dtype = "float32" if column == feature.weights else "int32"
                inputs[column] = keras.Input((feature.length,), dtype=dtype, name=column)
    return inputs


def build(schema: Schema, bottom: Bottom, trunk: Trunk, head: Head, *, name: str = "tfmtl") -> keras.Model:
    """Composes any bottom, any trunk and any head into a functional Keras model.

    The model reads the encoded dict, in which other columns do no harm, and returns `{task: (B, 1)}`, of a task with C classes
    `(B, C)` and of a loss with more parameters as wide as `Task.output` says; its stages are
    `get_layer("bottom")`, `"trunk"` and `"head"`. Where the bottom's streams differ (`task_specific`,
    `shared_specific`) and the trunk's experts do not read some of them (`reads_own`, `reads_shared`), a `JoinStreams`
    layer `"join"` sets them beside the trunk's output: nothing that a stage was given is dropped. Side streams go past
    the trunk to a head that reads them (`tfmtl.stages.ReadsSideStreams`). Stages of your own
    keep the contract of `tfmtl.stages.Bottom`, `Trunk` and `Head`.

    Args:
        schema: adapted; its features become the inputs.
        bottom: encoded dict -> streams, such as `SharedBottomRepresentation(schema.features, schema.task_names)`.
        trunk: streams -> streams, such as `PLE((256, 128))`.
        head: streams -> predictions, such as `Towers(schema.tasks)`.
        name: of the model.

    Raises:
        ValueError: a feature that was never adapted, or one with the name of a stage; two stages of one name; a stage
            that lacks what its contract asks for; stages that do not fit, or that were made for other features or
            tasks; a file of vectors (`Categorical(embedding=)`) that is not there, or not that of `adapt`.

    Example:

    >>> from tfmtl import Categorical, MMoE, Schema, SharedBottomRepresentation, Task, Towers, build
    >>> schema = Schema([Categorical("city", num_ids=100)], [Task("click"), Task("buy")])
    >>> bottom = SharedBottomRepresentation(schema.features, schema.task_names)
    >>> model = build(schema, bottom, MMoE(64, num_experts=4), Towers(schema.tasks))
    >>> sorted(model.output)
    ['buy', 'click']
    """
    inputs = encoded_inputs(schema.features)
    check_stage("bottom", bottom, Bottom)
    check_stage("trunk", trunk, Trunk)
    check_stage("head", head, Head)
    _check_names(inputs, [bottom.name, trunk.name, head.name])
    _check_features(schema, bottom)
    _check_streams(schema, bottom)

    streams, side = _parted(bottom(inputs))
    mixed = trunk(streams)
    own = bottom.task_specific and not trunk.reads_own
    shared = bottom.shared_specific and not trunk.reads_shared
    if own or shared:
        mixed = JoinStreams(own=own, shared=shared, name="join")([mixed, streams])
    read = _side_streams(head, bottom, side)
    predictions = head({**mixed, **read} if read else mixed)

    _check_tasks(schema, head, predictions)
    model = model_by_name(inputs, predictions, name)
    load_pretrained(model, schema)
    return model


def _parted(streams: Streams) -> tuple[Streams, Streams]:
    """What the bottom gives to the trunk, and its side streams."""
    if not isinstance(streams, Mapping):
        return streams, {}  # which the trunk refuses
    main = {name: stream for name, stream in streams.items() if name not in SIDE_STREAMS}
    return main, {name: streams[name] for name in SIDE_STREAMS if name in streams}


def _side_streams(head: Head, bottom: Bottom, given: Streams) -> Streams:
    """The side streams that `head` reads; raises ValueError where the bottom does not give one."""
    read = head.side_streams if isinstance(head, ReadsSideStreams) else ()
    missing = [name for name in read if name not in given]
    if missing:
        options = {PRIOR: "`priors`", SCENARIO: "`scenario`"}
        raise ValueError(
            f"Head {head.name!r} reads the side streams {missing}: give the bottom "
            f"{' and '.join(options[name] for name in missing)}. Received: {bottom.name!r}, which gives {sorted(given)}"
        )
    return {name: given[name] for name in read}


def _check_names(columns: Iterable[str], stages: list[str]) -> None:
    """Raises ValueError if a column or another stage is called like a stage: a Keras model has one layer of a name."""
    names = {"join", *stages}
    if len(names) <= len(stages):
        raise ValueError(f"The stages of a model need names of their own, other than 'join'. Received: {stages}")
    taken = sorted(set(columns) & names)
    if taken:
        raise ValueError(f"No column may be called like a stage of the model; stages take a `name`. Received: {taken}")


def _check_features(schema: Schema, bottom: Bottom) -> None:
    """Raises ValueError unless `bottom` was made for the features of `schema`."""
    wanted = {feature.name: _of_any_width(feature.encoded()) for feature in schema.features}
    held = {feature.name: _of_any_width(feature.encoded()) for feature in bottom.features}
    differing = sorted(name for name in wanted.keys() | held.keys() if wanted.get(name) != held.get(name))
    if differing:
        raise ValueError(
            "The bottom was made for other features than the schema's: adapt or extend the schema first, then make the "
            f"bottom. Received: {differing} differ"
        )


def _check_streams(schema: Schema, bottom: Bottom) -> None:
    """Raises ValueError unless `bottom` makes streams for the tasks of `schema`.

    A stream too many would have experts and gates that no loss trains.
    """
    if set(bottom.tasks) != set(schema.task_names):
        raise ValueError(
            f"The bottom must be made for the schema's tasks {schema.task_names}. Received: {tuple(bottom.tasks)}"
        )


def _of_any_width(feature: Categorical | Numeric | Sequence) -> Feature:
    """`feature` without the width of its embedding, which is the bottom's to choose."""
    if isinstance(feature, Sequence):
        return replace(feature, fields=tuple(replace(field, dim=1) for field in feature.fields))
    return replace(feature, dim=1)


def _check_tasks(schema: Schema, head: Head, predictions: Predictions) -> None:
    """Raises ValueError unless `head` predicts the tasks of `schema`, each as its kind asks for."""
    kinds = {task.name: task.kind for task in schema.tasks}
    if not isinstance(predictions, Mapping):
        raise ValueError(f"The head must return {{task: (B, 1)}}. Received: {predictions!r} from {head.name!r}")
    if set(predictions) != set(kinds):
        raise ValueError(f"The head must predict {sorted(kinds)}. Received: {sorted(predictions)} from {head.name!r}")
    other = {task: kind for task, kind in head.kinds.items() if kind != kinds.get(task)}
    if other:
        raise ValueError(f"The head was made for tasks of other kinds than the schema's. Received: {other}")
    wide = {
        task.name: tuple(predictions[task.name].shape)
        for task in schema.tasks
        if predictions[task.name].shape[-1] != task.output.width
    }
    if wide:
        raise ValueError(
            "The head must predict as many columns as the tasks' classes and losses ask for, "
            f"{ {task: schema.task(task).output.width for task in wide} }. Received: {wide} from {head.name!r}"
        )
