"""Weights that parameter servers hold in parts, in files as one array each."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np

from tfmtl.keras_host import LEGACY, keras, layers_of


def save_whole_weights(model: keras.Model) -> None:
    """Has the layers and metrics of `model` that lie in parts save and load whole arrays, as on one device.

    tf_keras by itself writes each part as a weight of its own, and such a file loads only where weights have as many parts.
    Of what an optimizer remembers it writes whole arrays. One weight at a time comes to the process that saves.
    """
    for holder in _held_in_parts(model):
        # The public hooks for the state of a layer, for this one alone.
        vars(holder)["save_own_variables"] = partial(_save, holder)
        vars(holder)["load_own_variables"] = partial(_load, holder)


def lies_in_parts(model: keras.Model) -> bool:
    """Whether any weight of `model` does, as under parameter servers with a `variable_partitioner`."""
    return bool(_held_in_parts(model))


def _held_in_parts(model: keras.Model) -> list[keras.layers.Layer]:
    if not LEGACY:  # Keras 3 does not train under that strategy
        return []
    holders = (*layers_of(model), *model.metrics)
    return [holder for holder in holders if any(_whole(variable) is not variable for variable in _own(holder))]


def _save(holder: keras.layers.Layer, store: Any) -> None:
    for place, weight in enumerate(_wholes(_own(holder))):
        store[str(place)] = weight.numpy()


def _load(holder: keras.layers.Layer, store: Mapping[str, Any]) -> None:
    weights = _wholes(_own(holder))
    kept, shapes = ([tuple(each.shape) for each in given] for given in (_listed(store), weights))
    if kept != shapes:
        raise ValueError(
            f"The file holds weights of other shapes for layer {holder.name!r}: {kept}. Received: {shapes}"
        )
    for array, weight in zip(_listed(store), weights, strict=True):
        weight.assign(np.asarray(array))


def _listed(store: Mapping[str, Any]) -> list[Any]:
    """What lies in a file for one layer: arrays that are read when they are asked for, by their places."""
    return [store[str(place)] for place in range(len(store))]


def _own(holder: keras.layers.Layer) -> list[Any]:
    """The weights of a layer or metric, without those of layers inside of it: what tf_keras itself saves."""
    return [*holder._trainable_weights, *holder._non_trainable_weights]


def _wholes(variables: Iterable[Any]) -> list[Any]:
    """The variables, those of one weight replaced by it."""
    found = {id(whole): whole for whole in map(_whole, variables)}
    return list(found.values())


def _whole(variable: Any) -> Any:
    """What a variable is a part of; itself if of nothing."""
    container = getattr(variable, "_sharded_container", None)  # by which tf_keras's optimizers go too
    return variable if container is None else container()
