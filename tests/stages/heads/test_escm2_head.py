"""ESCM2's head: its risk in a model's loss, on one device and on two, what exports and files hold, and the truth."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import tensorflow as tf
from harness import assert_reloads, gradients, run_fresh

from tfmtl import Schema, SharedBottomRepresentation, SingleTask, STEMRepresentation, Task, Towers, build, objectives
from tfmtl.data import synthetic
from tfmtl.keras_host import keras
from tfmtl.models import escm2, with_conditionals
from tfmtl.schema import Categorical
from tfmtl.stages import ESCM2Head
from tfmtl.training.balancing import RLW, balanced

TASKS = [Task("click", mean=0.3), Task("cart", mean=0.1), Task("buy", mean=0.05), Task("watch", "regression")]
CHAIN = ["click", "cart", "buy"]
SCHEMA = Schema([Categorical("item", num_ids=5, dim=4)], TASKS)
ROWS = {"item": np.arange(8, dtype="int32") % 6}
NAN = float("nan")
LABELS = {
    "click": np.array([1, 1, 0, 1, NAN, 0, 1, 1], "float32"),
    "cart": np.array([1, 0, 0, 1, 0, 0, NAN, 1], "float32"),
    "buy": np.array([1, 0, 0, 0, 0, 0, 0, NAN], "float32"),
    "watch": np.arange(8, dtype="float32"),
}
SMALL = {"units": (6,), "tower_units": (5,), "imputation_units": (3,)}


def crossentropy(labels, predictions):
    return -(labels * np.log(predictions) + (1 - labels) * np.log(1 - predictions))


def propensity_risk(model, least=0.05):
    """The paper's IPW of both later steps, from what the model predicts."""
    predictions = {task: np.asarray(y)[:, 0].astype("float64") for task, y in model(ROWS).items()}
    total = 0.0
    for before, step in pairwise(CHAIN):
        counted = ~np.isnan(LABELS[before]) & ~np.isnan(LABELS[step])
        o, r, q = LABELS[before][counted], LABELS[step][counted], predictions[before][counted]
        cost = crossentropy(r, predictions[step][counted] / q)
        total += (o * cost / np.maximum(q, least)).sum() / counted.sum()
    return total


def logged(model, labels=LABELS, weights=None):
    """The loss that one step of training shows; at a rate of 0, which leaves the model as it is."""
    model.compile(keras.optimizers.SGD(0.0), loss=objectives(TASKS, normalize=False)["loss"], run_eagerly=True)
    return model.fit(ROWS, labels, batch_size=8, sample_weight=weights, verbose=0).history["loss"][0]


def test_the_risk_is_part_of_the_loss_in_training_alone():
    model = escm2(SCHEMA, CHAIN, estimator="ipw", counterfactual_weight=2.0, min_propensity=0.05, **SMALL)
    loss = logged(model)
    without = model.evaluate(ROWS, LABELS, batch_size=8, verbose=0, return_dict=True)["loss"]
    assert loss - without == pytest.approx(2 * propensity_risk(model), rel=1e-4)
    none = {**LABELS, "click": np.full(8, NAN, "float32"), "cart": np.full(8, NAN, "float32")}
    assert logged(model, none) == pytest.approx(
        model.evaluate(ROWS, none, verbose=0, return_dict=True)["loss"], rel=1e-5
    )


def test_sample_weights_weigh_the_risk():
    weights = {task: np.full(8, 3.0 if task == "buy" else 1.0, "float32") for task in LABELS}
    found = []
    for given in (None, weights):
        keras.utils.set_random_seed(0)
        model = escm2(SCHEMA, CHAIN, estimator="ipw", **SMALL)
        model(ROWS, training=True)
        head = model.get_layer("head")
        found.append([float(risk) for risk in head.label_losses(LABELS, given)])
    assert found[1] == pytest.approx([found[0][0], 3 * found[0][1]], rel=1e-5)


