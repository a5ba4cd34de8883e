"""Weights are suggested from the gradients of the shared weights, with the reason, and leave the model alone."""

import numpy as np
import pytest
from harness import gradients
from training.models import SCHEMA, TASKS, batches, rows, small_model

from tfmtl.keras_host import keras
from tfmtl.training import objectives
from tfmtl.training.suggest_weights import suggest_weights


def test_weights_make_the_gradients_equally_long():
    x, y = rows(24)
    y["sale"][:8] = np.nan
    model = small_model()
    before = model.get_weights()
    found = suggest_weights(model, batches({**x, "unread": x["a"]}, y, 8), SCHEMA, steps=3)
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)

    losses = objectives(TASKS)["loss"]
    hidden = next(layer for layer in model.layers if isinstance(layer, keras.layers.Dense))
    jacobians = []
    for start in (0, 8, 16):
        part = slice(start, start + 8)
        inputs = {name: column[part] for name, column in x.items()}
        jacobians.append(
            [
                np.concatenate(
                    [
                        g.ravel()
                        for g in gradients(
                            lambda n=n, part=part, inputs=inputs: losses[n](y[n][part], model(inputs)[n]),
                            hidden.trainable_variables,
                        )
                    ]
                )
                for n in SCHEMA.task_names
            ]
        )
    lengths = np.linalg.norm(jacobians, axis=2)  # (steps, tasks)
    wanted = np.sqrt((lengths**2).sum(0) / (lengths > 0).sum(0))
    np.testing.assert_allclose(list(found.norms.values()), wanted, rtol=1e-4)
    np.testing.assert_allclose(np.mean(list(found.weights.values())), 1)
    pulls = [found.weights[n] * found.norms[n] for n in SCHEMA.task_names]
    np.testing.assert_allclose(pulls, pulls[0])
    assert found.steps == {"sale": 2, "click": 3, "price": 3}
    cosines = [a[0] @ a[1] / np.linalg.norm(a[0]) / np.linalg.norm(a[1]) for a in jacobians[1:]]
    np.testing.assert_allclose(found.cosines[0, 1], np.mean(cosines), rtol=1e-4)


def test_it_says_why():
    x, y = rows(32)
    y["click"] = 1 - (x["a"] > 0).astype("float32")
    y["price"] = 30 * x["a"]
    y["sale"][:] = np.nan
    text = str(suggest_weights(small_model(), batches(x, y, 16), SCHEMA))
    assert "'price' pulls" in text and "as hard on what the tasks share as 'click'" in text
    assert "'sale' had no gradient in any step" in text


def test_refusals():
    x, y = rows(8)
    column = keras.Input((2,))
    with pytest.raises(ValueError, match="functional model that returns a dict"):
        suggest_weights(keras.Model(column, keras.layers.Dense(1)(column)), batches(x, y, 8), SCHEMA)
    with pytest.raises(ValueError, match="gave no batch"):
        suggest_weights(small_model(), batches(x, y, 8).take(0), SCHEMA)
    with pytest.raises(ValueError, match="does not predict: \\['price'\\]"):
        suggest_weights(small_model(TASKS[:2]), batches(x, y, 8), SCHEMA)
    with pytest.raises(ValueError, match="`steps` must be an integer >= 1"):
        suggest_weights(small_model(), batches(x, y, 8), SCHEMA, steps=0)


def test_measuring_leaves_moving_averages_and_random_numbers_alone():
    column = keras.Input((1,), name="a")
    hidden = keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(keras.layers.Dense(4)(column)))
    model = keras.Model({"a": column}, {task.name: keras.layers.Dense(1, name=task.name)(hidden) for task in TASKS})
    before = [np.array(variable) for variable in model.variables]
    x, y = rows(16)
    suggest_weights(model, batches({"a": 5 + x["a"][:, None]}, y, 8), SCHEMA)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(np.array(variable), value)
