"""Tables under one optimizer, everything else under another."""

import numpy as np
import pytest
import tensorflow as tf
from sparse_cases import ROWS, WIDTH, click_model, clicks, kernel, number, random_gradients, slices, table

from tfmtl.keras_host import keras, register_layer
from tfmtl.optimizers import LazyAdam, RowWiseAdagrad, SplitOptimizer, optimizer
from tfmtl.tables import add_table, is_table


@register_layer
class OwnTable(keras.layers.Layer):
    """An embedding layer under a name of its own."""

    def build(self, input_shape):
        self.weights_of_ids = add_table(self, "of_ids", (ROWS, WIDTH), "uniform")
        self.scale = self.add_weight(name="scale", shape=(WIDTH,), initializer="ones")
        self.built = True

    def call(self, ids):
        return tf.gather(self.weights_of_ids, ids) * self.scale


def shapes(part):
    return sorted(tuple(v.shape) for v in part.variables if len(v.shape))


def test_tables_are_recognised():
    layer = OwnTable()
    layer(tf.constant([1]))
    assert is_table(layer.weights_of_ids) and not is_table(layer.scale)
    model = click_model("sgd")
    assert [is_table(v) for v in model.trainable_variables] == [True, False, False, False, False]
    assert not is_table(keras.layers.Dense(2, name="embeddings").build((None, 3)) or kernel(np.ones((2, 2))))


def test_each_part_gets_its_own():
    start = np.random.default_rng(1).normal(size=(ROWS, WIDTH)).astype("float32")
    ours, weights = optimizer(embeddings=RowWiseAdagrad(0.05), dense=keras.optimizers.SGD(0.5)), kernel(start)
    rows, alone = table(start), table(start)
    reference = RowWiseAdagrad(0.05)
    for gradient in random_gradients(4):
        ours.apply_gradients([(gradient, rows), (tf.ones((ROWS, WIDTH)), weights)])
        reference.apply_gradients([(gradient, alone)])
    np.testing.assert_array_equal(number(rows), number(alone))
    np.testing.assert_allclose(number(weights), start - 4 * 0.5, rtol=1e-5, atol=1e-6)
    assert int(ours.iterations) == 4


def test_slots_exist_once():
    ours = optimizer(embeddings=RowWiseAdagrad(0.05), dense=LazyAdam())
    click_model(ours).fit(clicks(2), verbose=0)
    assert shapes(ours.embeddings) == [(ROWS, 1)]
    assert shapes(ours.dense) == sorted([(3 * WIDTH, 5), (5,), (5, 1), (1,)] * 2)
    assert len(ours.variables) == len(ours.embeddings.variables) + len(ours.dense.variables)


def test_trains_a_model_without_tables():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile(optimizer(embeddings=RowWiseAdagrad(), dense=LazyAdam()), "mse")
    before = model.get_weights()[0]
    model.train_on_batch(np.ones((4, 2), "float32"), np.ones((4, 1), "float32"))
    assert np.abs(model.get_weights()[0] - before).max() > 0


@pytest.mark.keras3  # tf_keras's callbacks write the variable itself
def test_a_callback_moves_both_rates():
    ours = optimizer(embeddings=RowWiseAdagrad(0.08), dense=LazyAdam(0.01))
    model = click_model(ours)
    halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    model.fit(clicks(2), epochs=2, callbacks=[halve], verbose=0)
    np.testing.assert_allclose(
        [float(ours.learning_rate), float(ours.embeddings.learning_rate)], [0.0025, 0.02], rtol=1e-6
    )


def rates(ours):
    return [float(ours.learning_rate), float(ours.embeddings.learning_rate)]


def test_keeps_its_ratio_through_nothing_and_a_file(tmp_path):
    ours = optimizer(embeddings=RowWiseAdagrad(0.08), dense=LazyAdam(0.01))
    model = click_model(ours)
    model.fit(clicks(1), verbose=0)
    ours.learning_rate = 0.0
    assert rates(ours) == [0, 0]
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras").optimizer
    again.learning_rate = 0.02
    np.testing.assert_allclose(rates(again), [0.02, 0.16], rtol=1e-6)


def test_a_rate_of_zero_says_so():
    ours = optimizer(embeddings=RowWiseAdagrad(0.08), dense=keras.optimizers.Adam(0.0))
    with pytest.raises(ValueError, match=r"`dense` began with a learning rate of 0.*Received: learning_rate=0\.01"):
        ours.learning_rate = 0.01
    np.testing.assert_allclose(rates(ours), [0, 0.08])
    told = SplitOptimizer(RowWiseAdagrad(0.08), keras.optimizers.Adam(0.0), ratio=8.0)
    told.learning_rate = 0.01
    np.testing.assert_allclose(rates(told), [0.01, 0.08])
    frozen = optimizer(embeddings=RowWiseAdagrad(0.0), dense=keras.optimizers.Adam(0.01))
    frozen.learning_rate = 0.02
    np.testing.assert_allclose(rates(frozen), [0.02, 0])


