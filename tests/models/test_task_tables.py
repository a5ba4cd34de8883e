"""A step computes the losses and metrics of tasks that are alike at once, and each is what it is by itself."""

from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

import tfmtl
from tfmtl import Categorical, Schema, Task
from tfmtl.keras_host import LEGACY, keras, make_before_tracing
from tfmtl.losses import MaskedBinaryCrossentropy, Tweedie
from tfmtl.metrics import MaskedAUC, MaskedCalibration, MaskedRootMeanSquaredError
from tfmtl.named_model import NamedModel

ROWS, RNG = 64, np.random.default_rng(0)
TASKS = [
    *(Task(name) for name in ("view", "like", "share")),
    *(Task(name, kind="regression") for name in ("minutes", "price")),
    *(Task(name, kind="regression", loss=Tweedie(power)) for name, power in (("spent", 1.3), ("paid", 1.6))),
]
SCHEMA = Schema([Categorical("item", num_ids=9, dim=4)], TASKS)
METRICS = {
    task.name: [*names, *(["mae"] if task.name == "minutes" else [])]
    for task in TASKS
    for names in [["auc", "logloss", "calibration", "ap", "ne"] if task.kind == "binary" else ["rmse"]]
}
X = {"item": RNG.integers(1, 10, ROWS).astype("int32")}


def labels(task, row):
    values = RNG.random(ROWS).astype("float32") * 9
    values = (values > 5).astype("float32") if task.kind == "binary" else values
    values[RNG.random(ROWS) < 0.2 + 0.1 * row] = np.nan
    return values[:, None]


Y = {task.name: labels(task, row) for row, task in enumerate(TASKS)}
WEIGHTS = {name: RNG.random(ROWS).astype("float32") for name in Y}


def compiled(tasks=TASKS, shown=METRICS, **options):
    keras.utils.set_random_seed(1)
    model = tfmtl.models.shared_bottom(Schema(SCHEMA.features, tasks), units=(4,))
    shown = {task.name: shown.get(task.name, ()) for task in tasks}
    model.compile(tfmtl.LazyAdam(0.1), **{**tfmtl.objectives(tasks, metrics=shown), **options})
    return model


def each_by_itself(model, y, weights):
    """Losses of the tasks, their sum, its gradients and all metrics, from losses and metrics that know of no others."""
    objectives = tfmtl.objectives(TASKS, metrics=METRICS)
    with tf.GradientTape() as tape:
        predictions = model({name: tf.constant(column) for name, column in X.items()})
        losses = {
            name: loss(y[name], predictions[name], weights.get(name)) for name, loss in objectives["loss"].items()
        }
        total = sum(losses.values())
    figures = {}
    for name, own in objectives["metrics"].items():
        for metric in own:
            metric.update_state(y[name], predictions[name])
            figures[f"{name}_{metric.name}"] = float(metric.result())
    named = {f"{name}_loss": float(loss) for name, loss in losses.items()}
    return float(total), tape.gradient(total, model.trainable_variables), {**named, **figures}


@pytest.mark.parametrize("weights", [{}, WEIGHTS], ids=["plain", "weighted"])
def test_losses_gradients_and_metrics_are_those_of_each_task_by_itself(weights):
    model = compiled()
    loss, gradients, figures = each_by_itself(model, Y, weights)
    logged = model.test_on_batch(X, Y, weights or None, return_dict=True)
    assert set(figures) <= set(logged)
    for name, value in {"loss": loss, **figures}.items():
        np.testing.assert_allclose(logged[name], value, rtol=1e-5, err_msg=name)

    with tf.GradientTape() as tape:
        predictions = model({name: tf.constant(column) for name, column in X.items()}, training=True)
        y = {name: tf.constant(column) for name, column in Y.items()}
        total = model.compute_loss(
            None, y, predictions, {name: tf.constant(own) for name, own in weights.items()} or None
        )
    for own, expected in zip(tape.gradient(total, model.trainable_variables), gradients, strict=True):
        np.testing.assert_allclose(tf.convert_to_tensor(own), tf.convert_to_tensor(expected), rtol=1e-4, atol=1e-6)


