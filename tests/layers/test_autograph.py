"""AutoGraph rewrites nothing of ours, which would take as long as building a model; what others rely on it for goes on."""

import inspect

import numpy as np
import pytest

from tfmtl.keras_host import LEGACY, keras, ops
from tfmtl.layers import FieldInteractions
from tfmtl.metrics import MaskedAUC

REWRITTEN = "__autograph_generated_file"
CALLERS: list[list[str]] = []


def note_callers():
    CALLERS.append([frame.filename for frame in inspect.stack()])


@pytest.fixture
def callers():
    """The files of the functions that ran when `note_callers` was called, the inner first."""
    CALLERS.clear()
    return CALLERS


class Plain(keras.layers.Layer):
    def call(self, fields):
        note_callers()
        return fields[0]


class Branching(keras.layers.Layer):
    """As people write layers for tf_keras: Python's `if` over a tensor."""

    def call(self, fields):
        note_callers()
        return fields[0] if ops.sum(fields[0]) > 0 else -fields[0]


def over_fields(layer):
    fields = [keras.Input((2,), name="a"), keras.Input((3,), name="b")]
    return keras.Model(fields, FieldInteractions([layer])(fields))


def test_layers_run_as_written(callers):
    over_fields(Plain())
    assert any(file.endswith("field_interactions.py") for file in callers[-1])


@pytest.mark.skipif(not LEGACY, reason="Keras 3 rewrites no layer")
def test_a_layer_of_others_within_ours_is_rewritten(callers):
    model = over_fields(Branching())
    assert any(REWRITTEN in file for file in callers[-1])
    rows = [np.array([[-1, -2]], "float32"), np.zeros((1, 3), "float32")]
    np.testing.assert_array_equal(model.predict_on_batch(rows), [[1, 2]])


def test_metrics_run_as_written(callers):
    class Noting(MaskedAUC):
        def measure(self, rows):
            note_callers()
            return super().measure(rows)

    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(1, "sigmoid")(inputs))
    model.compile("sgd", "mse", metrics=[Noting()])
    model.fit(np.ones((4, 1)), np.ones((4, 1)), verbose=0)
    assert any(file.endswith("masked_metric.py") for file in callers[-1])
