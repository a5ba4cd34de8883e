"""Whether other processes train on the same data, and how many steps they take together."""

import json
import os
import warnings
from typing import Any

import tensorflow as tf


def check_alone() -> None:
    """Raises ValueError if this process is one of several workers that `TF_CONFIG` names.

    Each of them takes every n-th batch of what it reads. That is a share of the rows only where all read them in one
    order: where each shuffles for itself, a quarter of the rows of two workers is in no batch, and as many are in two. Under
    parameter servers workers draw rows independently of each other anyway.
    """
    workers, index = workers_of_cluster(), _config().get("task", {}).get("index", 0)
    if workers > 1:
        raise ValueError(
            f"`shuffle` needs `shard` where {workers} workers train together: each would see rows in an order of its own, and "
            f"some rows in no batch. Give every worker its part, such as `shard=({index}, {workers})`. Received: shard=(0, 1)"
        )


def workers_of_cluster() -> int:
    """How many workers train together step by step, as `TF_CONFIG` names them; 1 without one, and under parameter servers."""
    cluster = _config().get("cluster", {})
    return 1 if "ps" in cluster else max(1, len(cluster.get("worker", ())) + len(cluster.get("chief", ())))


def steps_of_workers(num_rows: int, batch_size: int, drop_remainder: bool) -> int:
    """How many steps all workers take in a pass over their shards of `num_rows` rows.

    A strategy cuts every batch that a worker reads into one part for each replica of all workers, as if it held the rows of
    them all; each step takes as many parts as the worker has replicas.
    """
    workers, devices = workers_of_cluster(), max(1, len(tf.config.get_visible_devices("GPU")))

    def steps(rows: int) -> int:
        full, rest = divmod(rows, batch_size)
        if drop_remainder or not rest:
            return full * workers
        parts = -(-rest // -(-rest // (workers * devices)))  # with a row in them
        return full * workers + -(-parts // devices)

    return max(steps(num_rows // workers), steps(-(-num_rows // workers)))


def with_steps(dataset: tf.data.Dataset, batches: int, steps: int) -> tf.data.Dataset:
    """`dataset`, of so many batches, with batches without a row after them, `steps` in all.

    tf_keras takes as many steps as a dataset says that it has batches, though its strategy makes several of each. Where the
    number is not known it finds the end by a step without rows, which the counters of optimizers count.
    """
    none = tf.nest.map_structure(lambda of: tf.zeros((0, *of.shape[1:]), of.dtype), dataset.element_spec)
    rest = tf.data.Dataset.from_tensors(none).repeat(max(0, steps - batches))
    return dataset.concatenate(rest).apply(tf.data.experimental.assert_cardinality(max(steps, batches)))


def under_parameter_servers() -> bool:
    """Whether `TF_CONFIG` names some."""
    return "ps" in _config().get("cluster", {})


def warn_of_python() -> None:
    """Warns where a dataset that Python reads may be meant for the workers of parameter servers."""
    if under_parameter_servers():
        warnings.warn(
            "`fit` under parameter servers needs TFRecord files: their dataset is a graph, which goes to the workers. This one is "
            "read by Python, in this process alone, and `fit` may wait for its end forever.",
            stacklevel=3,
        )


def _config() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(os.environ.get("TF_CONFIG") or "{}")
    return found
