"""The Keras this process runs on: Keras 3, or tf_keras when TF_USE_LEGACY_KERAS=1.

TensorFlow makes the same choice for `tf.keras`, so a tfmtl layer always fits the models around it.
`ops` is Keras 3's in both cases: inside a tf_keras layer it works on plain TensorFlow tensors.
Everything that differs between the two generations is in this file and nowhere else.
"""

import os
from typing import Any

LEGACY = os.environ.get("TF_USE_LEGACY_KERAS", "0").lower() in ("1", "true")

if LEGACY:
    import keras as keras3
    import tf_keras as keras

    if keras3.config.backend() != "tensorflow":
        raise ImportError(
            "TF_USE_LEGACY_KERAS=1 needs the TensorFlow backend. "
            f"Received: KERAS_BACKEND={keras3.config.backend()}. Unset one of the two."
        )
else:
    import keras

from keras import ops  # noqa: E402  (Keras 3, whatever `keras` names above)

BACKEND: str = "tensorflow" if LEGACY else keras.config.backend()
"""The array library under the layers: "tensorflow", "jax" or "torch"."""

register = keras.saving.register_keras_serializable("tfmtl")
"""Class decorator: makes a layer, loss or metric loadable from a `.keras` file once `tfmtl` is imported."""


def add_table(layer: keras.layers.Layer, name: str, shape: tuple[int, ...], initializer: Any, **kwargs: Any) -> Any:
    """Adds an embedding table that mixed precision never casts as a whole.

    A cast table would be copied at every step and its gradient would be dense; lookups are cast instead.
    """
    keep = "experimental_autocast" if LEGACY else "autocast"
    return layer.add_weight(name=name, shape=shape, initializer=initializer, **{keep: False}, **kwargs)


__all__ = ["BACKEND", "LEGACY", "add_table", "keras", "ops", "register"]
