"""A metric that is a function of sums over the labelled rows."""

from typing import Any

import numpy as np

from tfmtl.keras_host import BACKEND, keras, ops
from tfmtl.label_checks import LabelRule
from tfmtl.masked_rows import MaskedRows, mask, mask_table
from tfmtl.task_tables import Columns, from_table, key_of
from tfmtl.typing import TaskKind, Tensor

PRECISE = "float64" if BACKEND == "tensorflow" else "float32"
"""Type of the running sums: a float32 count stands still at 2^24 rows. JAX and PyTorch keep to 32 bits by default."""


def sums_of(*columns: Tensor) -> Tensor:
    """The sum of each of the columns, all `(B,)` or all `(T, B)`: `(K,)` or `(T, K)`."""
    return ops.stack([ops.sum(column, axis=-1) for column in columns], axis=-1)


class MaskedMetric(keras.metrics.Metric):
    """Adds up `measure` over the rows whose label is not NaN; `figure` turns the sums into the result.

    All state is one variable. Keras adds it up over replicas when it is read, so the figure of N replicas is that of
    one device for every `measure` that is a sum over rows.

    A metric of your own says what rows add up to and what the sums mean: a subclass gives `measure` and `figure`, and
    `kind` where its labels are 0 and 1. `docs/losses.md` has an example.

    Args:
        shape: of the sums.
        name: of the metric.
        dtype: accepted because Keras passes it on; rows are read in float32 and summed in float64 where the backend can.

    Raises:
        ValueError: labels or predictions of other columns than the metric reads, a label that is not of the metric's `kind`, a sample
            weight that is negative or not finite. In a compiled step the loss raises; without one the metric is NaN.
    """

    kind: TaskKind = "regression"
    """The kind of the task; labels are 0 and 1 (`"binary"`), any finite value (`"regression"`) or the index of a class."""

    elementwise: bool = False
    """Whether `measure` also takes rows of several tasks, `(T, B)`, and gives what each adds, `(T, *shape)`, and all that it goes by
    is in the config. The step of a model that `build` made then measures all tasks whose metrics are of one class and one
    config at once. A subclass has to say it anew."""

    def __init__(self, shape: tuple[int, ...], name: str, dtype: Any = None):
        # Whatever the policy: under mixed precision tf_keras would cast the sums, and cannot under replicas.
        super().__init__(name=name, dtype=dtype or "float32")
        self.own_name = name
        self.sums = self.add_weight(name="sums", shape=shape, initializer="zeros", dtype=PRECISE)

    @property
    def label_rule(self) -> LabelRule:
        """What labels can be."""
        return LabelRule(self.kind, self.width if self.kind == "multiclass" else 0)

    @property
    def width(self) -> int:
        """Columns of a prediction."""
        return 1

    def measure(self, rows: MaskedRows) -> Tensor:
        """What these rows add to the sums."""
        raise NotImplementedError

    def figure(self, sums: Tensor) -> Tensor:
        """The metric, given the sums; NaN where it is undefined."""
        raise NotImplementedError

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        measured = from_table(self, Columns(y_true, y_pred, sample_weight))
        if measured is None:
            # In a compiled step the loss refuses wrong labels, by the task's name; here they would be looked at once more.
            rows = mask(
                y_true, y_pred, sample_weight, rule=self.label_rule, of=self.own_name, width=self.width, in_graphs=False
            )
            measured = ops.cast(self.measure(rows), PRECISE)
        self.sums.assign_add(measured)

    @property
    def table_key(self) -> str | None:
        """Equal for two metrics that one call can stand for; None where it is measured by itself."""
        return key_of(self, ("measure",)) if self.width == 1 else None

    @property
    def label_name(self) -> str:
        """What errors call the labels."""
        return self.own_name

    def of_table(self, table: Columns, names: tuple[str, ...]) -> Tensor:
        """What rows add to the sums of every task, `(T, *shape)`: tables, `(T, B)`, of labels, predictions and maybe weights."""
        rows = mask_table(*table, rule=self.label_rule, of=names, in_graphs=False)
        return ops.cast(self.measure(rows), PRECISE)

    def result(self) -> Tensor:
        # On tf_keras each look at the variable would sum it over all replicas once more; a cast is one look.
        return ops.cast(self.figure(ops.cast(self.sums, PRECISE)), "float32")

    def reset_state(self) -> None:
        self.sums.assign(np.zeros(self.sums.shape, PRECISE))

    def get_config(self) -> dict[str, Any]:
        # tf_keras renames a metric to "{output}_{name}" when it compiles, and would do so again with a loaded one.
        return {**super().get_config(), "name": self.own_name}
