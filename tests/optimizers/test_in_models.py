"""The optimizers through `fit`: saved, resumed, in mixed precision, and without a table-sized tensor anywhere."""

import numpy as np
import pytest
import tensorflow as tf
from sparse_cases import MAKERS, WIDTH, click_model, clicks, table

from tfmtl.keras_host import keras, raw
from tfmtl.optimizers import LazyAdam, RowWiseAdagrad, optimizer
from tfmtl.tables import lookup


@pytest.fixture(params=MAKERS)
def make(request):
    return MAKERS[request.param]


def test_an_interrupted_fit_resumes_exactly(make, tmp_path):
    data = clicks(4)
    whole = click_model(make())
    for _ in range(2):
        whole.fit(data, verbose=0)
    half = click_model(make())
    half.fit(data, verbose=0)
    half.save(tmp_path / "half.keras")
    resumed = keras.models.load_model(tmp_path / "half.keras")
    assert type(resumed.optimizer) is type(whole.optimizer)
    resumed.fit(data, verbose=0)
    for mine, wanted in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, wanted)


def test_the_end_of_data_is_no_step(make):
    """Neither for what decays nor for the count: of data of unknown length a graph of tf_keras asks for one batch more."""
    trained = []
    for data in (clicks(4), clicks(4).filter(lambda *batch: True)):
        model = click_model(make())
        for part in getattr(model.optimizer, "optimizers", [model.optimizer]):
            part.weight_decay = 0.5
        model.fit(data, epochs=3, verbose=0)
        assert int(raw(model.optimizer.iterations)) == 12
        trained.append(model.get_weights())
    for mine, wanted in zip(*trained, strict=True):
        np.testing.assert_array_equal(mine, wanted)


def test_survives_a_trip_through_its_config(make):
    first = make()
    second = type(first).from_config(first.get_config())
    assert second.get_config() == first.get_config()
    click_model(second).fit(clicks(2), verbose=0)


def test_a_file_holds_every_slot_once(tmp_path):
    ours = optimizer(embeddings=LazyAdam(), dense=LazyAdam())
    model = click_model(ours, rows=5000)
    model.fit(clicks(2), verbose=0)
    model.save(tmp_path / "model.keras")
    assert (tmp_path / "model.keras").stat().st_size < 1.5 * 3 * 5000 * WIDTH * 4


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_trains_in_mixed_precision(make, policy):
    exact = click_model(make())
    exact.fit(clicks(4), verbose=0)
    keras.mixed_precision.set_global_policy(policy)
    try:
        model = click_model(make())
    finally:
        keras.mixed_precision.set_global_policy("float32")
    if policy == "mixed_float16":
        assert isinstance(model.optimizer, keras.mixed_precision.LossScaleOptimizer)
    model.fit(clicks(4), verbose=0)
    for mine, wanted in zip(model.get_weights(), exact.get_weights(), strict=True):
        assert mine.dtype == "float32"
        np.testing.assert_allclose(mine, wanted, atol=0.05)


@pytest.mark.keras3
def test_compiled_by_xla_it_is_the_same(make):
    """Keras 3 compiles the whole step on a GPU unless told otherwise."""
    weights = []
    for compiled in (False, True):
        model = click_model(make())
        model.compile(make(), "mse", jit_compile=compiled)
        model.fit(clicks(4), verbose=0)
        weights.append(model.get_weights())
    for mine, wanted in zip(*weights, strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-5, atol=1e-6)


def table_sized(optimizer):
    """The tensors that a step computes and uses whose shape has as many rows as the table."""
    rows = 1013
    variable = table(np.zeros((rows, WIDTH)))
    optimizer.build([variable])

    @tf.function
    def step(ids):
        with tf.GradientTape() as tape:
            tape.watch(raw(variable))
            loss = tf.reduce_sum(lookup(variable, ids) ** 2)
        optimizer.apply_gradients([(tape.gradient(loss, raw(variable)), variable)])

    graph = step.get_concrete_function(tf.TensorSpec((6,), tf.int32)).graph
    outputs = [output for op in graph.get_operations() for output in op.outputs if output.consumers()]
    return [output.name for output in outputs if output.shape.rank and rows in output.shape]


@pytest.mark.parametrize(
    "options", [{}, {"weight_decay": 0.1}, {"clipnorm": 1.0}, {"clipvalue": 1.0}, {"global_clipnorm": 1.0}], ids=str
)
@pytest.mark.parametrize("kind", [LazyAdam, RowWiseAdagrad])
def test_nothing_in_a_step_is_as_large_as_the_table(kind, options):
    assert not table_sized(kind(**options))
    assert table_sized(keras.optimizers.Adam(**options))


@pytest.mark.parametrize(
    "make",
    [*MAKERS.values(), lambda: optimizer(embeddings=RowWiseAdagrad(0.05), dense="adam")],
    ids=[*MAKERS, "split_keras"],
)
def test_slots_are_there_while_the_first_step_is_traced(make):
    """In the graph each would take as long as tracing a layer."""
    model, made, there = click_model(make()), make(), []
    variables = model.trainable_variables

    @tf.function
    def step():
        made.apply_gradients([(tf.ones(v.shape), v) for v in variables])
        with tf.init_scope():
            there.extend(bool(raw(slot).is_initialized()) for slot in made.variables)

    step()
    assert len(there) >= len(variables) and all(there)
