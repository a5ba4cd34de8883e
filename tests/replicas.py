"""For scripts of fresh processes: one CPU as two, and training that must come to the same on both as on one."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf


def split_cpu() -> None:
    """Makes two logical CPUs of the one there is; before TensorFlow computes anything."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


@functools.cache
def two_replicas() -> tf.distribute.Strategy:
    """The only strategy of the process: a second one would take the keys of the first one's sums for its own."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def assert_replicas_agree(train: Callable[..., Any], *, rtol: float = 2e-4, atol: float = 2e-5) -> Any:
    """`train(strategy)` must return the same numbers, nested as it likes, under two replicas as on one device; returns these."""
    one, two = train(tf.distribute.get_strategy()), train(two_replicas())
    tf.nest.map_structure(lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol), two, one)
    return one
