"""How far the rounding of floating-point arithmetic may move what a model answers."""

import numpy as np
import tensorflow as tf

from tfmtl.exporting.example_rows import RawRows, tensors
from tfmtl.exporting.graph.traced_function import Tensors
from tfmtl.exporting.traced_model import TracedModel
from tfmtl.typing import Predictions, Tensor

MOVES = {tf.float64: 2.0**-45, tf.float32: 2.0**-16, tf.float16: 2.0**-9, tf.bfloat16: 2.0**-6}
"""By what share of itself every number is moved: 256 units of rounding in full precision, 4 in half.

A product that is summed up in another order is one whose factors are moved by some `sqrt(n)` units, `n` being its length; the
rest is room: for depth, and for operations that read no weight. Of trained PLE and MMoE with 60 features, probabilities and
regressions up to 10,000, the largest difference was a seventh of what this allows. In half precision only results are rounded;
sums are kept in full.
"""

DRAWS = 4
"""Moves at random that are tried; the largest effect counts."""

_READS = ("ReadVariableOp", "ResourceGather", "ResourceGatherNd")


class Rounding:
    """Measures for each row how far rounding may move each prediction.

    Every weight and every number that the model reads is moved by some units of rounding, up or down at random. What that does
    to the answers is what another order of the same arithmetic may do: it grows with the scale of the predictions, with depth,
    with large terms that cancel, and with the coarseness of half precision, as rounding itself does.

    Args:
        traced: the model.
    """

    def __init__(self, traced: TracedModel):
        self.traced = traced
        graph = traced.function.graph
        floats = {y.dtype for op in graph.get_operations() for y in op.outputs} & MOVES.keys()
        self._step = max((MOVES[dtype] for dtype in floats), default=MOVES[tf.float32])
        needed = traced.function.needed_operations(traced.outputs(traced.tasks), ())
        read = [tensor for op in needed if op.type in _READS for tensor in _numbers_of(op)]
        folded = [
            graph.get_tensor_by_name(name)
            for name, value in traced.function.folded.items()
            if isinstance(value, tf.Variable)
        ]
        self._read = [tensor for tensor in (*read, *folded, *traced.encoded.values()) if tensor.dtype.is_floating]
        columns = dict(traced.raw_signature)
        read_specs = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in self._read]
        self._held = tf.function(self._held_values, input_signature=[columns], autograph=False)
        self._answers = tf.function(self._moved_answers, input_signature=[columns, read_specs], autograph=False)

    def __call__(self, rows: RawRows) -> dict[str, np.ndarray]:
        """`{task: (B, 1)}` for raw rows: the largest effect that was seen, of every row at least that of the median row.

        0 where the model answers otherwise when it is asked again: that is no rounding.
        """
        columns = tensors(rows, self.traced.raw_signature)
        held = self._held(columns)
        plain, again = self._asked(columns, held, 0.0, 0), self._asked(columns, self._held(columns), 0.0, 1)
        effects = {task: np.zeros(answer.shape) for task, answer in plain.items()}
        for draw in range(DRAWS):
            moved = self._asked(columns, held, self._step, draw)
            effects = {
                task: np.maximum(effect, _distance(moved[task], plain[task])) for task, effect in effects.items()
            }
        return {task: _of_all_rows(effect, _distance(again[task], plain[task])) for task, effect in effects.items()}

    def _asked(self, columns: Tensors, held: list[Tensor], step: float, draw: int) -> dict[str, np.ndarray]:
        # Outside of the graph, which would draw for each of some hundred weights at once: four times their memory.
        moved = [_moved(value, step, (draw, place)) for place, value in enumerate(held)]
        answers = self._answers(columns, moved)
        return {task: answer.numpy().astype(np.float64) for task, answer in answers.items()}

    def _held_values(self, columns: Tensors) -> list[Tensor]:
        """What the model reads."""
        return self.traced.function.insert(self._given(columns), self._read)

    def _moved_answers(self, columns: Tensors, moved: list[Tensor]) -> Predictions:
        """What the model answers where it reads `moved`."""
        tasks = self.traced.tasks
        there = self._given(columns) | {x.name: value for x, value in zip(self._read, moved, strict=True)}
        return self.traced.scored(
            dict(zip(tasks, self.traced.function.insert(there, self.traced.outputs(tasks)), strict=True))
        )

    def _given(self, columns: Tensors) -> Tensors:
        """The tensors of columns, by their names in the graph."""
        return {self.traced.function.inputs[name].name: tensor for name, tensor in columns.items()}


def _distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.nan_to_num(np.abs(x - y))


def _of_all_rows(effect: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """The effect of each row and at least that of the median row; none where answers are a matter of chance."""
    if not effect.size or chance.max() > 0.1 * effect.max():
        return np.zeros(effect.shape)
    return np.maximum(effect, np.median(effect))


def _numbers_of(read: tf.Operation) -> list[Tensor]:
    """What an operation reads of a variable; of a table that is only looked up, the rows that are found."""
    (whole,) = read.outputs
    readers = whole.consumers()
    if readers and all(op.type == "GatherV2" and op.inputs[0] is whole for op in readers):
        return [op.outputs[0] for op in readers]
    return [whole]


def _moved(value: Tensor, step: float, seed: tuple[int, int]) -> Tensor:
    """`value (1 + step)` or `value (1 - step)`, for each number of it by the toss of a coin."""
    sign = tf.sign(tf.random.stateless_uniform(tf.shape(value), seed) - 0.5)
    return value * (1 + tf.cast(step * sign, value.dtype))
