"""A step computes the losses and metrics of tasks that are alike at once, and each is what it is by itself."""

from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

import tfmtl
from tfmtl import Categorical, Schema, Task
from tfmtl.keras_host import LEGACY, keras, make_before_tracing
from tfmtl.losses import MaskedBinaryCrossentropy, Tweedie
from tfmtl.metrics import MaskedAUC, MaskedCalibration

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
    """Says nothing of being elementwise, and has a factor that its config leaves out."""

    def __init__(self, factor):
        super().__init__("doubled")
        self.factor = factor

    def row_losses(self, labels, predictions):
        return self.factor * super().row_losses(labels, predictions)


def test_a_loss_of_a_users_own_is_computed_by_itself():
    tasks = TASKS[:2]
    plain = compiled(tasks).test_on_batch(X, {task.name: Y[task.name] for task in tasks}, return_dict=True)
    model = compiled(tasks, loss={"view": Doubled(2.0), "like": Doubled(3.0)})
    logged = model.test_on_batch(X, {task.name: Y[task.name] for task in tasks}, return_dict=True)
    np.testing.assert_allclose(logged["view_loss"], 2 * plain["view_loss"], rtol=1e-5)
    np.testing.assert_allclose(logged["like_loss"], 3 * plain["like_loss"], rtol=1e-5)


def test_one_loss_for_all_tasks_and_training_on_part_of_them():
    tasks = TASKS[:3]
    model = compiled(tasks, {}, loss=MaskedBinaryCrossentropy(), loss_weights=None, metrics=None)
    y = {task.name: Y[task.name] for task in tasks}
    history = model.fit(X, y, epochs=3, verbose=0, batch_size=10)  # a last batch of four rows
    assert history.history["loss"][-1] < history.history["loss"][0]
    if not LEGACY:  # tf_keras wants a label for every output
        losses = {"view": MaskedBinaryCrossentropy(), "share": MaskedBinaryCrossentropy()}
        partial = compiled(tasks, {}, loss=losses, loss_weights=None, metrics=None)
        assert np.isfinite(partial.fit(X, {name: y[name] for name in y}, verbose=0).history["loss"][0])
