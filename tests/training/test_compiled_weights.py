"""The weights that tasks train with are found again, however they were given."""

from dataclasses import replace

import numpy as np
import pytest
from training.models import SCHEMA, TASKS, batches, rows, small_model

from tfmtl.keras_host import keras
from tfmtl.training import objectives
from tfmtl.training.balancing import Static, balanced
from tfmtl.training.compiled_weights import compiled_weights, is_trained


def test_without_compile_they_are_the_tasks_own():
    model = small_model()
    assert compiled_weights(model, TASKS) == {"sale": 1.0, "click": 0.5, "price": 0.1} and is_trained(model)
    model.compile("sgd", "mse")
    assert compiled_weights(model, TASKS) == {"sale": 1.0, "click": 1.0, "price": 1.0} and not is_trained(model)


def test_they_are_those_of_compile():
    model = small_model()
    losses = objectives(TASKS[:2])
    model.compile("sgd", **losses)
    assert compiled_weights(model, TASKS) == {"sale": 1.0, "click": 0.5, "price": 0.0}
    model.compile("sgd", loss=dict(losses["loss"]))
    assert compiled_weights(model, TASKS) == {"sale": 1.0, "click": 1.0, "price": 0.0}


def test_a_weight_that_decays_is_taken_where_it_stands():
    optimizer = keras.optimizers.SGD(0.01)
    tasks = [replace(TASKS[0], weight=2.0, weight_decay=0.5), *TASKS[1:]]
    model = small_model()
    model.compile(optimizer, **objectives(tasks, optimizer=optimizer, decay_steps=2))
    assert compiled_weights(model, tasks)["sale"] == 2.0
    x, y = rows(40)
    model.fit(batches(x, y, 8), verbose=0)
    assert compiled_weights(model, tasks)["sale"] == 0.5 and is_trained(model)


def test_a_balancer_weighs_too():
    model = balanced(small_model(), Static({"sale": 4.0, "click": 2.0, "price": 1.0}))
    model.compile("sgd", **objectives(TASKS))
    x, y = rows(16)
    model.fit(batches(x, y, 8), verbose=0)
    found = compiled_weights(model, SCHEMA.tasks)
    weights = np.array(model.balancing.held["weights"])
    assert found == pytest.approx(
        {task.name: task.weight * weight for task, weight in zip(TASKS, weights, strict=True)}
    )
    assert len(set(weights)) == 3
