"""What tells one model from another that was built alike or not."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from tfmtl.keras_host import keras, layers_of


def digest(described: Any) -> str:
    """16 hexadecimal digits for whatever is made of JSON types; other values count by their type."""
    text = json.dumps(described, sort_keys=True, default=lambda value: type(value).__name__)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def model_fingerprint(model: keras.Model) -> str:
    """The same for two models that are built by the same code, another one where a size, a layer or an option differs.

    Keras numbers the names of layers through the whole process, so names that it gave count by their place. Of layers
    without `get_config` only the class and the shapes of the weights count.
    """
    layers = layers_of(model)
    names = [model.name, *(layer.name for layer in layers)]
    places = {name: f"layer {place}" for place, name in enumerate(dict.fromkeys(names))}
    try:
        config: Any = _with_places(model.get_config(), places)
    except (NotImplementedError, TypeError, ValueError):
        config = None
    shapes = [[int(size) for size in weight.shape] for weight in model.weights]
    return digest([config, [type(layer).__name__ for layer in layers], shapes])


def _with_places(value: Any, places: dict[str, str]) -> Any:
    """`value` with `places` instead of the names of layers."""
    if isinstance(value, str):
        return places.get(value, value)
    if isinstance(value, Mapping):
        return {str(key): _with_places(held, places) for key, held in value.items() if key != "build_config"}
    if isinstance(value, list | tuple):
        return [_with_places(held, places) for held in value]
    return value