def operations(tasks, kind, shape, weighted):
    """The operations of a step's graph, by type."""
    names = [f"t{number}" for number in range(tasks)]
    metrics = {name: [MaskedAUC(), MaskedCalibration()] for name in names}
    model = compiled([Task(name) for name in names], {}, metrics=metrics)
    make_before_tracing(model, names)
    columns = {name: tf.TensorSpec(shape, "float32") for name in names}
    batch = ({"item": tf.TensorSpec((None,), "int32")}, columns, *([columns] if weighted else []))
    step = tf.function(lambda *batch: getattr(model, f"{kind}_step")(batch), autograph=False)
    return Counter(operation.type for operation in step.get_concrete_function(*batch).graph.get_operations())


@pytest.mark.parametrize(
    ("kind", "shape", "weighted"),
    [("train", (None,), False), ("train", (None, 1), True), ("test", (None,), True), ("test", (8, 1), False)],
)
def test_a_graph_has_the_arithmetic_of_a_loss_and_a_metric_once(kind, shape, weighted):
    """Whatever this Keras makes of losses and metrics before it calls them: if it hid them, each would be by itself."""
    few, many = (operations(tasks, kind, shape, weighted) for tasks in (2, 4))
    for operation in ("Log", "IsNan", "UnsortedSegmentSum"):
        assert few[operation] == many[operation] > 0, operation
    assert many["Assert"] - few["Assert"] == 2 * (1 + weighted)  # each task has its own sentence


@pytest.mark.parametrize(("what", "value", "eager"), [("labels", -1.0, False), ("sample weights", -2.0, True)])
def test_a_wrong_label_or_weight_is_named_by_its_task(what, value, eager):
    model = compiled(run_eagerly=eager)
    y, weights = ({name: column.copy() for name, column in given.items()} for given in (Y, WEIGHTS))
    spoilt = y if what == "labels" else weights
    y["share"][5] = 1.0
    spoilt["share"][5] = value
    before = model.get_weights()
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=rf"{what} of `share` must be .*{value:g}"):
        model.train_on_batch(X, y, weights)
    for own, kept in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(own, kept)


def test_columns_of_other_forms_and_losses_of_other_configs_stand_alone():
    y = {**Y, "like": Y["like"][:, 0], "share": Y["share"].astype("float64"), "price": Y["price"].astype("float64")}
    model = compiled()
    loss, _, figures = each_by_itself(model, y, {})
    logged = model.test_on_batch(X, y, return_dict=True)
    for name, value in {"loss": loss, **figures}.items():
        np.testing.assert_allclose(logged[name], value, rtol=1e-5, err_msg=name)


class Doubled(MaskedBinaryCrossentropy):
    """Says nothing of being elementwise, and has a factor that its config leaves out, or no config."""

    def __init__(self, factor):
        super().__init__("doubled")
        self.factor = factor

    def row_losses(self, labels, predictions):
        return self.factor * super().row_losses(labels, predictions)

    def get_config(self):
        raise NotImplementedError


class Table(Doubled):
    """Elementwise, with a config of an array, of which `repr` shows a part."""

    elementwise = True

    def get_config(self):
        return {"table": np.full(2000, 1.0) * np.where(np.arange(2000) == 1000, self.factor, 1.0)}


def patched(factor):
    """An instance whose own method says what a row costs."""
    loss = MaskedBinaryCrossentropy()
    of_kind = loss.row_losses
    loss.row_losses = lambda labels, predictions: factor * of_kind(labels, predictions)
    return loss


