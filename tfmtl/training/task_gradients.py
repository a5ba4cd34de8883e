"""The gradients of the tasks by what they share, measured over a few steps."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import tensorflow as tf

from tfmtl.keras_host import inputs_by_name, keras, raw
from tfmtl.tables import is_table
from tfmtl.training.balancing.gramian_balancer import gramian_of
from tfmtl.training.balancing.shared_weights import SharedWeights, as_jacobian
from tfmtl.training.balancing.task_losses import TaskLosses, everywhere


@dataclass(frozen=True)
class TaskGradients:
    """What was measured of `S` steps and `K` tasks; the shared dense weights lie in `L` layers.

    Attributes:
        tasks: names, in the order of the axes.
        layers: of the shared dense weights.
        gramians: `(S, L, K, K)`, inner products of the tasks' gradients by the weights of each layer.
        own: `(S, K)`, squared length of each task's gradient by the dense weights that no other task reaches.
        labelled: `(S, K)`, rows with a label.
    """

    tasks: tuple[str, ...]
    layers: tuple[str, ...]
    gramians: np.ndarray
    own: np.ndarray
    labelled: np.ndarray

    @property
    def joint(self) -> np.ndarray:
        """The Gramian over all shared dense weights, `(S, K, K)`."""
        return self.gramians.sum(1)

    @property
    def squares(self) -> np.ndarray:
        """Squared length of each task's gradient by the shared dense weights, `(S, K)`."""
        return np.diagonal(self.joint, axis1=1, axis2=2)


def cosines(gramians: np.ndarray) -> np.ndarray:
    """The cosine of every pair of tasks, `(..., K, K)`; NaN where one of them has no gradient."""
    lengths = np.sqrt(np.diagonal(gramians, axis1=-2, axis2=-1))
    both = lengths[..., :, None] * lengths[..., None, :]
    return np.divide(gramians, both, out=np.full_like(gramians, np.nan), where=both > 0)


def measure_gradients(
    model: keras.Model, dataset: Any, losses: TaskLosses, shared: SharedWeights, steps: int
) -> TaskGradients:
    """Measures each task's gradient in up to `steps` batches; the model is left as it is.

    Args:
        model: functional, returns a dict by task.
        dataset: batches `(x, y)` of encoded columns and labels; what follows them is not read.
        losses: of the tasks.
        shared: the weights of `model`, sorted by the tasks that reach them.
        steps: how many batches are read at most.

    Raises:
        ValueError: a dataset without batches.
    """
    step = _step(model, losses, shared)
    columns = list(inputs_by_name(model))
    measured = []
    with _unchanged(model):
        for batch in islice(dataset, steps):
            x, y = batch[:2]
            labels = {task: y[task] for task in losses.tasks if task in y}
            measured.append([value.numpy() for value in step({name: x[name] for name in columns}, labels)])
    if not measured:
        raise ValueError("`dataset` gave no batch.")
    gramians, own, labelled = (np.stack(values) for values in zip(*measured, strict=True))
    layers = [_layer_of(variable) for variable in shared.dense]
    names = tuple(dict.fromkeys(layers))
    places = np.array([[layer == name for layer in layers] for name in names], "float64").reshape(len(names), -1)
    return TaskGradients(losses.tasks, names, np.einsum("lv,svij->slij", places, gramians), own, labelled)


def _step(model: keras.Model, losses: TaskLosses, shared: SharedWeights) -> Any:
    """What measures one batch: the Gramian of each shared weight `(V, K, K)`, own squared lengths and labelled rows `(K,)`."""
    strategy = model.distribute_strategy
    count = len(losses.tasks)
    towers = [raw(v) for v in shared.towers if not is_table(v)]

    def measure(x: dict[str, tf.Tensor], y: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        with tf.GradientTape(persistent=True) as tape:
            found = losses(y, model(x, training=True), None)
        gramians = tf.zeros((0, count, count), "float64")
        if shared.dense:
            jacobian = everywhere(as_jacobian(shared.gradients(tape, found)))
            gramians = tf.stack([gramian_of(part) for part in tf.split(jacobian, list(shared.sizes), axis=1)])
        own = [
            sum(
                (tf.reduce_sum(tf.square(everywhere(g))) for g in tape.gradient(loss, towers) if g is not None),
                tf.zeros(()),
            )
            for loss in found
        ]
        return gramians, tf.stack(own), losses.labelled(y)

    @tf.function(reduce_retracing=True, autograph=False)
    def step(x: dict[str, tf.Tensor], y: dict[str, tf.Tensor]) -> list[tf.Tensor]:
        # Every replica takes the whole batch, and the loss counts its rows once for each of them: the sum is right.
        return [strategy.experimental_local_results(each)[0] for each in strategy.run(measure, (x, y))]

    return step


@contextmanager
def _unchanged(model: keras.Model) -> Iterator[None]:
    """Puts back what a forward pass in training changes: moving averages, the state of random numbers."""
    held = [(variable, np.array(variable)) for variable in model.non_trainable_variables]
    try:
        yield
    finally:
        for variable, value in held:
            variable.assign(value)


def _layer_of(variable: Any) -> str:
    """The layer that a weight lies in: the weight's path without its own name."""
    path = getattr(variable, "path", variable.name)
    return path.rpartition("/")[0] or path
