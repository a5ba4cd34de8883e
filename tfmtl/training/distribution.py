"""How training is spread over devices and machines."""

from typing import Any, Literal, TypeAlias

import tensorflow as tf

from tfmtl.checks import check_option
from tfmtl.keras_host import BACKEND, LEGACY

StrategyName: TypeAlias = Literal["auto", "mirrored", "multi_worker", "parameter_server"]


def strategy(name: StrategyName | None = "auto", **options: Any) -> tf.distribute.Strategy:
    """Returns the `tf.distribute` strategy called `name`; build and compile the model in its `scope()`.

    | name | strategy | runs on |
    |---|---|---|
    | `None` | TensorFlow's default: no distribution | every host |
    | `"auto"` | `"mirrored"` where TensorFlow sees more than one GPU or `devices` are given, else the default | TensorFlow |
    | `"mirrored"` | `MirroredStrategy`: all GPUs of this machine | TensorFlow |
    | `"multi_worker"` | `MultiWorkerMirroredStrategy`: machines named in `TF_CONFIG` | tf_keras |
    | `"parameter_server"` | `ParameterServerStrategy`: weights on servers named in `TF_CONFIG` | tf_keras |

    The two strategies of several machines need tf_keras, set by `TF_USE_LEGACY_KERAS=1` before Python starts: the
    trainer of Keras 3 does not support them. One script does for all processes: under `"parameter_server"` only the
    chief comes back from this call, while those that `TF_CONFIG` makes a `worker` or `ps` serve it until they are stopped.

    Args:
        name: one of the above.
        **options: passed on, such as `devices=["GPU:0", "GPU:1"]` or `variable_partitioner=...`.

    Raises:
        ValueError: an unknown name, a backend without `tf.distribute`, a strategy that Keras 3 does not support,
            parameter servers that `TF_CONFIG` does not name, or options where the default strategy is the result.

    Example:

    ```python
    with strategy("auto").scope():
        model = ple(schema)
        model.compile("adam", **objectives(schema.tasks))
    model.fit(dataset)
    ```
    """
    check_option("name", name, StrategyName, optional=True)
    if name is not None and BACKEND != "tensorflow":
        raise ValueError(
            f"tf.distribute needs the TensorFlow backend; here only strategy(None) works. Received: name={name!r}, backend={BACKEND!r}"
        )
    if name in ("multi_worker", "parameter_server") and not LEGACY:
        raise ValueError(
            f"Keras 3 does not train under this strategy; tf_keras does: set TF_USE_LEGACY_KERAS=1 before Python starts. Received: name={name!r}"
        )
    if name == "auto":
        several = options.get("devices") or len(tf.config.get_visible_devices("GPU")) > 1
        name = "mirrored" if several else None
    if name is None:
        if options:
            raise ValueError(f"The default strategy takes no options. Received: {options}")
        return tf.distribute.get_strategy()
    if name == "mirrored":
        return tf.distribute.MirroredStrategy(**options)
    if name == "multi_worker":
        return tf.distribute.MultiWorkerMirroredStrategy(**options)
    return _parameter_server(**options)


def _parameter_server(**options: Any) -> tf.distribute.Strategy:
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    cluster = resolver.cluster_spec()
    if not {"worker", "ps"} <= set(cluster.jobs):
        raise ValueError(f"`TF_CONFIG` must name a `chief`, `worker`s and `ps`. Received: {sorted(cluster.jobs)}")
    if resolver.task_type in ("worker", "ps"):
        tf.distribute.Server(cluster, job_name=resolver.task_type, task_index=resolver.task_id, protocol="grpc").join()
    return tf.distribute.ParameterServerStrategy(resolver, **options)