@pytest.mark.parametrize("part", ["embeddings", "dense"])
def test_a_schedule_is_refused_before_anything_moves(part):
    warm_up = keras.optimizers.schedules.PolynomialDecay(0.0, 10, 0.01)
    parts = {"embeddings": RowWiseAdagrad(0.08), "dense": LazyAdam(0.01)}
    parts[part] = type(parts[part])(warm_up)
    ours = optimizer(**parts)
    before = rates(ours)
    with pytest.raises(ValueError, match=rf"while a schedule sets it.*schedule of: \['{part}'\]"):
        ours.learning_rate = 0.5
    assert rates(ours) == before
    assert SplitOptimizer.from_config(ours.get_config()).ratio is None


def test_parts_clip_and_average_on_their_own():
    start = np.zeros((ROWS, WIDTH), "float32")
    rows, weights = table(start), kernel(start)
    ours = optimizer(embeddings=keras.optimizers.SGD(1.0), dense=keras.optimizers.SGD(1.0, clipnorm=0.5))
    ours.apply_gradients([(slices(np.full((1, WIDTH), 3.0), [2]), rows), (tf.ones((ROWS, WIDTH)), weights)])
    np.testing.assert_allclose(number(rows)[2], -3.0)
    np.testing.assert_allclose(np.linalg.norm(number(weights)), 0.5, rtol=1e-5)


def test_refuses_one_optimizer_twice():
    adam = LazyAdam()
    with pytest.raises(ValueError, match="two optimizers"):
        optimizer(embeddings=adam, dense=adam)


def loss_scaled():
    return keras.mixed_precision.LossScaleOptimizer(keras.optimizers.SGD(0.1))


@pytest.mark.parametrize("part", ["embeddings", "dense"])
def test_refuses_a_part_that_scales_the_loss(part):
    """It would divide by a scale that the loss was never multiplied by."""
    parts = {"embeddings": RowWiseAdagrad(), "dense": LazyAdam()}
    with pytest.raises(ValueError, match=f"`{part}` must not scale the loss: wrap the whole optimizer"):
        optimizer(**{**parts, part: loss_scaled()})


@pytest.mark.keras3
def test_refuses_what_only_the_whole_can_do():
    for options, message in [
        ({"loss_scale_factor": 8.0}, "`dense` must not scale the loss"),
        ({"gradient_accumulation_steps": 2}, "`dense` must not accumulate.*gradient_accumulation_steps=2"),
    ]:
        with pytest.raises(ValueError, match=message):
            optimizer(embeddings=RowWiseAdagrad(), dense=keras.optimizers.SGD(0.1, **options))


@pytest.mark.keras3
def test_is_built_by_its_first_step():
    ours, weights = optimizer(embeddings=RowWiseAdagrad(), dense="adam"), kernel(np.ones((2, 2)))
    with pytest.raises(ValueError, match="`trainable_variables` must be given"):
        ours.apply([tf.ones((2, 2))])
    ours.apply([tf.ones((2, 2))], [weights])
    assert ours.built and ours.dense.built
    ours.apply([tf.ones((2, 2))])
    assert int(ours.iterations) == 2


def test_hands_weights_to_its_parts():
    def fitted(batches):
        ours = optimizer(embeddings=RowWiseAdagrad(0.05), dense="adam")
        click_model(ours).fit(clicks(batches), verbose=0)
        return ours

    wanted, ours = fitted(4), fitted(1)
    ours.set_weights([number(v) for v in wanted.variables])
    for mine, theirs in zip(ours.variables, wanted.variables, strict=True):
        np.testing.assert_array_equal(number(mine), number(theirs))
    with pytest.raises(ValueError, match=r"`weights` must hold one for each.*Received: 1 weights"):
        ours.set_weights([1.0])


def test_both_parts_leave_out_the_same_weights_from_decay():
    start = np.ones((ROWS, WIDTH), "float32")
    rows, weights = table(start), kernel(start)
    ours = optimizer(
        embeddings=keras.optimizers.SGD(1.0, weight_decay=0.5), dense=keras.optimizers.SGD(1.0, weight_decay=0.5)
    )
    ours.exclude_from_weight_decay(var_names=["embeddings", "kernel"])
    ours.apply_gradients([(tf.zeros(start.shape), rows), (tf.zeros(start.shape), weights)])
    np.testing.assert_array_equal(number(rows), start)
    np.testing.assert_array_equal(number(weights), start)
