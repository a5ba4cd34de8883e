"""Mixing experts: joined or not, the same sums and gradients."""

import numpy as np
import pytest
import tensorflow as tf
from harness import gradients, ops

from tfmtl.layers.fast import mixing
from tfmtl.layers.fast.mixing import mix


@pytest.fixture
def joined(monkeypatch):
    """The rows that shared a product at most, call by call, where there are CPUs alone."""
    calls = []
    monkeypatch.setattr(mixing, "has_accelerator", lambda: False)
    original = mixing._mix_joined
    monkeypatch.setattr(mixing, "_mix_joined", lambda w, e, most: calls.append(most) or original(w, e, most))
    return calls


def drawn(batch, readers, num, width=5):
    rng = np.random.default_rng([batch, readers, num])
    return rng.random((batch, readers, num), "float32"), rng.standard_normal((batch, num, width), "float32")


@pytest.mark.parametrize(("readers", "num"), [(1, 1), (1, 4), (2, 3), (3, 8), (2, 16), (4, 9)])
@pytest.mark.parametrize("batch", [1, 6, 7, 16, 48])
def test_follows_the_equation(joined, batch, readers, num):
    weights, experts = drawn(batch, readers, num)
    wanted = np.einsum("bre,beu->rbu", weights, experts)
    for training in (None, False, True):
        mixed = mix(ops.convert_to_tensor(weights), ops.convert_to_tensor(experts), training)
        assert len(mixed) == readers
        np.testing.assert_allclose(np.stack([np.asarray(y) for y in mixed]), wanted, rtol=1e-5, atol=1e-6)
    assert joined == {3: [4], 4: [4], 8: [2]}.get(num, [])


@pytest.mark.parametrize("batch", [5, 8])
def test_gradients(joined, batch):
    weights, experts = (tf.Variable(values) for values in drawn(batch, 2, 4))
    up = np.random.default_rng(0).normal(size=(2, batch, 5)).astype("float32")
    found = gradients(lambda: ops.sum(ops.stack(mix(weights, experts, training=True)) * up), [weights, experts])
    assert joined
    np.testing.assert_allclose(found[0], np.einsum("rbu,beu->bre", up, experts.numpy()), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[1], np.einsum("rbu,bre->beu", up, weights.numpy()), rtol=1e-5, atol=1e-6)


def test_batches_of_any_size_in_one_graph(joined):
    """None too: a replica may get no row of the last batch."""
    traced = tf.function(
        lambda w, e: mix(w, e, training=True),
        input_signature=[tf.TensorSpec((None, 2, 4)), tf.TensorSpec((None, 4, 5))],
    )
    for batch in (0, 1, 2, 3, 4, 12, 31):
        weights, experts = drawn(batch, 2, 4)
        mixed = np.stack([y.numpy() for y in traced(weights, experts)])
        np.testing.assert_allclose(mixed, np.einsum("bre,beu->rbu", weights, experts), rtol=1e-5, atol=1e-6)
    assert joined == [4]


def test_an_accelerator_joins_nothing(joined, monkeypatch):
    monkeypatch.setattr(mixing, "has_accelerator", lambda: True)
    weights, experts = drawn(8, 2, 4)
    mixed = mix(ops.convert_to_tensor(weights), ops.convert_to_tensor(experts), training=True)
    np.testing.assert_allclose(mixed, np.einsum("bre,beu->rbu", weights, experts), rtol=1e-5, atol=1e-6)
    assert not joined
