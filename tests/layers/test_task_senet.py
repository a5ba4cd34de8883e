"""TaskSENet against its equation, its gradient routes, and what Keras asks of a layer."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from harness import assert_all_trained, assert_reloads, gradients

from tfmtl.keras_host import keras, ops
from tfmtl.layers.task_senet import TaskSENet

TASKS = ("click", "buy")
FIELDS, WIDTH = 6, 4
OPTIONS = [
    {"squeeze": squeeze, "granularity": granularity, "activation": activation}
    for squeeze, granularity, activation in itertools.product(
        ("none", "mean"), ("field", "element"), ("sigmoid", "2*sigmoid")
    )
]


@pytest.fixture
def inputs():
    rng = np.random.default_rng(0)
    return {task: rng.normal(size=(8, FIELDS, WIDTH)).astype("float32") for task in TASKS}


def reference(layer, fields, squeeze, excite):
    read = fields.mean(axis=-1) if layer.squeeze == "mean" else fields.reshape(len(fields), -1)
    importance = 1 / (1 + np.exp(-(np.maximum(read @ squeeze, 0) @ excite)))
    if layer.activation == "2*sigmoid":
        importance = 2 * importance
    return fields * importance.reshape(len(fields), FIELDS, -1)


@pytest.mark.parametrize("options", OPTIONS)
def test_follows_the_equation(inputs, options):
    layer = TaskSENet(TASKS, **options)
    outputs = layer(inputs)
    for task in TASKS:
        weights = [np.asarray(ops.convert_to_tensor(w)) for w in layer.networks[task]]
        np.testing.assert_allclose(outputs[task], reference(layer, inputs[task], *weights), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", OPTIONS)
def test_importances_have_their_shape_and_range(inputs, options):
    layer = TaskSENet(TASKS, **options)
    layer(inputs)
    importance = np.asarray(layer.importance(inputs, "buy"))
    assert importance.shape == (8, FIELDS, 1 if options["granularity"] == "field" else WIDTH)
    assert importance.min() > 0 and importance.max() < (2 if options["activation"] == "2*sigmoid" else 1)


@pytest.mark.parametrize(
    ("options", "parameters"), [({}, 24 * 2 + 2 * 6), ({"squeeze": "mean", "granularity": "element"}, 6 * 2 + 2 * 24)]
)
def test_parameters(inputs, options, parameters):
    layer = TaskSENet(TASKS, **options)
    layer(inputs)
    assert layer.count_params() == 2 * parameters


def test_a_task_learns_from_its_own_loss_only(inputs):
    layer = TaskSENet(TASKS)
    layer(inputs)
    found = gradients(lambda: tf.reduce_sum(layer(inputs)["click"]), [*layer.networks["click"], *layer.networks["buy"]])
    assert all(np.abs(g).max() > 0 for g in found[:2])
    assert found[2:] == [None, None]


def test_every_variable_is_trained(inputs):
    layer = TaskSENet(TASKS)
    layer(inputs)
    assert len(layer.trainable_variables) == 2 * len(TASKS)
    assert_all_trained(layer, lambda: tf.add_n([tf.reduce_sum(y) for y in layer(inputs).values()]))


def test_tasks_can_share_one_network(inputs):
    layer = TaskSENet(TASKS, share_across_tasks=True)
    outputs = layer(dict.fromkeys(TASKS, inputs["buy"]))
    assert len(layer.trainable_variables) == 2
    np.testing.assert_array_equal(outputs["click"], outputs["buy"])


def test_tasks_may_have_fields_of_their_own(inputs):
    outputs = TaskSENet(TASKS)({"click": inputs["click"], "buy": inputs["buy"][:, :4, :3]})
    assert outputs["click"].shape == (8, FIELDS, WIDTH)
    assert outputs["buy"].shape == (8, 4, 3)


def test_reloads_in_a_fresh_process(inputs, tmp_path):
    x = {task: keras.Input((FIELDS, WIDTH), name=task) for task in TASKS}
    above = TaskSENet(TASKS, squeeze="mean", granularity="element", activation="2*sigmoid", share_across_tasks=True)
    assert_reloads(keras.Model(x, above(TaskSENet(TASKS, reduction=2)(x))), inputs, tmp_path)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_stays_close(inputs, policy):
    layer, exact = TaskSENet(TASKS, dtype=policy), TaskSENet(TASKS)
    outputs = layer(inputs)
    exact(inputs)
    exact.set_weights(layer.get_weights())
    for task, y in outputs.items():
        assert np.asarray(y).dtype.name == policy.removeprefix("mixed_")
        np.testing.assert_allclose(np.asarray(ops.cast(y, "float32")), exact(inputs)[task], atol=5e-2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": []}, "at least one"),
        ({"tasks": "click"}, "tasks='click'"),
        ({"tasks": ["click", "click"]}, r"tasks=\['click', 'click'\]"),
        ({"reduction": 0}, "reduction=0"),
        ({"squeeze": "max"}, "squeeze='max'"),
        ({"granularity": "row"}, "granularity='row'"),
        ({"activation": "relu"}, "activation='relu'"),
    ],
)
def test_refuses_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        TaskSENet(**{"tasks": TASKS, **arguments})


def test_refuses_what_does_not_fit(inputs):
    with pytest.raises(ValueError, match=r"keys \['buy', 'click', 'share'\]. Received: \['buy', 'click'\]"):
        TaskSENet([*TASKS, "share"])(inputs)
    with pytest.raises(ValueError, match="Received: a tensor"):
        TaskSENet(TASKS)(inputs["buy"])
    with pytest.raises(ValueError, match=r"\(B, F, D\)"):
        TaskSENet(TASKS)({task: x[:, 0] for task, x in inputs.items()})
    with pytest.raises(ValueError, match="tasks of one shape"):
        TaskSENet(TASKS, share_across_tasks=True)({"click": inputs["click"], "buy": inputs["buy"][:, :3]})
    layer = TaskSENet(TASKS)
    layer(inputs)
    with pytest.raises(ValueError, match=r"task='share'; known: \['buy', 'click'\]"):
        layer.importance(inputs, "share")
