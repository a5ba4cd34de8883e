"""DBMTL's head against NumPy, who trains whom along its graph, and graphs that it refuses."""

import numpy as np
import pytest
from harness import assert_all_trained, assert_reloads, gradients, ops

from tfmtl.keras_host import keras
from tfmtl.models import dbmtl
from tfmtl.schema import Categorical, Schema, Task
from tfmtl.stages import DBMTLHead

TASKS = [Task("click"), Task("like"), Task("buy"), Task("watch", "regression")]
PARENTS = {"like": ["click"], "buy": ["click", "like"]}


@pytest.fixture
def streams():
    rng = np.random.default_rng(0)
    widths = {"click": 10, "like": 7, "buy": 10, "watch": 3}
    return {task: rng.normal(size=(6, width)).astype("float32") for task, width in widths.items()}


def dense(x, layer, activation=lambda x: np.maximum(x, 0)):
    kernel, bias = (np.asarray(weight, "float64") for weight in layer.get_weights())
    return activation(x @ kernel + bias)


def reference(head, streams):
    """The equations, one task after the other."""
    found, y = {}, {}
    for task in ("click", "like", "buy", "watch"):
        own = dense(streams[task].astype("float64"), head.hidden[task].steps[0])
        read = np.concatenate([own, *(found[parent] for parent in PARENTS.get(task, []))], axis=1)
        found[task] = dense(read, head.relations[task].steps[0])
        link = (lambda x: x) if task == "watch" else (lambda x: 1 / (1 + np.exp(-x)))
        y[task] = dense(found[task], head.outputs[task].output_layer, link)
    return y


def test_follows_the_equations(streams):
    head = DBMTLHead(TASKS, PARENTS, units=(5,), relation_units=(4,))
    y = head(streams)
    for task, expected in reference(head, streams).items():
        np.testing.assert_allclose(np.asarray(y[task]), expected, rtol=2e-5, atol=1e-6)


def test_the_order_of_declaration_does_not_matter(streams):
    """A child may be declared before its parents, and a parent by itself needs no list."""
    tasks = [TASKS[2], TASKS[3], TASKS[1], TASKS[0]]
    head = DBMTLHead(tasks, {"buy": ("click", "like"), "like": "click"}, units=(5,), relation_units=(4,))
    y = head(streams)
    assert head.order.index("click") < head.order.index("like") < head.order.index("buy")
    for task, expected in reference(head, streams).items():
        np.testing.assert_allclose(np.asarray(y[task]), expected, rtol=2e-5, atol=1e-6)


def test_a_child_trains_its_ancestors_and_nobody_else(streams):
    head = DBMTLHead(TASKS, PARENTS, units=(5,), relation_units=(4,))
    head(streams)
    kernels = {
        (task, part): getattr(head, part)[task].trainable_variables[0]
        for task in streams
        for part in ("hidden", "relations", "outputs")
    }
    expected = {"click": {"click"}, "like": {"click", "like"}, "buy": {"click", "like", "buy"}, "watch": {"watch"}}
    for task, ancestors in expected.items():
        found = gradients(lambda task=task: ops.sum((head(streams)[task] - 0.3) ** 2), list(kernels.values()))
        touched = {key for key, g in zip(kernels, found, strict=True) if g is not None and np.abs(g).max() > 0}
        networks = {(name, part) for name in ancestors for part in ("hidden", "relations")}
        assert touched == networks | {(task, "outputs")}


def test_reloads_and_every_variable_is_trained(streams, tmp_path):
    inputs = {name: keras.Input(x.shape[1:], name=name) for name, x in streams.items()}
    head = DBMTLHead(TASKS, PARENTS, units=(5,), relation_units=(6, 4), dropout=0.1, batch_norm=True)
    model = keras.Model(inputs, head(inputs))
    assert head.name == "head"
    assert_all_trained(model, lambda: sum(ops.sum((y - 0.3) ** 2) for y in model(streams).values()))
    assert_reloads(model, streams, tmp_path)


def test_starts_at_the_base_rates_and_predicts_in_float32(streams):
    rates = {"click": 0.1, "buy": 0.002, "watch": 40.0}
    head = DBMTLHead(TASKS, PARENTS, base_rates=rates, dtype="mixed_float16")
    still = {task: np.zeros_like(x) for task, x in streams.items()}
    y = DBMTLHead.from_config(head.get_config())(still)
    for task, rate in rates.items():
        assert np.asarray(y[task]).dtype == np.dtype("float32")
        np.testing.assert_allclose(np.asarray(y[task]), rate, rtol=1e-5)


def test_the_preset_fits_and_lets_each_task_depend_on_those_before_it():
    schema = Schema([Categorical("city", num_ids=5, dim=4)], TASKS[:3])
    model = dbmtl(schema, units=(6,), tower_units=(5,), relation_units=(4,))
    assert model.name == "dbmtl"
    assert model.get_layer("head").parents == {"click": (), "like": ("click",), "buy": ("click", "like")}
    model.compile("sgd", loss=dict.fromkeys(schema.task_names, "binary_crossentropy"), run_eagerly=True)
    rows = {"city": np.array([1, 2, 3, 0], "int32")}
    labels = {task: np.array([1.0, 0, 0, 1]) for task in schema.task_names}
    assert np.isfinite(model.fit(rows, labels, verbose=0).history["loss"]).all()


@pytest.mark.parametrize(
    ("parents", "match"),
    [
        ({"like": ["share"]}, r"must name tasks. Received: \['share'\]"),
        ({"share": ["like"]}, r"must name tasks. Received: \['share'\]"),
        ({"like": ["click", "click"]}, "depends on another once. Received: parents of 'like'"),
        ({"like": ["like"]}, "a circle like -> like"),
        ({"like": ["click"], "click": ["buy"], "buy": ["like"]}, r"a circle (\w+ -> ){3}\w+"),
        (["click", "like"], "must be {task: the tasks that it depends on}"),
    ],
)
def test_refuses(parents, match):
    with pytest.raises(ValueError, match=match):
        DBMTLHead(TASKS, parents)


def test_refuses_streams_that_lack_a_task(streams):
    with pytest.raises(ValueError, match=r"lack tasks \['watch'\]"):
        DBMTLHead(TASKS, PARENTS)({task: streams[task] for task in ("click", "like", "buy")})
