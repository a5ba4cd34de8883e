"""DIN's activation unit and Dice against NumPy, and histories pooled by them below any stage: who trains what, files, rank."""

import numpy as np
import pytest
import tensorflow as tf
from harness import assert_all_trained, assert_reloads, gradients, ops

import tfmtl
from tfmtl.keras_host import dtype_of
from tfmtl.layers import ActivationUnit, Dice, FeatureEmbedding
from tfmtl.models import shared_bottom, stem_net, warm_start
from tfmtl.schema import Categorical, Schema, Sequence, Task

ITEM = Categorical("item", num_ids=6, dim=4, table="items", side="item")
KIND = Categorical("kind", num_ids=3, dim=2, table="kinds", side="item")
ATTENTION = {"pooling": "attention", "target": ("item", "kind"), "attention_units": (5, 3)}
SCHEMA = Schema(
    [
        ITEM,
        KIND,
        Sequence("seen", [ITEM, KIND], length=3, side="user", attention_activation="dice", **ATTENTION),
        Sequence("bought", [ITEM], length=2, side="user", pooling="attention", target="item", attention_softmax=True),
        Sequence("liked", [ITEM], length=2, side="user"),
    ],
    [Task("click", mean=0.5), Task("buy", mean=0.5)],
)
ROWS = {
    "item": np.array([1, 6, 0, 3], "int32"),
    "kind": np.array([1, 2, 3, 0], "int32"),
    "seen_item": np.array([[1, 2, 3], [4, 0, 0], [0, 0, 0], [5, 6, 0]], "int32"),
    "seen_kind": np.array([[1, 1, 2], [3, 0, 0], [0, 0, 0], [0, 2, 0]], "int32"),
    "seen_mask": np.array([[1, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0]], "int32"),
    "bought_item": np.array([[1, 2], [4, 0], [0, 0], [5, 6]], "int32"),
    "bought_mask": np.array([[1, 1], [1, 0], [0, 0], [1, 1]], "int32"),
    "liked_item": np.array([[3, 0], [0, 0], [1, 2], [6, 6]], "int32"),
    "liked_mask": np.array([[1, 0], [0, 0], [1, 1], [1, 1]], "int32"),
}
LABELS = {task: np.array([0, 1, 1, 0], "float32") for task in SCHEMA.task_names}
RNG = np.random.default_rng(0)
EVENTS, TARGET = RNG.normal(size=(4, 3, 6)).astype("float32"), RNG.normal(size=(4, 6)).astype("float32")
MASK = ROWS["seen_mask"]


def weights_of(*layers):
    return [np.asarray(weight, "float64") for layer in layers for weight in layer.get_weights()]


def reference(unit, events, target, mask, activation):
    """The equation, event by event."""
    a, b, by_target, by_product = weights_of(unit.event, unit.target, unit.product)
    w, c = weights_of(unit.score)
    scores = np.zeros(mask.shape)
    for row, place in zip(*np.nonzero(mask), strict=True):
        h, t = events[row, place].astype("float64"), target[row].astype("float64")
        x = activation(h @ a + b + t @ by_target + (h * t) @ by_product, 0)
        for depth, layer in enumerate(unit.hidden, 1):
            kernel, bias = weights_of(layer)
            x = activation(x @ kernel + bias, depth)
        scores[row, place] = (x @ w + c).item()
    return scores


def dice(x, mean, variance, alpha):
    p = 1 / (1 + np.exp(-(x - mean) / np.sqrt(variance + 1e-3)))
    return p * x + alpha * (1 - p) * x


@pytest.mark.parametrize("kind", ["prelu", "dice", "sigmoid"])
def test_scores_follow_the_equation(kind):
    unit = ActivationUnit((5, 3), activation=kind)
    unit([EVENTS, MASK, TARGET])
    for place, layer in enumerate(unit.activations):
        for part in layer.weights:
            part.assign(0.3 + 0.1 * place + 0 * part)

    def activation(x, depth):
        share = 0.3 + 0.1 * depth
        if kind == "sigmoid":
            return 1 / (1 + np.exp(-x))
        return np.where(x > 0, x, share * x) if kind == "prelu" else dice(x, share, share, share)

    expected = reference(unit, EVENTS, TARGET, MASK, activation)
    np.testing.assert_allclose(np.asarray(unit([EVENTS, MASK, TARGET])), expected, rtol=2e-5, atol=1e-5)


def test_a_softmax_makes_scores_sum_to_1_over_the_events():
    unit = ActivationUnit(softmax=True)
    scores = np.asarray(unit([EVENTS, MASK, TARGET]))
    np.testing.assert_allclose(scores.sum(1), [1, 1, 0, 1], rtol=1e-6)
    np.testing.assert_array_equal(scores[MASK == 0], 0)


def test_dice_takes_statistics_of_events_alone():
    layer = Dice(momentum=0.5)
    x = EVENTS + 3
    y = np.asarray(layer(x, training=True, mask=MASK))
    seen = x[MASK == 1].astype("float64")
    mean, variance = seen.mean(0), seen.var(0)
    np.testing.assert_allclose(y[MASK == 1], dice(seen, mean, variance, 0), rtol=1e-4, atol=1e-5)
    alpha, moving_mean, moving_variance, _ = (np.asarray(weight) for weight in layer.get_weights())
    np.testing.assert_allclose(moving_mean, mean, rtol=1e-5)  # what they started with weighs nothing
    np.testing.assert_allclose(moving_variance, variance, rtol=1e-5)
    layer(x, training=True, mask=np.zeros_like(MASK))  # nothing to count
    np.testing.assert_array_equal(np.asarray(layer.get_weights()[1]), moving_mean)
    np.testing.assert_allclose(np.asarray(layer(x)), dice(x, moving_mean, moving_variance, alpha), rtol=1e-4, atol=1e-5)