@pytest.mark.parametrize("imputation", ["label", "error"])
def test_every_weight_is_trained_and_none_by_the_propensity(imputation, tmp_path):
    model = escm2(SCHEMA, CHAIN, imputation=imputation, **SMALL)
    head = model.get_layer("head")

    def risk():
        model(ROWS, training=True)
        return sum(head.label_losses(LABELS, None))

    # The risk trains the towers and imputations of later steps, and no propensity by the tower of the first one.
    parts = {**head.towers.towers, **{f"{step} imputed": imputer for step, imputer in head.imputers.items()}}
    assert sorted(parts) == ["buy", "buy imputed", "cart", "cart imputed", "click", "watch"]
    for name, part in parts.items():
        found = gradients(risk, part.trainable_variables)
        touched = [each is not None and np.abs(each).max() > 0 for each in found]
        assert touched == [name not in ("click", "watch")] * len(found), name
    model(ROWS, training=False)
    assert head.label_losses(LABELS, None) == []  # the last call was not for training
    assert_reloads(model, ROWS, tmp_path)


def test_starts_where_rows_cost_what_they_do_on_average():
    streams = {task.name: np.zeros((1, 3), "float32") for task in TASKS}
    rate = 0.05 / 0.1
    for imputation, expected in (("label", 0.0), ("error", np.log(np.exp(crossentropy(rate, rate)) - 1))):
        head = ESCM2Head(TASKS, CHAIN, imputation=imputation)
        head(streams)
        assert np.asarray(head.imputers["buy"](streams["buy"])).item() == pytest.approx(expected, abs=1e-5)


def test_a_balanced_model_is_trained_by_it_too():
    keras.utils.set_random_seed(0)
    plain = escm2(SCHEMA, CHAIN, counterfactual_weight=1.0, **SMALL)
    imputers = plain.get_layer("head").imputers["buy"]
    *_, before = imputers.get_weights()
    model = balanced(plain, RLW())
    model.compile(keras.optimizers.SGD(0.5), loss=objectives(TASKS, normalize=False)["loss"])
    model.fit(ROWS, LABELS, batch_size=8, verbose=0)
    *_, after = imputers.get_weights()
    assert after != before


@pytest.mark.parametrize("eager", [False, True])
def test_a_plain_model_is_refused_and_a_step_of_ones_own_is_not(eager):
    """Keras's own step would train without the risk and say nothing."""
    model = escm2(SCHEMA, CHAIN, estimator="ipw", **SMALL)
    losses = objectives(TASKS, normalize=False)["loss"]
    plain = keras.Model(model.inputs, model.output)
    plain.compile("sgd", loss=losses, run_eagerly=eager)
    with pytest.raises(ValueError, match="has a loss that reads labels"):
        plain.fit(ROWS, LABELS, verbose=0)

    class Own(keras.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, **options):
            risk = model.get_layer("head").label_losses(y, sample_weight)
            return super().compute_loss(x, y, y_pred, sample_weight, **options) + sum(risk)

    own = Own(model.inputs, model.output)
    own.compile(keras.optimizers.SGD(0.0), loss=losses, run_eagerly=eager)
    assert own.fit(ROWS, LABELS, batch_size=8, verbose=0).history["loss"][0] > 0


def test_labels_and_imputation_stay_out_of_graphs():
    model = escm2(SCHEMA, CHAIN, **SMALL)
    rows = {"item": tf.TensorSpec((None,), tf.int32, name="item")}
    graph = tf.function(lambda x: model(x, training=False)).get_concrete_function(rows)
    assert not [op.name for op in graph.graph.get_operations() if "imputer" in op.name]


def test_two_replicas_equal_one_device():
    """All clicks on one of the two, rows without labels on both, and a last batch that splits unevenly."""
    run_fresh(
        """
        import numpy as np
        import tensorflow as tf
        from replicas import assert_replicas_agree, split_cpu
        from stages.heads.test_escm2_head import CHAIN, SCHEMA, SMALL, TASKS
        from tfmtl import objectives
        from tfmtl.keras_host import keras
        from tfmtl.models import escm2

        split_cpu()
        rng = np.random.default_rng(0)
        count = 19
        click = np.where(np.arange(count) % 8 < 4, 1.0, 0.0)
        cart = click * (rng.random(count) < 0.6)
        cart[rng.random(count) < 0.2] = np.nan
        buy = np.nan_to_num(cart) * (rng.random(count) < 0.5)
        y = {"click": click, "cart": cart, "buy": buy, "watch": rng.normal(size=count)}
        rows = ({"item": rng.integers(0, 6, count).astype("int32")}, {k: v.astype("float32") for k, v in y.items()})

        def trained(strategy):
            keras.utils.set_random_seed(0)
            with strategy.scope():
                model = escm2(SCHEMA, CHAIN, counterfactual_weight=1.0, **SMALL)
                model.compile(keras.optimizers.SGD(0.2), loss=objectives(TASKS, normalize=False)["loss"])
            history = model.fit(tf.data.Dataset.from_tensor_slices(rows).batch(8), verbose=0).history
            return history["loss"], model.get_weights()

        assert_replicas_agree(trained, atol=1e-5)
        """
    )


