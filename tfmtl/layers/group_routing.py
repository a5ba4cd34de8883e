"""One answer for each behaviour, from the towers of the row's own group."""

from collections.abc import Mapping
from typing import Any

from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.typing import Predictions, Tensor

MEAN = "mean"


@register_layer
class GroupRouting(keras.layers.Layer):
    """Answers every behaviour with the task of the row's group.

    ```
    y_a = y_{a,g}                            g: the group of the row
    y_a = mean_g y_{a,g}   or   y_{a,h}      for a row of no known group: unknown="mean", or unknown=h
    ```

    Args:
        cells: `{behavior: {group: task}}`, such as `TaskGrid.cells`; the same groups for each.
        rows: `{group: its row number}` in the encoded column that tells groups apart.
        unknown: who answers for a row of another number: `"mean"` of all groups, or a group.

    Input shape:
        `[{task: (B, 1)}, (B,) int]`: predictions, and the encoded column, which may be `(B, 1)` too.

    Output shape:
        `{behavior: (B, 1)}`, float32 under every policy; as wide as the predictions of its tasks.

    Raises:
        ValueError: no behaviour, groups that differ, rows that repeat, an `unknown` that is no group, predictions that
            lack a task, or a column of another shape.

    Example:

    >>> import numpy as np
    >>> from tfmtl.layers import GroupRouting
    >>> routing = GroupRouting({"skip": {"new": "skip_new", "old": "skip_old"}}, {"new": 1, "old": 2})
    >>> answers = {"skip_new": np.array([[0.2]] * 3), "skip_old": np.array([[0.6]] * 3)}
    >>> np.round(routing([answers, np.array([2, 1, 0])])["skip"][:, 0], 2)
    array([0.6, 0.2, 0.4], dtype=float32)

    Reference:
        Liu et al., "Multi-Faceted Hierarchical Multi-Task Learning for Recommender Systems", CIKM 2022,
        arXiv:2110.13365: the towers of the user's group serve. What serves users of no group is our choice.
    """

    def __init__(
        self, cells: Mapping[str, Mapping[str, str]], rows: Mapping[str, int], *, unknown: str = MEAN, **kwargs: Any
    ):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.cells = {behavior: dict(tasks) for behavior, tasks in cells.items()}
        self.rows = dict(rows)
        self.unknown = unknown
        differing = [behavior for behavior, tasks in self.cells.items() if set(tasks) != set(self.rows)]
        if not self.cells or not self.rows or differing:
            raise ValueError(
                "`cells` needs one behaviour or more, each with the groups of `rows`. "
                f"Received: rows={sorted(self.rows)}; behaviours that differ: {differing}"
            )
        if len(set(self.rows.values())) != len(self.rows):
            raise ValueError(f"Two groups have one row. Received: rows={self.rows}")
        if unknown != MEAN and unknown not in self.rows:
            raise ValueError(f"`unknown` must be {MEAN!r} or one of {sorted(self.rows)}. Received: unknown={unknown!r}")
        if unknown == MEAN and MEAN in self.rows:
            raise ValueError(
                f"A group is called {MEAN!r}, which also names the rule for unknown rows: rename the group."
            )

    def build(self, input_shape: Any) -> None:
        missing = sorted({task for tasks in self.cells.values() for task in tasks.values()} - set(input_shape[0]))
        if missing:
            raise ValueError(f"The predictions lack tasks {missing}. Received: {sorted(input_shape[0])}")
        shape = tuple(input_shape[1])
        if len(shape) != 1 and shape[1:] != (1,):
            raise ValueError(f"The column of the groups must be (B,) or (B, 1). Received: shape={shape}")
        self.built = True

    def call(self, inputs: tuple[Predictions, Tensor]) -> Predictions:
        predictions, group = inputs
        rows = ops.convert_to_tensor(list(self.rows.values()), dtype="int32")
        number = ops.arange(1, len(self.rows) + 1, dtype="int32")
        matches = ops.equal(ops.reshape(ops.cast(group, "int32"), (-1, 1)), rows)  # (B, G)
        chosen = ops.sum(ops.cast(matches, "int32") * number, axis=-1, keepdims=True)  # 0: unknown
        return {behavior: self._chosen(tasks, predictions, chosen) for behavior, tasks in self.cells.items()}

    def _chosen(self, tasks: Mapping[str, str], predictions: Predictions, chosen: Tensor) -> Tensor:
        by_group = {group: ops.cast(predictions[tasks[group]], "float32") for group in self.rows}
        width = next(iter(by_group.values())).shape[-1]
        if width == 1:
            return self._of_column(by_group, chosen)
        columns = [{group: y[:, place : place + 1] for group, y in by_group.items()} for place in range(width)]
        return ops.concatenate([self._of_column(column, chosen) for column in columns], axis=-1)

    def _of_column(self, by_group: Mapping[str, Tensor], chosen: Tensor) -> Tensor:
        answers = ops.concatenate(list(by_group.values()), axis=-1)  # (B, G)
        rest = ops.mean(answers, axis=-1, keepdims=True) if self.unknown == MEAN else by_group[self.unknown]
        return ops.take_along_axis(ops.concatenate([rest, answers], axis=-1), chosen, axis=-1)

    def compute_output_shape(self, input_shape: Any) -> dict[str, tuple[int | None, ...]]:
        widths = {behavior: input_shape[0][next(iter(tasks.values()))][-1] for behavior, tasks in self.cells.items()}
        return {behavior: (input_shape[1][0], width) for behavior, width in widths.items()}

    def get_config(self) -> dict[str, Any]:
        cells = {behavior: dict(tasks) for behavior, tasks in self.cells.items()}
        return {**super().get_config(), "cells": cells, "rows": dict(self.rows), "unknown": self.unknown}
