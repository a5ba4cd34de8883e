"""Labels and weights that no figure may be computed from: refused in words, wherever the batch is computed."""

from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple, NoReturn

import numpy as np

from tfmtl.keras_host import BACKEND, keras, ops
from tfmtl.typing import LabelKind, Tensor

LARGEST = 1e16
"""Labels of a regression beyond it are refused: the sum of a million such squares still is a float32."""

Named = str | tuple[str, ...]
"""A task, or the tasks of a table's rows."""

EXPECTED: dict[LabelKind, str] = {
    "binary": "0, 1 or NaN (missing)",
    "regression": f"NaN (missing) or finite, at most {LARGEST:g} from 0",
    "nonnegative": f"NaN (missing) or from 0 to {LARGEST:g}",
    "multiclass": "NaN (missing) or the index of a class, from 0 to {last}",
}


class LabelRule(NamedTuple):
    """What labels can be.

    Args:
        kind: 0 and 1, any finite number, one that is not negative, or the index of a class.
        num_classes: how many classes there are.
    """

    kind: LabelKind
    num_classes: int = 0

    @property
    def expected(self) -> str:
        """The rule in words."""
        return EXPECTED[self.kind].format(last=self.num_classes - 1)

    def broken_by(self, labels: Tensor) -> Tensor:
        """Which of `labels`, none of them missing, break it: bools, `(B,)`."""
        if self.kind == "binary":
            return ops.logical_and(ops.not_equal(labels, 0.0), ops.not_equal(labels, 1.0))
        fits = ops.less_equal(ops.abs(labels), LARGEST)
        if self.kind != "regression":
            fits = ops.logical_and(fits, ops.greater_equal(labels, 0.0))
        if self.kind == "multiclass":
            whole = ops.equal(ops.floor(labels), labels)
            fits = ops.logical_and(fits, ops.logical_and(whole, ops.less(labels, self.num_classes)))
        return ops.logical_not(fits)


def checked_labels(labels: Tensor, rule: LabelRule | LabelKind, of: Named, *, in_graphs: bool = True) -> Tensor:
    """`labels` without missing ones, `(B,)` or `(T, B)`, once all of them are what the task can have.

    Values at hand raise ValueError. In a TensorFlow graph the step fails with the same sentence before anything is
    computed from the labels; a jitted step of JAX fails with it at its end. XLA (`jit_compile=True`) drops what could
    fail: there a wrong label becomes NaN, and so does what is computed from it, the loss and the metrics.

    Args:
        labels: float32; what stands for a missing label is a label of that kind.
        rule: what they can be.
        of: the name of the task, loss or metric, for the message; of every row of `(T, B)`.
        in_graphs: False leaves it at NaN wherever values are not at hand.
    """
    rule = LabelRule(rule) if isinstance(rule, str) else rule
    sentence = f"The labels of `{{of}}` must be {rule.expected}. Received:"
    return _checked(labels, rule.broken_by(labels), sentence, of, in_graphs)


def checked_weights(weights: Tensor, of: Named, *, in_graphs: bool = True) -> Tensor:
    """`weights` of the rows that count, 0 elsewhere, once none is negative, infinite or NaN; as `checked_labels`."""
    wrong = ops.logical_not(ops.logical_and(ops.greater_equal(weights, 0.0), ops.less(weights, float("inf"))))
    return _checked(weights, wrong, "The sample weights of `{of}` must be finite and >= 0. Received:", of, in_graphs)


def _checked(values: Tensor, wrong: Tensor, sentence: str, of: Named, in_graphs: bool) -> Tensor:
    if not _has_values(values):
        return values
    if _at_hand(values):
        columns = (np.asarray(ops.convert_to_numpy(column)) for column in (values, wrong))
        for name, own, broken in _by_task(of, *columns):
            if broken.any():
                _refuse(sentence.format(of=name), own[broken][0])
        return values
    check = {"tensorflow": _fail_in_tensorflow, "jax": _fail_in_jax}.get(BACKEND) if in_graphs else None
    if check is not None:
        largest = ops.max(ops.where(wrong, values, -float("inf")), axis=-1)
        tasks = _by_task(of, ops.logical_not(ops.any(wrong, axis=-1)), largest)
        values = check(values, [(sentence.format(of=name), sound, one) for name, sound, one in tasks])
    return ops.where(wrong, float("nan"), values)


def _by_task(of: Named, *tables: Any) -> Iterable[tuple[Any, ...]]:
    """The name and the row of each table, one task after the other."""
    if isinstance(of, str):
        return [(of, *tables)]
    return zip(
        of,
        *(list(table) if isinstance(table, np.ndarray) else ops.unstack(table, len(of)) for table in tables),
        strict=True,
    )


def _has_values(values: Any) -> bool:
    """Whether this is a batch, and not what Keras infers shapes with."""
    if BACKEND == "torch":
        return values.device.type != "meta"
    return not keras.backend.is_keras_tensor(values)


def _at_hand(values: Any) -> bool:
    """Whether the values are known now, and not when a compiled step runs."""
    if BACKEND == "jax":
        import jax

        return not isinstance(values, jax.core.Tracer)
    if BACKEND == "torch":
        import torch

        return not torch.compiler.is_compiling()
    return hasattr(values, "numpy")


def _fail_in_tensorflow(values: Tensor, tasks: list[tuple[str, Tensor, Tensor]]) -> Tensor:
    """`values`, which now depend on an `Assert` of each task: nothing is computed from wrong ones, no gradient either."""
    import tensorflow as tf

    # The op itself: `tf.debugging.Assert` would put it into a conditional, and print the first rows, right or wrong.
    failing = [
        tf.raw_ops.Assert(condition=sound, data=[tf.constant(sentence), one], summarize=1)
        for sentence, sound, one in tasks
    ]
    with tf.control_dependencies(failing):
        return tf.identity(values)


def _fail_in_jax(values: Tensor, tasks: list[tuple[str, Tensor, Tensor]]) -> Tensor:
    """`values`; where one of a task is wrong, the host is called, which raises."""
    import jax

    def call_host(sentence: str, value: Tensor) -> None:
        jax.debug.callback(lambda received: _refuse(sentence, received), value)

    for sentence, sound, one in tasks:
        jax.lax.cond(sound, lambda value: None, partial(call_host, sentence), one)
    return values


def _refuse(sentence: str, value: Any) -> NoReturn:
    raise ValueError(f"{sentence} {float(value):g}")
