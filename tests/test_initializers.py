"""Stacked kernels: no two experts equal, each at the scale of its own slice."""

import numpy as np
import pytest

from tfmtl.initializers import PerExpert, fresh
from tfmtl.keras_host import keras
from tfmtl.layers.cgc_layer import CGCLayer
from tfmtl.stages.trunks.ple import PLE


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize(
    ("shape", "transposed", "axis"), [((100, 4 * 60), False, 1), ((4 * 60, 100), True, 0), ((4, 100, 60), False, 0)]
)
def test_experts_differ_and_have_the_scale_of_one_kernel(seed, shape, transposed, axis):
    drawn = np.asarray(PerExpert(keras.initializers.GlorotUniform(seed=seed), 4, transposed)(shape))
    kernels = np.split(drawn, 4, axis=axis)
    limit = np.sqrt(6 / (100 + 60))
    for i, kernel in enumerate(kernels):
        assert np.abs(kernel).max() <= limit
        np.testing.assert_allclose(kernel.std(), limit / np.sqrt(3), rtol=0.05)
        for other in kernels[:i]:
            assert np.abs(kernel - other).max() > 0.1 * limit


def test_transposed_draws_the_same_kernels():
    drawn = [
        np.asarray(PerExpert(keras.initializers.HeNormal(seed=5), 3, t)(s))
        for t, s in ((False, (8, 12)), (True, (12, 8)))
    ]
    np.testing.assert_array_equal(drawn[0], drawn[1].T)


def test_a_seed_repeats_the_whole_stack():
    first, second = (np.asarray(PerExpert(keras.initializers.HeNormal(seed=5), 3)((8, 12))) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_fresh_instances_differ_by_salt_and_not_without():
    seeded = keras.initializers.GlorotUniform(seed=5)
    draws = [np.asarray(fresh(seeded, *salt)((4, 4))) for salt in (("a",), ("b",), ("a",))]
    assert np.abs(draws[0] - draws[1]).max() > 0
    np.testing.assert_array_equal(draws[0], draws[2])
    zeros = keras.initializers.Zeros()
    assert fresh(zeros, 1) is zeros


def test_config_round_trip():
    original = PerExpert(keras.initializers.GlorotUniform(seed=5), 2, transposed=True)
    restored = PerExpert.from_config(original.get_config())
    np.testing.assert_array_equal(np.asarray(original((4, 3))), np.asarray(restored((4, 3))))


@pytest.mark.parametrize("shape", [(10, 7), (3, 10, 4), (8,)])
def test_refuses_shapes_that_do_not_divide(shape):
    with pytest.raises(ValueError, match="2 kernels"):
        PerExpert("zeros", 2)(shape)


def test_transposed_kernels_need_a_matrix():
    with pytest.raises(ValueError, match=r"shape=\(2, 3, 4\)"):
        PerExpert("zeros", 2, transposed=True)((2, 3, 4))


def test_plain_functions_are_initializers_too():
    def ones(shape, dtype=None, **kwargs):
        return np.ones(shape, dtype)

    assert fresh(ones, "salt") is ones
    np.testing.assert_array_equal(np.asarray(PerExpert(ones, 2)((3, 8))), np.ones((3, 8)))


def test_a_seed_decides_what_a_layer_draws_whatever_its_name():
    x = np.ones((2, 5), "float32")
    streams = {"a": x, "b": x, "shared": x}
    seeded = keras.initializers.GlorotUniform(seed=1)
    drawn = []
    for _ in range(2):
        layer = PLE((4, 4), kernel_initializer=seeded)
        layer(streams)
        drawn.append([np.asarray(level.experts["a"].kernels[0]) for level in layer.levels])
    for first, second in zip(*drawn, strict=True):
        np.testing.assert_array_equal(first, second)
    cells = [CGCLayer(4, kernel_initializer=seeded) for _ in range(2)]
    for cell in cells:
        cell(streams)
    first, second = (np.asarray(cell.experts["a"].kernels[0]) for cell in cells)
    np.testing.assert_array_equal(first, second)
    level = PLE((4, 5), kernel_initializer=seeded)
    assert PLE.from_config(level.get_config()).kernel_initializer.seed == 1
