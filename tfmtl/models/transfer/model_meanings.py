"""What the weights of a whole model stand for."""

from typing import Any

from tfmtl.keras_host import keras
from tfmtl.layers.join_streams import JoinStreams
from tfmtl.models.transfer.meanings import UNKNOWN, Meanings, numbered
from tfmtl.models.transfer.stage_meanings import follow
from tfmtl.schema import Categorical, Schema
from tfmtl.stages.bottoms import Representation
from tfmtl.stages.stage import Bottom, Head, Trunk
from tfmtl.typing import SCENARIO, SIDE_STREAMS


def meanings_of(model: keras.Model, schema: Schema, tables: list[Any]) -> Meanings:
    """The meanings of all weights of `model` but its tables, which have ids.

    Stages are called by what they are. Of a model that `build` has not made, weights are known by their place, and have
    counterparts where the features are the same.

    Args:
        model: functional.
        schema: of the model.
        tables: weights that hold tables.
    """
    into = Meanings(tables)
    features = tuple((feature.name, _width(feature)) for feature in schema.features)
    streams: Any = None
    mixed: Any = None
    place = 0
    for layer in model.layers:
        if isinstance(layer, Bottom) and streams is None:
            streams = _named_scenarios(layer, follow(layer, into, "bottom", features), schema)
        elif isinstance(layer, JoinStreams) and mixed is not None:
            mixed = follow(layer, into, "join", [mixed, streams])
        elif isinstance(layer, Trunk) and streams is not None:
            mixed = follow(layer, into, "trunk", {name: streams[name] for name in streams if name not in SIDE_STREAMS})
        elif isinstance(layer, Head) and mixed is not None:
            follow(layer, into, "head", mixed | {name: streams[name] for name in streams if name in SIDE_STREAMS})
        elif layer.weights:
            into.add_unknown(f"layers[{place}]", layer, features)
            place += 1
    return into


def _named_scenarios(bottom: Any, streams: Any, schema: Schema) -> Any:
    """`streams`, the scenarios of one of our bottoms named by their ids: a vocabulary may have another order tomorrow."""
    if not isinstance(bottom, Representation) or bottom.side.scenario is None:
        return streams
    feature = schema.feature(bottom.side.scenario)
    vocabulary = feature.vocabulary if isinstance(feature, Categorical) else None
    ids = vocabulary if isinstance(vocabulary, tuple) else numbered(bottom.side.num_scenarios - 1)
    return {**streams, SCENARIO: (UNKNOWN, *ids)}


def _width(feature: Any) -> Any:
    return getattr(feature, "dim", None) or getattr(feature, "size", None)