@pytest.mark.parametrize("make", [Doubled, Table, patched])
def test_a_loss_that_may_be_another_is_computed_by_itself(make):
    tasks = TASKS[:2]
    y = {task.name: Y[task.name] for task in tasks}
    plain = compiled(tasks).test_on_batch(X, y, return_dict=True)
    logged = compiled(tasks, loss={"view": make(2.0), "like": make(3.0)}).test_on_batch(X, y, return_dict=True)
    np.testing.assert_allclose(logged["view_loss"], 2 * plain["view_loss"], rtol=1e-5)
    np.testing.assert_allclose(logged["like_loss"], 3 * plain["like_loss"], rtol=1e-5)


def test_one_loss_for_all_tasks_and_one_array_of_weights():
    tasks, weights = TASKS[:3], WEIGHTS["view"]
    y = {task.name: Y[task.name] for task in tasks}
    model = compiled(tasks, {}, loss=MaskedBinaryCrossentropy(), loss_weights=None, metrics=None)
    predictions = model({name: tf.constant(column) for name, column in X.items()})
    expected = {name: float(MaskedBinaryCrossentropy()(y[name], predictions[name], weights)) for name in y}
    logged = model.test_on_batch(X, y, weights, return_dict=True)
    np.testing.assert_allclose(logged["loss"], sum(expected.values()), rtol=1e-5)
    for name, value in expected.items():
        np.testing.assert_allclose(logged[f"{name}_loss"], value, rtol=1e-5)


def test_metrics_with_weights():
    metrics = {name: [MaskedAUC(), MaskedCalibration()] for name in ("view", "like")}
    tasks = TASKS[:2]
    y, weights = ({task.name: given[task.name] for task in tasks} for given in (Y, WEIGHTS))
    model = compiled(tasks, {}, metrics=None, weighted_metrics=metrics)
    predictions = model({name: tf.constant(column) for name, column in X.items()})
    logged = model.test_on_batch(X, y, weights, return_dict=True)
    for name in y:
        alone = MaskedAUC()
        alone.update_state(y[name], predictions[name], weights[name])
        np.testing.assert_allclose(logged[f"{name}_auc"], float(alone.result()), rtol=1e-5)


@pytest.mark.skipif(
    LEGACY, reason="tf_keras wants a label for every output, and gives each metric of a list all of them"
)
def test_losses_of_some_tasks_and_metrics_by_position():
    tasks = TASKS[:3]
    y = {task.name: Y[task.name] for task in tasks if task.name != "like"}
    losses = {name: MaskedBinaryCrossentropy() for name in y}
    partial = compiled(tasks, {}, loss=losses, loss_weights=None, metrics=None)
    predictions = partial({name: tf.constant(column) for name, column in X.items()})
    expected = sum(float(losses[name](y[name], predictions[name])) for name in y)
    np.testing.assert_allclose(partial.test_on_batch(X, y, return_dict=True)["loss"], expected, rtol=1e-5)

    tasks = [TASKS[1], TASKS[3]]  # the second is a regression, whose labels no `MaskedAUC` takes
    metrics = [MaskedAUC(), MaskedRootMeanSquaredError()]
    listed = compiled(tasks, {}, metrics=metrics, run_eagerly=True)
    logged = listed.test_on_batch(X, {task.name: Y[task.name] for task in tasks}, return_dict=True)
    assert {"like_auc", "minutes_rmse"} <= set(logged)


@pytest.mark.skipif(not LEGACY, reason="Keras 3 hands on labels as they are")
def test_predictions_without_a_column_keep_labels_without_one():
    class Squares(keras.losses.Loss):
        def call(self, labels, predictions):
            return tf.square(labels - predictions)

    inputs = keras.Input((1,))
    outputs = {name: keras.layers.Reshape(())(keras.layers.Dense(1)(inputs)) for name in ("a", "b")}
    x, y = np.arange(4.0)[:, None], {name: np.arange(4.0) for name in outputs}
    found = []
    for kind in (keras.Model, NamedModel):
        keras.utils.set_random_seed(0)
        model = kind([inputs], outputs)
        model.compile("sgd", loss={name: Squares() for name in outputs})
        found.append(model.evaluate(x, y, verbose=0))
    np.testing.assert_allclose(*found, rtol=1e-6)
