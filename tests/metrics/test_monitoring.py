"""Callbacks know which way a metric gets better: Keras 3 reads `_direction`, tf_keras the metric's name."""

import numpy as np
import pytest

from tfmtl.keras_host import keras
from tfmtl.metrics import MaskedAUC, MaskedLogLoss, MaskedRootMeanSquaredError


def best_of(metric, values):
    """What a callback left to itself takes for the best of the `values` of a metric."""
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(inputs))
    model.compile("sgd", "mse", metrics=[metric])
    model.train_on_batch(np.ones((2, 1), "float32"), np.array([[0.0], [1.0]], "float32"))
    callback = keras.callbacks.EarlyStopping(f"val_{metric.name}", patience=9)
    callback.set_model(model)
    callback.on_train_begin()
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {f"val_{metric.name}": value})
    return callback.best


@pytest.mark.parametrize(
    ("metric", "best"), [(MaskedAUC, max), (MaskedLogLoss, min), (MaskedRootMeanSquaredError, min)]
)
def test_the_better_way(metric, best):
    values = [0.6, 0.9, 0.3, 0.7]
    assert best_of(metric(), values) == best(values)


@pytest.mark.keras3
def test_should_keras_not_find_it_it_asks(monkeypatch):
    monkeypatch.delattr(MaskedAUC, "_direction")
    with pytest.raises(ValueError, match="mode='max'"):
        best_of(MaskedAUC(), [0.5])
