"""Which weights the tasks share, and what each task wants of them."""

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfmtl.keras_host import keras, raw
from tfmtl.tables import is_table


class SharedWeights:
    """Sorts the trainable weights of a model by the tasks that reach them.

    A task reaches a weight if its prediction has a gradient by it, which is asked of TensorFlow and not of the layers'
    connections: a stopped gradient counts as none.

    Args:
        model: functional, with a dict of outputs.
        tasks: the outputs that count.

    Attributes:
        variables: all trainable weights.
        dense: those that more than one task reaches and that are no embedding tables; with one task, all that it reaches.
        towers: those that exactly one task reaches, tables among them; none with one task.
        owners: the number of the task that reaches each of `towers`.
        sizes: the number of elements of each of `dense`.
        half: whether a layer computes in float16, where small gradients become zero.
    """

    def __init__(self, model: keras.Model, tasks: Sequence[str]):
        self.variables = list(model.trainable_variables)
        reached, sparse = _reached(model, tasks, self.variables)
        triples = list(zip(self.variables, reached, sparse, strict=True))
        fewest = min(2, len(tasks))
        self.dense = [v for v, by, rows in triples if len(by) >= fewest and not rows and not is_table(v)]
        owned = [(v, by[0]) for v, by, _ in triples if len(by) == 1 and len(tasks) > 1]
        self.towers, self.owners = [v for v, _ in owned], [owner for _, owner in owned]
        self.sizes = tuple(math.prod(v.shape) for v in self.dense)
        self.half = any(layer.compute_dtype == "float16" for layer in model.layers)

    def check_any(self, needs_them: str) -> None:
        """Raises ValueError if the tasks share no dense weight."""
        if not self.dense:
            raise ValueError(
                f"{needs_them} reads the gradients of dense weights that more than one task trains, and this model has none: "
                "its tasks meet in embedding tables at most. A balancer that reads losses alone works: RLW, DWA, FAMO, "
                "UncertaintyWeighting, Static."
            )

    def gradients(self, tape: tf.GradientTape, losses: Sequence[tf.Tensor], scale: Any = 1.0) -> list[list[tf.Tensor]]:
        """This replica's gradients of each loss by `dense`, float32; zeros where a task does not reach a weight."""
        sources = [raw(v) for v in self.dense]
        seeds = [tf.ones_like(loss) * tf.cast(scale, loss.dtype) for loss in losses]
        return [
            [
                tf.cast(g, "float32") / scale
                for g in tape.gradient(loss, sources, seed, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            ]
            for loss, seed in zip(losses, seeds, strict=True)
        ]


def as_jacobian(gradients: list[list[tf.Tensor]]) -> tf.Tensor:
    """The gradients of each task as one row, `(K, P)`."""
    return tf.stack([tf.concat([tf.reshape(g, [-1]) for g in of_task], axis=0) for of_task in gradients])


def _reached(model: keras.Model, tasks: Sequence[str], variables: list[Any]) -> tuple[list[list[int]], list[bool]]:
    """For each variable, the numbers of the tasks with a gradient by it, and whether any of these is one of single rows."""
    by: list[set[int]] = [set() for _ in variables]
    sparse = [False] * len(variables)
    sources = [raw(v) for v in variables]

    def forward(inputs: Any) -> None:
        with tf.GradientTape(persistent=True) as tape:
            outputs = model(inputs, training=False)
        for number, task in enumerate(tasks):
            for place, gradient in enumerate(tape.gradient(outputs[task], sources)):
                if gradient is not None:
                    by[place].add(number)
                    sparse[place] |= isinstance(gradient, tf.IndexedSlices)

    def replicated(inputs: Any) -> None:
        model.distribute_strategy.run(forward, (inputs,))  # where alone mirrored variables have gradients

    specs = tf.nest.map_structure(lambda column: tf.TensorSpec([None, *column.shape[1:]], column.dtype), model.input)
    tf.function(replicated, autograph=False).get_concrete_function(specs)  # traced, and never run
    return [sorted(reaching) for reaching in by], sparse
