"""Weighted sums for several readers: in products of many rows or not, the same numbers and gradients."""

import numpy as np
import pytest
import tensorflow as tf
from harness import gradients, ops

from tfmtl.layers.fast import weighted_sums as module
from tfmtl.layers.fast.weighted_sums import sums_in_one_product, weighted_sums
from tfmtl.layers.weighted_sum import weighted_sum


@pytest.fixture
def joined(monkeypatch):
    """The rows that shared a product at most, call by call, where there are CPUs alone."""
    calls = []
    monkeypatch.setattr(module, "has_accelerator", lambda: False)
    original = module._join_rows
    monkeypatch.setattr(module, "_join_rows", lambda w, e, most: calls.append(most) or original(w, e, most))
    return calls


def drawn(batch, readers, num, width=5):
    rng = np.random.default_rng([batch, readers, num])
    return rng.random((batch, readers, num), "float32"), rng.standard_normal((batch, num, width), "float32")


def by_reader(weights):
    return {f"r{i}": ops.convert_to_tensor(weights[:, i]) for i in range(weights.shape[1])}


@pytest.mark.parametrize(("readers", "num"), [(1, 1), (1, 4), (2, 4), (2, 3), (3, 8), (2, 16), (4, 9)])
@pytest.mark.parametrize("batch", [1, 6, 7, 16, 48])
def test_follows_the_equation(joined, batch, readers, num):
    weights, experts = drawn(batch, readers, num)
    wanted = np.einsum("bre,beu->rbu", weights, experts)
    for training in (None, False, True):
        mixed = weighted_sums(by_reader(weights), ops.convert_to_tensor(experts), training)
        assert list(mixed) == [f"r{i}" for i in range(readers)]
        np.testing.assert_allclose(np.stack([np.asarray(y) for y in mixed.values()]), wanted, rtol=1e-5, atol=1e-6)
    assert joined == ({3: [4], 4: [4], 8: [2]}.get(num, []) if readers > 1 else [])


def test_the_formula_over_blocks_of_experts():
    weights, experts = drawn(6, 1, 7)
    mixed = weighted_sum(ops.convert_to_tensor(weights[:, 0]), np.split(experts, [2, 3], axis=1))
    np.testing.assert_allclose(mixed, np.einsum("be,beu->bu", weights[:, 0], experts), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch", [5, 8])
@pytest.mark.parametrize(("readers", "training"), [(2, True), (2, False), (1, True)])
def test_gradients(joined, batch, readers, training):
    weights, experts = (tf.Variable(values) for values in drawn(batch, readers, 4))
    up = np.random.default_rng(0).normal(size=(readers, batch, 5)).astype("float32")

    def loss():
        return ops.sum(ops.stack(list(weighted_sums(by_reader(weights), experts, training).values())) * up)

    found = gradients(loss, [weights, experts])
    assert bool(joined) is (training and readers > 1)
    np.testing.assert_allclose(found[0], np.einsum("rbu,beu->bre", up, experts.numpy()), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[1], np.einsum("rbu,bre->beu", up, weights.numpy()), rtol=1e-5, atol=1e-6)


def test_batches_of_any_size_in_one_graph(joined):
    """None too: a replica may get no row of the last batch."""
    traced = tf.function(
        sums_in_one_product,
        input_signature=[tf.TensorSpec((None, 2, 4)), tf.TensorSpec((None, 4, 5))],
    )
    for batch in (0, 1, 2, 3, 4, 12, 31):
        weights, experts = drawn(batch, 2, 4)
        mixed = np.stack([y.numpy() for y in traced(weights, experts)])
        np.testing.assert_allclose(mixed, np.einsum("bre,beu->rbu", weights, experts), rtol=1e-5, atol=1e-6)
    assert joined == [4]


def test_an_accelerator_joins_nothing(joined, monkeypatch):
    monkeypatch.setattr(module, "has_accelerator", lambda: True)
    weights, experts = drawn(8, 2, 4)
    mixed = sums_in_one_product(ops.convert_to_tensor(weights), ops.convert_to_tensor(experts))
    np.testing.assert_allclose(mixed, np.einsum("bre,beu->rbu", weights, experts), rtol=1e-5, atol=1e-6)
    assert not joined
