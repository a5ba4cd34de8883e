"""What measures the gradients of the tasks of a model."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
import tensorflow as tf

from tfmtl.keras_host import inputs_by_name, keras, layers_of, raw
from tfmtl.tables import is_table
from tfmtl.training.balancing.gramian_balancer import gramian_of
from tfmtl.training.balancing.shared_weights import SharedWeights, as_jacobian
from tfmtl.training.balancing.task_losses import TaskLosses, everywhere
from tfmtl.training.task_gradients import TaskGradients


class GradientMeter:
    """Measures each task's gradient by what the tasks share; the step is traced once and kept. The model is left as it is.

    Args:
        model: functional, returns a dict by task.
        losses: of the tasks.
        shared: the weights of `model`, sorted by the tasks that reach them.
    """

    def __init__(self, model: keras.Model, losses: TaskLosses, shared: SharedWeights):
        self.model = model
        self.losses = losses
        self.shared = shared
        self.columns = list(inputs_by_name(model))
        self._towers = [raw(v) for v in shared.towers if not is_table(v)]
        self._step: Any = None

    def __call__(self, dataset: Any, steps: int) -> TaskGradients:
        """Measures up to `steps` batches `(x, y)` of encoded columns and labels; what follows them is not read.

        Raises:
            ValueError: a dataset without batches.
        """
        measured = []
        with _unchanged(self.model):
            for batch in islice(dataset, steps):
                x, y = batch[:2]
                labels = {task: tf.convert_to_tensor(y[task]) for task in self.losses.tasks if task in y}
                columns = {name: tf.convert_to_tensor(x[name]) for name in self.columns}
                if self._step is None:
                    self._step = self._traced(columns, labels)
                measured.append([value.numpy() for value in self._step(columns, labels)])
        if not measured:
            raise ValueError("`dataset` gave no batch.")
        gramians, own, labelled = (np.stack(values) for values in zip(*measured, strict=True))
        layers = _layers_of(self.model, self.shared.dense)
        names = tuple(dict.fromkeys(layers))
        by_layer = np.zeros((len(gramians), len(names), *gramians.shape[2:]))
        for place, layer in enumerate(layers):
            by_layer[:, names.index(layer)] += gramians[:, place]
        return TaskGradients(self.losses.tasks, names, by_layer, own, labelled)

    def _traced(self, columns: dict[str, tf.Tensor], labels: dict[str, tf.Tensor]) -> Any:
        """What measures one batch of any length."""
        strategy = self.model.distribute_strategy

        def step(x: dict[str, tf.Tensor], y: dict[str, tf.Tensor]) -> list[tf.Tensor]:
            # Every replica takes the whole batch, and the loss counts its rows once for each of them: the sum is right.
            return [strategy.experimental_local_results(each)[0] for each in strategy.run(self._measure, (x, y))]

        specs = tf.nest.map_structure(
            lambda value: tf.TensorSpec([None, *value.shape[1:]], value.dtype), (columns, labels)
        )
        return tf.function(step, autograph=False, input_signature=specs)

    def _measure(self, x: dict[str, tf.Tensor], y: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The Gramian of each shared weight `(V, K, K)`, own squared lengths `(K,)` and labelled rows `(K,)`."""
        with tf.GradientTape(persistent=True) as tape:
            found = self.losses(y, self.model(x, training=True), None)
        gramians = tf.zeros((0, len(found), len(found)), "float64")
        if self.shared.dense:
            jacobian = everywhere(as_jacobian(self.shared.gradients(tape, found)))
            parts = tf.split(jacobian, list(self.shared.sizes), axis=1)
            gramians = tf.stack([gramian_of(part) for part in parts])
        own = [self._own_square(tape, loss) for loss in found]
        return gramians, tf.stack(own), self.losses.labelled(y)

    def _own_square(self, tape: tf.GradientTape, loss: tf.Tensor) -> tf.Tensor:
        found = [gradient for gradient in tape.gradient(loss, self._towers) if gradient is not None]
        return tf.add_n([tf.zeros(()), *(tf.reduce_sum(tf.square(everywhere(gradient))) for gradient in found)])


@contextmanager
def _unchanged(model: keras.Model) -> Iterator[None]:
    """Puts back what a forward pass in training changes: moving averages, the state of random numbers."""
    held = [(variable, np.array(variable)) for variable in model.non_trainable_variables]
    try:
        yield
    finally:
        for variable, value in held:
            variable.assign(value)


def _layers_of(model: keras.Model, variables: list[Any]) -> list[str]:
    """For each weight the names of the layers that it lies in, the outermost first."""
    within: dict[int, list[str]] = {id(variable): [] for variable in variables}
    for layer in layers_of(model):
        for weight in layer.trainable_weights:
            if id(weight) in within:
                within[id(weight)].append(layer.name)
    return ["/".join(within[id(variable)]) or variable.name for variable in variables]
