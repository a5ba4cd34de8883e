"""The predictions of one model for rows that are held in memory."""

import numpy as np
import tensorflow as tf

from tfmtl.keras_host import inputs_by_name, keras
from tfmtl.training.held_rows import HeldRows

PREDICT_ROWS = 8192
"""Rows that are predicted at a time."""


class RowPredictor:
    """Predicts `HeldRows` again and again while the model is trained; it is traced once.

    A study traces many models. That is no mistake, so they are traced where TensorFlow does not warn of it.

    Args:
        model: functional, returns a dict by task.
        rows: some that hold the columns of `model`; others that are predicted must hold them alike.
    """

    def __init__(self, model: keras.Model, rows: HeldRows):
        self._columns = list(inputs_by_name(model))
        self._tasks = list(model.output)
        (spec,) = rows.batches(PREDICT_ROWS, self._columns).element_spec
        predict = tf.function(lambda x: model(x, training=False), autograph=False)
        self._predict = predict.get_concrete_function(spec)

    def __call__(self, rows: HeldRows) -> dict[str, np.ndarray]:
        """The predictions of every task, `(N,)` float32, `(N, width)` where they have several columns."""
        found: dict[str, list[np.ndarray]] = {task: [] for task in self._tasks}
        for (x,) in rows.batches(PREDICT_ROWS, self._columns):
            for task, values in self._predict(x).items():
                array = np.asarray(values, "float32")
                found[task].append(array if array.ndim == 2 and array.shape[1] > 1 else array.reshape(-1))
        return {task: np.concatenate(batches) for task, batches in found.items()}
