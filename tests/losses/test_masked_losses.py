"""The losses against NumPy and Keras, what a missing label must not do, and what Keras asks of a loss."""

import numpy as np
import pytest
import tensorflow as tf
from harness import run_fresh
from hypothesis import given, settings
from hypothesis import strategies as st

from tfmtl.keras_host import keras
from tfmtl.losses import MaskedBinaryCrossentropy, MaskedMeanSquaredError

LOSSES = [MaskedBinaryCrossentropy, MaskedMeanSquaredError]
NAN = float("nan")


def crossentropy(labels, predictions):
    return -(labels * np.log(predictions) + (1 - labels) * np.log(1 - predictions))


def squared_error(labels, predictions):
    return (labels - predictions) ** 2


ROW_LOSS = {MaskedBinaryCrossentropy: crossentropy, MaskedMeanSquaredError: squared_error}


def reference(loss, labels, predictions, weights=None):
    valid = ~np.isnan(labels)
    weights = np.ones_like(labels) if weights is None else weights
    losses = ROW_LOSS[loss](labels[valid].astype("float64"), predictions[valid].astype("float64"))
    return (losses * weights[valid]).sum() / max(valid.sum(), 1)


def gradient(loss, labels, predictions, weights=None):
    predictions = tf.constant(predictions, "float32")
    with tf.GradientTape() as tape:
        tape.watch(predictions)
        value = loss(labels, predictions, weights)
    return float(value), tape.gradient(value, predictions).numpy()


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 64).astype("float32")
    labels[rng.random(64) < 0.4] = NAN
    return labels, rng.uniform(0.01, 0.99, 64).astype("float32"), rng.uniform(0, 3, 64).astype("float32")


