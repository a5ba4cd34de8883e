"""How training is spread over devices and machines."""

import logging
from typing import Any, Literal, TypeAlias

import tensorflow as tf

from tfmtl.checks import check_option
from tfmtl.keras_host import BACKEND, LEGACY
from tfmtl.training.cluster import check_named, cluster, joining

_log = logging.getLogger(__name__)

StrategyName: TypeAlias = Literal["auto", "mirrored", "multi_worker", "parameter_server"]


def strategy(name: StrategyName | None = "auto", **options: Any) -> tf.distribute.Strategy:
    """Returns the `tf.distribute` strategy called `name`; build and compile the model in its `scope()`.

    | name | strategy | runs on |
    |---|---|---|
    | `None` | TensorFlow's default: no distribution | every host |
    | `"mirrored"` | `MirroredStrategy`: all GPUs of this machine | TensorFlow |
    | `"multi_worker"` | `MultiWorkerMirroredStrategy`: machines named in `TF_CONFIG` | tf_keras |
    | `"parameter_server"` | `ParameterServerStrategy`: weights on servers named in `TF_CONFIG` | tf_keras |

    `"auto"` is the one that fits: parameter servers where `TF_CONFIG` names some, `"multi_worker"` where it names several
    workers, else `"mirrored"` where TensorFlow sees more than one GPU or `devices` are given, else none. What it chose and why
    is one line in the log `tfmtl.training.distribution`, at level INFO.

    The two strategies of several machines need tf_keras, set by `TF_USE_LEGACY_KERAS=1` before Python starts: the
    trainer of Keras 3 does not support them. One script does for all processes: under `"parameter_server"` only the
    chief comes back from this call, while those that `TF_CONFIG` makes a `worker` or `ps` serve it until they are stopped.
    Call it before anything else of TensorFlow: before `adapt`, `read` and models. It waits for the other processes, and warns of
    those that nobody answers for.

    Args:
        name: one of the above.
        **options: passed on, such as `devices=["GPU:0", "GPU:1"]` or `variable_partitioner=...`.

    Raises:
        ValueError: an unknown name, a backend without `tf.distribute`, a strategy that Keras 3 does not support, a `TF_CONFIG`
            that does not name the cluster or this process's place in it, or options where the default strategy is the result.
        RuntimeError: workers that are to train together have run something else before.
        OSError: another program listens at this process's address.

    Example:

    ```python
    with strategy("auto").scope():
        model = ple(schema)
        model.compile("adam", **objectives(schema.tasks))
    model.fit(dataset)
    ```
    """
    check_option("name", name, StrategyName, optional=True)
    if name == "auto":
        name, why = _fitting(options)
        _log.info("strategy %s: %s", name or "None, one device", why)
    if name is not None and BACKEND != "tensorflow":
        raise ValueError(
            f"tf.distribute needs the TensorFlow backend; here only strategy(None) works. Received: name={name!r}, backend={BACKEND!r}"
        )
    if name in ("multi_worker", "parameter_server") and not LEGACY:
        raise ValueError(
            f"Keras 3 does not train under this strategy; tf_keras does: set TF_USE_LEGACY_KERAS=1 before Python starts. Received: name={name!r}"
        )
    if name is None:
        if options:
            raise ValueError(f"The default strategy takes no options. Received: {options}")
        return tf.distribute.get_strategy()
    if name == "mirrored":
        return tf.distribute.MirroredStrategy(**options)
    return _multi_worker(**options) if name == "multi_worker" else _parameter_server(**options)


def _fitting(options: dict[str, Any]) -> tuple[StrategyName | None, str]:
    """The strategy that `"auto"` means here, and why."""
    roles = cluster()
    workers = len(roles.get("worker", ())) + len(roles.get("chief", ()))
    if roles.get("ps"):
        return "parameter_server", f"TF_CONFIG names {len(roles['ps'])} parameter servers"
    if workers > 1:
        return "multi_worker", f"TF_CONFIG names {workers} workers"
    if BACKEND != "tensorflow":
        return None, f"the backend is {BACKEND}"
    gpus = len(tf.config.get_visible_devices("GPU"))
    if options.get("devices"):
        return "mirrored", f"devices={options['devices']}"
    return ("mirrored" if gpus > 1 else None), f"TensorFlow sees {gpus} GPUs"


def _multi_worker(**options: Any) -> tf.distribute.Strategy:
    if "cluster_resolver" not in options and "chief" not in cluster():
        check_named("worker")  # without them each machine would train by itself
    try:
        with joining():
            return tf.distribute.MultiWorkerMirroredStrategy(**options)
    except RuntimeError as error:
        raise RuntimeError(
            "`strategy` must be called before anything else of TensorFlow runs in a worker: before `adapt`, `read`, models and "
            f"tensors. Received: {error}"
        ) from error


def _parameter_server(**options: Any) -> tf.distribute.Strategy:
    check_named("chief", "worker", "ps")
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    if resolver.task_type in ("worker", "ps"):
        role = {"job_name": resolver.task_type, "task_index": resolver.task_id}
        with joining():
            server = tf.distribute.Server(resolver.cluster_spec(), **role, protocol="grpc")
        server.join()
    with joining():
        return tf.distribute.ParameterServerStrategy(resolver, **options)