def additive(schema, head):
    """A number of the user and one of the item for each task: too small a model for what `synthetic.selection` draws."""
    bottom = STEMRepresentation(schema.features, schema.task_names)
    return build(schema, bottom, SingleTask((4,), activation="linear"), head)


def conversion_rates(kind, data):
    """P(buy | click) of every row, by a model of `kind` trained on `data`."""
    columns = {name: data.rows[name].to_numpy() for name in data.rows.column_names}
    x = {name: columns[name].astype("int32") + 1 for name in ("user", "item")}
    y = {task: columns[task].astype("float32") for task in ("click", "buy")}
    schema = data.schema
    if kind == "masked":
        schema = replace(schema, tasks=(Task("buy", mean=0.3),))
        y = {"buy": np.where(y["click"] == 1, y["buy"], np.nan)}
        model = build(
            schema,
            SharedBottomRepresentation(schema.features, ["buy"]),
            SingleTask((4,), activation="linear"),
            Towers(schema.tasks, units=()),
        )
    else:
        options = {"estimator": "ipw"} if kind == "ipw" else {"imputation": kind}
        head = ESCM2Head(schema.tasks, ["click", "buy"], units=(), imputation_units=(), **options)
        model = additive(schema, head)
    model.compile(keras.optimizers.Adam(0.02), loss=objectives(schema.tasks)["loss"])
    model.fit(x, y, batch_size=1000, epochs=12, verbose=0)
    if kind != "masked":
        model, _ = with_conditionals(model, schema, {"cvr": ("buy", "click")})
    return np.asarray(model(x)["buy" if kind == "masked" else "cvr"])[:, 0]


@pytest.fixture(scope="module")
def selected():
    data = synthetic.selection(12_000)
    return data, conversion_rates("masked", data)


@pytest.mark.parametrize("kind", ["ipw", pytest.param("label", marks=pytest.mark.slow)])
def test_comes_closer_to_what_would_have_been_bought(kind, selected):
    """Where the truth is known in the rows without a click, and the model is too small for all of it."""
    data, masked = selected
    truth, found = data.truth["buy_if_clicked"], conversion_rates(kind, data)

    def error(p):
        return np.sqrt(np.mean((p - truth) ** 2))

    assert error(found) < 0.92 * error(masked)
    assert abs(found.mean() / truth.mean() - 1) < 0.5 * abs(masked.mean() / truth.mean() - 1)


@pytest.mark.slow
def test_the_papers_form_of_the_imputation_predicts_too_much(selected):
    data, _ = selected
    truth = data.truth["buy_if_clicked"].mean()
    assert conversion_rates("error", data).mean() > 1.2 * truth > 1.1 * conversion_rates("label", data).mean()


def test_refuses():
    with pytest.raises(ValueError, match="`estimator` must be one of"):
        ESCM2Head(TASKS, CHAIN, estimator="ips")
    with pytest.raises(ValueError, match="`counterfactual_weight` must be >= 0"):
        ESCM2Head(TASKS, CHAIN, counterfactual_weight=-1.0)
    with pytest.raises(ValueError, match=r"`min_propensity` must be in \(0, 1\]"):
        ESCM2Head(TASKS, CHAIN, min_propensity=0)
    with pytest.raises(ValueError, match="Step 'buy' must be defined where"):
        ESCM2Head([Task("click"), Task("buy", sample_space="click")], ["click", "buy"])
