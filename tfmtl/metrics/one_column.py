"""A metric of one column of labels and predictions that hold several."""

from typing import Any

from tfmtl.keras_host import keras, ops, register
from tfmtl.typing import Tensor


@register
class OneColumn(keras.metrics.Metric):
    """Shows a metric the labels without the groups beside them, and the column that stands for the prediction.

    `objectives` puts it around the metrics of tasks whose loss compares rows, or predicts a distribution by several columns.

    Args:
        metric: a metric that is read by nobody else.
        column: of the prediction.
        name: of the metric; that of `metric` where None.
        dtype: as Keras passes it on; `metric` has its own.

    Input shape:
        `y_true`: `(B,)` or `(B, K)`, the label first. `y_pred`: `(B, width)`. `sample_weight`: `(B,)` or `(B, 1)`.

    Output shape:
        That of `metric`.

    Example:

    >>> from tfmtl.metrics import MaskedRootMeanSquaredError, OneColumn
    >>> metric = OneColumn(MaskedRootMeanSquaredError(), column=1)
    >>> metric.update_state([3.0, float("nan")], [[0.0, 1.0], [0.0, 7.0]])
    >>> float(metric.result())
    2.0
    """

    def __init__(self, metric: Any, column: int = 0, name: str | None = None, dtype: Any = None):
        own = getattr(metric, "own_name", metric.name)  # tf_keras renames metrics when it compiles
        super().__init__(name=name or own, dtype=dtype)
        self.own_name = name or own
        self.metric = metric
        self.column = column
        if hasattr(metric, "_direction"):
            self._direction = metric._direction  # what Keras 3's callbacks read where no `mode` is given

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        labels, predictions = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        labels = labels[:, :1] if len(labels.shape) == 2 else labels
        predictions = predictions[:, self.column : self.column + 1]
        self.metric.update_state(labels, predictions, sample_weight=sample_weight)

    def result(self) -> Tensor:
        return self.metric.result()

    def reset_state(self) -> None:
        self.metric.reset_state()

    def get_config(self) -> dict[str, Any]:
        metric = keras.metrics.serialize(self.metric)
        return {**super().get_config(), "name": self.own_name, "metric": metric, "column": self.column}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "OneColumn":
        return cls(**{**config, "metric": keras.metrics.deserialize(config["metric"])})
