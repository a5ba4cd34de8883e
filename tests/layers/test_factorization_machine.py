"""The products of every two fields, against the sum over pairs as it is written."""

from itertools import combinations

import numpy as np
import pytest
from harness import assert_reloads, gradients, ops

from tfmtl.keras_host import keras
from tfmtl.layers import FactorizationMachine
from tfmtl.models import shared_bottom
from tfmtl.schema import Categorical, Schema, Task

FIELDS = [np.random.default_rng(seed).normal(size=(5, 3)).astype("float32") for seed in range(4)]


def test_is_the_sum_over_all_pairs():
    pairs = sum(one * other for one, other in combinations(FIELDS, 2))
    np.testing.assert_allclose(np.asarray(FactorizationMachine()(FIELDS)), pairs, rtol=1e-5, atol=1e-5)
    summed = np.asarray(FactorizationMachine(summed=True)(FIELDS))
    np.testing.assert_allclose(summed, pairs.sum(axis=1, keepdims=True), rtol=1e-5, atol=1e-5)


def test_a_field_learns_from_the_others():
    """The gradient of the sum by a field is the sum of all other fields."""
    variables = [keras.Variable(field) if hasattr(keras, "Variable") else _variable(field) for field in FIELDS]
    found = gradients(
        lambda: ops.sum(FactorizationMachine(summed=True)([ops.convert_to_tensor(v) for v in variables])), variables
    )
    for place, gradient in enumerate(found):
        others = sum(field for other, field in enumerate(FIELDS) if other != place)
        np.testing.assert_allclose(np.asarray(gradient), others, rtol=1e-5, atol=1e-5)


def _variable(values):
    import tensorflow as tf

    return tf.Variable(values)


def test_squares_do_not_cancel_in_half_precision():
    fields = [field + 30 for field in FIELDS]
    layer = FactorizationMachine(summed=True, dtype="mixed_bfloat16")
    y = np.asarray(layer([ops.cast(field, "bfloat16") for field in fields]).numpy(), "float32")
    rounded = [np.asarray(ops.cast(ops.cast(field, "bfloat16"), "float32")) for field in fields]
    pairs = sum(one * other for one, other in combinations(rounded, 2)).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(y, pairs, rtol=2**-8)


def test_below_a_trunk(tmp_path):
    schema = Schema([Categorical(name, num_ids=4, dim=3) for name in ("a", "b", "c")], [Task("click", mean=0.5)])
    model = shared_bottom(schema, units=(4,), tower_units=(), interactions=[FactorizationMachine()])
    rows = {name: np.arange(4, dtype="int32") for name in ("a", "b", "c")}
    assert model.get_layer("bottom").interactions.widths == [3]
    assert_reloads(model, rows, tmp_path)


@pytest.mark.parametrize("fields", [FIELDS[:1], [FIELDS[0], FIELDS[1][:, :2]]], ids=["one", "two widths"])
def test_refuses(fields):
    with pytest.raises(ValueError, match="needs two fields or more, of one width"):
        FactorizationMachine()(fields)
