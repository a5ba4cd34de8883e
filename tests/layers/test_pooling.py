"""Pooling histories: by each rule, and of an empty batch."""

import numpy as np
import pytest
from harness import ops

from tfmtl.layers.pooling import pool_events


@pytest.mark.parametrize("pooling", ["mean", "sum", "max"])
def test_follows_the_rule(pooling):
    events = np.random.default_rng(0).normal(size=(3, 4, 2)).astype("float32")
    mask = np.array([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]], "int32")
    wanted = [
        getattr(row[kept > 0], pooling)(0) if kept.any() else np.zeros(2)
        for row, kept in zip(events, mask, strict=True)
    ]
    found = pool_events(ops.convert_to_tensor(events), ops.convert_to_tensor(mask), pooling)
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-6)
    assert tuple(pool_events(ops.convert_to_tensor(events[:0]), ops.convert_to_tensor(mask[:0]), pooling).shape) == (
        0,
        2,
    )


@pytest.mark.parametrize("pooling", ["mean", "sum", "max"])
def test_events_count_as_their_weights_say(pooling):
    """Of the last row but one the weights sum to nothing, of the last there is no event."""
    events = np.random.default_rng(0).normal(size=(5, 3, 2)).astype("float32")
    mask = np.array([[1, 1, 1], [1, 1, 0], [1, 1, 0], [1, 1, 0], [0, 0, 0]], "int32")
    weights = np.array([[0.5, 2, 0], [-1e6, -3e6, 0], [1, 1, 9], [1, -1, 0], [0, 0, 0]], "float32")
    wanted = np.zeros((5, 2))
    for row in range(4):
        kept = mask[row] > 0
        weighed = events[row][kept].astype("float64") * weights[row][kept, None]
        wanted[row] = weighed.max(0) if pooling == "max" else weighed.sum(0)
        if pooling == "mean":
            whole = weights[row][kept].sum()
            wanted[row] = wanted[row] / whole if whole else 0
    given = [ops.convert_to_tensor(x) for x in (events, mask)]
    found = pool_events(*given, pooling, ops.convert_to_tensor(weights))
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-5, atol=1e-6)
    alike = pool_events(*given, pooling, ops.ones((5, 3)))
    np.testing.assert_allclose(np.asarray(alike), np.asarray(pool_events(*given, pooling)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_long_histories_of_half_precision(dtype):
    """float16 counts to 2048 and sums to 65504."""
    events = ops.full((1, 5000, 2), 20.0, dtype=dtype)
    found = pool_events(events, ops.ones((1, 5000), dtype="int32"), "mean")
    np.testing.assert_array_equal(np.asarray(ops.cast(found, "float32")), [[20.0, 20.0]])