def test_a_pooled_history_is_the_sum_of_its_events_by_their_scores():
    layer = FeatureEmbedding(SCHEMA.features)
    fields = {name: np.asarray(field) for name, field in layer(ROWS).items()}
    found = {name: np.asarray(each) for name, each in layer.tables(ROWS).items()}
    (unit,) = layer.units(SCHEMA.feature("seen"))
    events = np.concatenate([found["seen_item"], found["seen_kind"]], axis=-1)
    scores = np.asarray(unit([events, MASK, np.concatenate([found["item"], found["kind"]], axis=-1)]))
    for column in ("seen_item", "seen_kind"):
        np.testing.assert_allclose(fields[column], (scores[..., None] * found[column]).sum(1), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(fields["seen_item"][2], 0)
    np.testing.assert_allclose(fields["liked_item"][2], found["liked_item"][2].mean(0), rtol=1e-6)
    assert {name: field.shape[1] for name, field in fields.items()} == {
        name: shape[-1] for name, shape in layer.compute_output_shape({k: v.shape for k, v in ROWS.items()}).items()
    }


def test_a_history_trains_its_target_and_no_padding():
    layer = FeatureEmbedding(SCHEMA.features)
    layer(ROWS)

    def loss():
        return ops.sum(layer(ROWS)["seen_item"][:2] ** 2)

    (found,) = gradients(loss, [layer.tables.place_of("items")[0]])
    rows = layer.tables.place_of("items")[1]
    touched = np.flatnonzero(np.abs(found[rows]).max(1))
    assert touched.tolist() == [1, 2, 3, 4, 6]  # events of two rows, and both targets; row 0 pads them


@pytest.mark.parametrize("preset", [shared_bottom, stem_net])
def test_models_train_every_weight_reload_and_are_carried_over(preset, tmp_path):
    model, other = (preset(SCHEMA, units=(4,), tower_units=()) for _ in range(2))
    assert_all_trained(model, lambda: sum(ops.sum((y - 0.3) ** 2) for y in model(ROWS, training=True).values()))
    report = warm_start(other, SCHEMA, model, SCHEMA)
    assert not report.fresh and not report.partly and not report.left
    for ours, theirs in zip(other.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert_reloads(model, ROWS, tmp_path)


@pytest.mark.parametrize("preset", [shared_bottom, pytest.param(stem_net, marks=pytest.mark.slow)])
def test_an_export_answers_as_the_model_and_ranks_as_full_rows(preset, tmp_path):
    """`export` compares `rank`, where one user's histories meet many candidates, with full rows, and refuses what differs."""
    model = preset(SCHEMA, units=(4,), tower_units=())
    raw = {name: (column - 1).astype("int64") for name, column in ROWS.items() if not name.endswith("_mask")}
    # Of one task: of STEM's tables and units those of the streams that it reads.
    path = tfmtl.export(model, tmp_path, SCHEMA, examples=raw, tasks=["buy"])
    assert "rank" in tf.saved_model.load(str(path)).signatures


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_scores_are_float32_under_every_policy(policy):
    assert np.asarray(ActivationUnit(dtype=policy)([EVENTS, MASK, TARGET])).dtype == np.dtype("float32")
    fields = FeatureEmbedding(SCHEMA.features, dtype=policy)(ROWS)
    assert dtype_of(fields["seen_item"]) == policy.removeprefix("mixed_")


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (
            lambda: Sequence("s", [ITEM], length=2, pooling="attention"),
            r"`target` of 's' goes with pooling='attention'",
        ),
        (lambda: Sequence("s", [ITEM], length=2, target="item"), r"Received: target=\('item',\), pooling='mean'"),
        (lambda: Sequence("s", [ITEM], length=2, attention_units=()), "`attention_units` needs one width or more"),
        (lambda: Sequence("s", [ITEM], length=2, attention_activation="relu"), "`attention_activation` of 's'"),
        (lambda: ActivationUnit(activation="relu"), "`activation` must be one of"),
        (lambda: Dice(momentum=1.0), "`momentum` must be in"),
        (lambda: ActivationUnit()([EVENTS, MASK, TARGET[:, :2]]), "target must be as wide as an event"),
    ],
)
def test_refuses(make, match):
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.parametrize(
    ("target", "match"),
    [
        ("seen", r"must name `Categorical` features. Received: \['seen'\]; known: \['item', 'kind'\]"),
        (("item", "kind"), r"as wide as an event, whose fields have 4 numbers.*\('item', 'kind'\), 6 numbers"),
    ],
)
def test_refuses_targets_that_do_not_fit(target, match):
    history = Sequence("seen", [ITEM], length=2, pooling="attention", target=target)
    with pytest.raises(ValueError, match=match):
        Schema([ITEM, KIND, history], SCHEMA.tasks)


def test_a_schema_with_attention_is_json():
    assert Schema.from_json(SCHEMA.to_json()) == SCHEMA
