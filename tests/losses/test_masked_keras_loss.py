"""Losses of Keras, and of one's own, over the rows that have a label."""

import numpy as np
import pytest
import tensorflow as tf

from tfmtl.keras_host import keras, ops
from tfmtl.losses import MaskedBinaryCrossentropy, MaskedKerasLoss, MaskedLoss

NAN = float("nan")
LOSSES = [
    "BinaryFocalCrossentropy",
    "BinaryCrossentropy",
    "Huber",
    "MeanAbsoluteError",
    "LogCosh",
    "Poisson",
    "Hinge",
    "MeanSquaredLogarithmicError",
]


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 40).astype("float32")
    labels[rng.random(40) < 0.4] = NAN
    predictions = rng.uniform(0.05, 0.95, 40).astype("float32")
    return labels, np.where(np.isnan(labels), NAN, predictions), rng.uniform(0, 3, 40).astype("float32")


@pytest.mark.parametrize("name", LOSSES)
def test_equals_keras_over_the_labelled_rows(name, rows):
    labels, predictions, weights = rows
    valid = ~np.isnan(labels)
    theirs, ours = getattr(keras.losses, name)(), MaskedKerasLoss(getattr(keras.losses, name)())
    columns = labels[valid][:, None], predictions[valid][:, None]
    np.testing.assert_allclose(ours(labels, predictions), theirs(*columns), rtol=1e-5)
    weighted = theirs(*columns, sample_weight=weights[valid])
    np.testing.assert_allclose(ours(labels, predictions, weights), weighted, rtol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_a_missing_label_has_no_gradient(name, rows):
    labels, predictions, _ = rows
    predictions = tf.constant(predictions[:, None])
    with tf.GradientTape() as tape:
        tape.watch(predictions)
        value = MaskedKerasLoss(name)(labels, predictions)
    slope = tape.gradient(value, predictions).numpy()[:, 0]
    np.testing.assert_array_equal(slope[np.isnan(labels)], 0)
    assert np.isfinite(slope).all() and np.abs(slope).max() > 0


def test_its_own_reduction_is_not_used(rows):
    labels, predictions, _ = rows
    plain, summed = (MaskedKerasLoss(keras.losses.Huber(reduction=r)) for r in ("none", "sum"))
    np.testing.assert_allclose(plain(labels, predictions), summed(labels, predictions))


def test_takes_functions_names_and_ours(rows):
    labels, predictions, _ = rows

    def brier(truth, probability):
        return ops.square(truth - probability)

    expected = np.nanmean((labels - predictions) ** 2)
    for loss in (brier, "mse", keras.losses.MeanSquaredError()):
        np.testing.assert_allclose(MaskedKerasLoss(loss)(labels, predictions), expected, rtol=1e-5)
    ours = MaskedKerasLoss(MaskedBinaryCrossentropy())(labels, predictions)
    np.testing.assert_allclose(ours, MaskedBinaryCrossentropy()(labels, predictions), rtol=1e-6)


@pytest.mark.parametrize("root", [lambda y, p: ops.sqrt(p) * (1 + y), lambda y, p: -ops.log(p) + y / (1 - p)])
def test_a_missing_label_has_no_gradient_where_roots_and_logarithms_have_none_at_0(root):
    predictions = tf.constant([0.3, 0.0, 1.0])
    with tf.GradientTape() as tape:
        tape.watch(predictions)
        value = MaskedKerasLoss(root)(tf.constant([1.0, NAN, NAN]), predictions)
    np.testing.assert_array_equal(tape.gradient(value, predictions).numpy()[1:], 0)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda y, p: ops.mean(ops.square(y - p)), "one loss for each row that does not depend on the other rows"),
        (lambda y, p: ops.square(y - p) / ops.sum(p), "one loss for each row that does not depend on the other rows"),
        ("categorical_crossentropy", "depend on a prediction of one column.*'categorical_crossentropy'"),
        ("cosine_similarity", "depend on a prediction of one column.*'cosine_similarity'"),
        ("sparse_categorical_crossentropy", ".*'sparse_categorical_crossentropy'"),
    ],
)
def test_refuses_losses_that_no_row_can_be_left_out_of(loss, message):
    with pytest.raises(ValueError, match=f"`loss` must .*{message}"):
        MaskedKerasLoss(loss)


@pytest.mark.keras3
@pytest.mark.parametrize("name", ["Dice", "Tversky", "Circle", "CTC", "CategoricalGeneralizedCrossEntropy"])
def test_refuses_those_of_keras_3_by_name(name):
    loss = getattr(keras.losses, name)()
    with pytest.raises(ValueError, match=f"`loss` must .*Received: loss='{loss.name}'"):
        MaskedKerasLoss(loss)


def test_config_round_trip(rows):
    labels, predictions, _ = rows
    original = MaskedKerasLoss(keras.losses.BinaryFocalCrossentropy(gamma=3.0), "binary", "click")
    again = keras.losses.deserialize(keras.losses.serialize(original))
    assert (type(again), again.name, again.kind) == (MaskedKerasLoss, "click", "binary")
    np.testing.assert_array_equal(again(labels, predictions), original(labels, predictions))


def test_refuses_an_unknown_kind():
    with pytest.raises(ValueError, match=r"`kind` must be one of .*kind='ranking'"):
        MaskedKerasLoss("mse", "ranking")


def test_is_a_masked_loss():
    assert isinstance(MaskedKerasLoss("mse"), MaskedLoss)
