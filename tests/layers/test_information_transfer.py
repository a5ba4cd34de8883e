"""InformationTransfer against AITM's equations, and who learns from whom along a chain."""

import numpy as np
import pytest
import tensorflow as tf
from harness import assert_all_trained, assert_reloads, gradients

from tfmtl.keras_host import keras, ops
from tfmtl.layers.information_transfer import InformationTransfer

CHAIN = ("click", "cart", "buy")
BATCH, WIDTH = 7, 4


@pytest.fixture
def streams():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(BATCH, WIDTH)).astype("float32") for name in (*CHAIN, "share")}


def transfer(streams, *, perturbed=True, **options):
    layer = InformationTransfer(CHAIN, **options)
    layer(streams)
    if perturbed:
        rng = np.random.default_rng(1)
        layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    return layer


def array(variable):
    return np.asarray(ops.convert_to_tensor(variable), "float64")


def reference(layer, streams):
    outputs, weights = dict(streams), {}
    for index, task in enumerate(CHAIN[1:]):
        dense = layer.transfers[index].steps[0]
        handed_on = outputs[CHAIN[index]] @ array(dense.kernel) + array(dense.bias)
        if layer.activation is keras.activations.relu:
            handed_on = np.maximum(handed_on, 0)
        attention = layer.attentions[0 if layer.share_attention else index]
        scores, values = [], []
        for u in (handed_on, streams[task]):
            projected = u @ array(attention.kernel) + (array(attention.bias) if layer.attention_bias else 0)
            query, key, value = np.split(projected, 3, axis=-1)
            scores.append((query * key).sum(axis=-1) / np.sqrt(WIDTH))
            values.append(value)
        e = np.exp(np.stack(scores, axis=-1) - np.max(scores, axis=0)[:, None])
        weights[task] = e / e.sum(axis=-1, keepdims=True)
        outputs[task] = weights[task][:, :1] * values[0] + weights[task][:, 1:] * values[1]
    return outputs, weights


@pytest.mark.parametrize("options", [{}, {"activation": None, "attention_bias": True, "share_attention": False}])
def test_follows_the_equations(streams, options):
    layer = transfer(streams, **options)
    expected, weights = reference(layer, streams)
    outputs = layer(streams)
    assert set(outputs) == set(streams)
    for task in CHAIN:
        np.testing.assert_allclose(outputs[task], expected[task], rtol=1e-4, atol=1e-4)
    for task, shown in layer.attention(streams).items():
        np.testing.assert_allclose(shown, weights[task], rtol=1e-4, atol=1e-5)


def test_the_first_step_and_other_streams_pass_through(streams):
    outputs = transfer(streams)(streams)
    for name in ("click", "share"):
        np.testing.assert_array_equal(outputs[name], streams[name])


def test_information_flows_along_the_chain_and_never_back(streams):
    layer = transfer(streams)
    x = {name: tf.Variable(stream) for name, stream in streams.items()}

    def reached(task):
        found = gradients(lambda: tf.reduce_sum(layer(x)[task] ** 2), [x[step] for step in CHAIN])
        return [g is not None and np.abs(g).max() > 0 for g in found]

    assert reached("click") == [True, False, False]
    assert reached("cart") == [True, True, False]
    assert reached("buy") == [True, True, True]


@pytest.mark.parametrize("options", [{}, {"share_attention": False}])
def test_every_variable_is_trained(streams, options):
    layer = transfer(streams, **options)
    assert_all_trained(layer, lambda: sum(tf.reduce_sum(y**2) for y in layer(streams).values()))


def test_parameters(streams):
    handed_on = 2 * (WIDTH**2 + WIDTH)
    assert transfer(streams).count_params() == handed_on + 3 * WIDTH**2
    assert transfer(streams, share_attention=False).count_params() == handed_on + 2 * 3 * WIDTH**2
    assert transfer(streams, attention_bias=True).count_params() == handed_on + 3 * WIDTH**2 + 3 * WIDTH


def test_dropout_needs_training(streams):
    layer = transfer(streams, dropout=0.5)
    np.testing.assert_array_equal(layer(streams)["buy"], layer(streams)["buy"])
    assert np.abs(layer(streams, training=True)["buy"] - layer(streams)["buy"]).max() > 0


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_stays_close(streams, policy):
    layer, exact = transfer(streams, perturbed=False, dtype=policy), transfer(streams, perturbed=False)
    exact.set_weights(layer.get_weights())
    for task, y in layer(streams).items():
        assert np.asarray(y).dtype.name == policy.removeprefix("mixed_")
        np.testing.assert_allclose(np.asarray(ops.cast(y, "float32")), exact(streams)[task], atol=0.05)


def test_reloads_in_a_fresh_process(streams, tmp_path):
    x = {name: keras.Input((WIDTH,), name=name) for name in streams}
    variant = transfer(
        streams, activation=None, dropout=0.2, attention_bias=True, share_attention=False, name="variant"
    )
    assert_reloads(keras.Model(x, variant(transfer(streams)(x))), streams, tmp_path)


@pytest.mark.parametrize("chain", [[], ["click"], ["click", "click"], "click"])
def test_refuses_what_is_no_chain(chain):
    with pytest.raises(ValueError, match="`chain` must name two different tasks or more"):
        InformationTransfer(chain)


def test_refuses_streams_that_do_not_fit(streams):
    with pytest.raises(ValueError, match=r"lack tasks \['pay'\] of the chain. Received: keys=\['buy', 'cart'"):
        InformationTransfer([*CHAIN, "pay"])(streams)
    with pytest.raises(ValueError, match=r"one width. Received: widths=\{'click': 4, 'cart': 4, 'buy': 3\}"):
        InformationTransfer(CHAIN)({**streams, "buy": streams["buy"][:, :3]})
    with pytest.raises(ValueError, match=r"dropout=1\.0"):
        InformationTransfer(CHAIN, dropout=1.0)