@pytest.mark.parametrize("loss", LOSSES)
@settings(deadline=None, max_examples=25)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from([0.0, 1.0, NAN]), st.floats(0.001, 0.999), st.floats(0, 4)),
        min_size=1,
        max_size=40,
    )
)
def test_follows_the_equation(loss, rows):
    labels, predictions, weights = np.array(rows, "float32").T
    expected = reference(loss, labels, predictions), reference(loss, labels, predictions, weights)
    got = loss()(labels, predictions), loss()(labels, predictions, sample_weight=weights)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_equals_keras_where_nothing_is_missing(rows):
    labels, predictions, weights = np.nan_to_num(rows[0]), rows[1], rows[2]
    for ours, theirs in [
        (MaskedBinaryCrossentropy(), keras.losses.BinaryCrossentropy()),
        (MaskedMeanSquaredError(), keras.losses.MeanSquaredError()),
    ]:
        columns = labels[:, None], predictions[:, None]
        np.testing.assert_allclose(ours(*columns), theirs(*columns), rtol=1e-5)
        np.testing.assert_allclose(ours(*columns, weights), theirs(*columns, sample_weight=weights), rtol=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_missing_label_changes_nothing(loss, rows):
    labels, predictions, weights = rows
    valid = ~np.isnan(labels)
    value, slope = gradient(loss(), labels, predictions, weights)
    alone, slope_alone = gradient(loss(), labels[valid], predictions[valid], weights[valid])
    assert value == pytest.approx(alone, rel=1e-6)
    np.testing.assert_array_equal(slope[~valid], 0)
    np.testing.assert_allclose(slope[valid], slope_alone, rtol=1e-6)
    assert np.abs(slope[valid]).min() > 0


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("prediction", [0.0, 1.0, NAN, float("inf")])
def test_whatever_is_predicted_for_it(loss, prediction):
    value, slope = gradient(loss(), [NAN, 1.0], [prediction, 0.5])
    _, expected = gradient(loss(), [1.0], [0.5])
    assert value == pytest.approx(reference(loss, np.array([1.0]), np.array([0.5])), rel=1e-6)
    np.testing.assert_array_equal(slope, [0, expected[0]])


@pytest.mark.parametrize("loss", LOSSES)
def test_a_batch_without_labels_costs_nothing(loss):
    value, slope = gradient(loss(), [NAN] * 3, [0.2, NAN, 1.0], [1.0, 2.0, 3.0])
    assert value == 0
    np.testing.assert_array_equal(slope, 0)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_nan_prediction_is_not_hidden(loss):
    assert np.isnan(loss()([1.0, 0.0], [NAN, 0.5]))


@pytest.mark.parametrize("labels", [[1.0, 0.0], [0.0, 1.0]])
@pytest.mark.parametrize("prediction", [0.0, 1e-30, 1e-8, 1 - 6e-8, 1.0])
def test_crossentropy_is_finite_and_a_confident_mistake_learns(labels, prediction):
    value, slope = gradient(MaskedBinaryCrossentropy(), labels, [prediction, prediction])
    assert np.isfinite(value)
    assert np.isfinite(slope).all()
    wrong = np.abs(np.array(labels) - prediction).argmax()
    assert abs(slope[wrong]) > 1e5
    assert np.sign(slope[wrong]) == (-1 if labels[wrong] else 1)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("shapes", [((8,), (8, 1)), ((8, 1), (8, 1)), ((8,), (8,)), ((8, 1), (8,))])
@pytest.mark.parametrize("weight_shape", [None, (), (8,), (8, 1)])
def test_reads_columns_of_either_rank(loss, shapes, weight_shape):
    rng = np.random.default_rng(1)
    labels, predictions = rng.integers(0, 2, 8).astype("float32"), rng.uniform(0.1, 0.9, 8).astype("float32")
    weights = None if weight_shape is None else rng.uniform(size=weight_shape or 1).astype("float32")
    flat = None if weights is None else np.broadcast_to(weights.reshape(-1), 8)
    weights = weights if weight_shape != () else float(weights[0])
    value = loss()(labels.reshape(shapes[0]), predictions.reshape(shapes[1]), weights)
    assert tuple(value.shape) == ()
    np.testing.assert_allclose(value, reference(loss, labels, predictions, flat), rtol=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_computes_in_float32(loss, dtype):
    value = loss()(tf.constant([1, 0], "int64"), tf.cast([[0.25], [0.5]], dtype))
    assert value.dtype == tf.float32
    np.testing.assert_allclose(value, reference(loss, np.array([1.0, 0.0]), np.array([0.25, 0.5])), rtol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    ("name", "shapes"), [("y_true", ((4, 2), (4, 1))), ("y_pred", ((4,), (4, 2))), ("y_true", ((4, 1, 1), (4,)))]
)
def test_refuses_more_than_one_column(loss, name, shapes):
    with pytest.raises(ValueError, match=rf"`{name}` must be one column.*Received: shape="):
        loss()(np.zeros(shapes[0], "float32"), np.zeros(shapes[1], "float32"))


@pytest.mark.parametrize("loss", LOSSES)
def test_config_round_trip(loss, rows):
    original = loss(name="mine")
    again = keras.losses.deserialize(keras.losses.serialize(original))
    assert type(again) is loss
    assert again.name == "mine"
    np.testing.assert_array_equal(again(rows[0], rows[1]), original(rows[0], rows[1]))


@pytest.mark.parametrize("loss", LOSSES)
def test_call_gives_the_loss_of_every_row(loss, rows):
    labels, predictions, _ = rows
    losses = np.asarray(loss().call(labels, predictions))
    valid = ~np.isnan(labels)
    np.testing.assert_array_equal(losses[~valid], 0)
    np.testing.assert_allclose(losses[valid], ROW_LOSS[loss](labels[valid], predictions[valid]), rtol=1e-4, atol=1e-6)


@pytest.mark.keras3
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_fits_on_other_backends(backend):
    pytest.importorskip(backend)
    run_fresh(
        """
        import numpy as np
        from tfmtl.keras_host import keras
        from tfmtl.losses import MaskedBinaryCrossentropy, MaskedMeanSquaredError
        nan = float("nan")
        np.testing.assert_allclose(float(MaskedBinaryCrossentropy()([1.0, nan], [[0.5], [0.9]])), np.log(2), rtol=1e-6)
        np.testing.assert_allclose(float(MaskedMeanSquaredError()([3.0, nan], [[1.0], [7.0]])), 4, rtol=1e-6)
        x = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
        y = {"a": (x[:, 0] > 0).astype("float32"), "b": x[:, 1] * 2}
        y["a"][::2], y["b"][1::2] = nan, nan
        inputs = keras.Input((2,))
        outputs = {"a": keras.layers.Dense(1, "sigmoid", name="a")(inputs), "b": keras.layers.Dense(1, name="b")(inputs)}
        model = keras.Model(inputs, outputs)
        model.compile(keras.optimizers.Adam(0.05), {"a": MaskedBinaryCrossentropy(), "b": MaskedMeanSquaredError()})
        losses = model.fit(x, y, epochs=30, batch_size=16, verbose=0).history["loss"]
        assert np.isfinite(losses).all() and losses[-1] < 0.5 * losses[0], losses
        """,
        env={"KERAS_BACKEND": backend},
    )


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    ("shapes", "names"),
    [
        (((1,), (4, 1), None), "`y_true` and `y_pred`"),
        (((), (4, 1), None), "`y_true` and `y_pred`"),
        (((4,), (1, 1), None), "`y_true` and `y_pred`"),
        (((4,), (4, 1), (1,)), "`y_true` and `sample_weight`"),
        (((1,), (1, 1), (3,)), "`y_true` and `sample_weight`"),
    ],
    ids=str,
)
def test_repeats_no_row_for_others(loss, shapes, names):
    columns = [None if shape is None else np.full(shape, 0.5, "float32") for shape in shapes]
    with pytest.raises(ValueError, match=f"{names} must have as many rows. Received: rows="):
        loss()(*columns)


@pytest.mark.parametrize("loss", LOSSES)
def test_refuses_weights_of_more_than_one_column(loss):
    one = np.ones((1, 1), "float32")
    with pytest.raises(ValueError, match=r"`sample_weight` must be one column.*shape=\(1, 3\)"):
        loss()(one, one, np.ones((1, 3), "float32"))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("weighted", [False, True])
def test_takes_batches_of_unknown_length(loss, weighted, rows):
    labels, predictions, weights = rows
    weights = weights if weighted else None
    column = tf.TensorSpec((None, 1), "float32")
    compiled = tf.function(loss(), input_signature=[tf.TensorSpec((None,), "float32"), column, column])
    if weighted:
        value = compiled(labels, predictions[:, None], weights[:, None])
        np.testing.assert_allclose(value, reference(loss, labels, predictions, weights), rtol=1e-5)
    else:
        symbolic = loss()(keras.Input(()), keras.Input((1,)))
        assert tuple(symbolic.shape) == ()


@pytest.mark.parametrize("loss", LOSSES)
def test_takes_columns_of_unknown_rank(loss, rows):
    """What Keras traces once it has been fitted on `(B,)` and on `(B, 1)`."""
    labels, predictions, weights = rows
    compiled = tf.function(loss(), input_signature=[tf.TensorSpec(None, "float32")] * 3)
    for shape in ((-1,), (-1, 1)):
        value = compiled(labels.reshape(shape), predictions[:, None], weights.reshape(shape))
        np.testing.assert_allclose(value, reference(loss, labels, predictions, weights), rtol=1e-5)
