"""Any metric of Keras that takes sample weights, over the rows that have a label."""

import inspect
from typing import Any

from tfmtl.checks import check_option
from tfmtl.keras_host import keras, ops, register
from tfmtl.masked_rows import mask
from tfmtl.typing import TaskKind, Tensor


@register
class MaskedKerasMetric(keras.metrics.Metric):
    """Shows a Keras metric the rows whose label is not NaN.

    By itself a Keras metric takes a missing label for some label, and is wrong without a word. Here such a row has
    weight 0. `objectives(tasks, metrics={task: [metric]})` and `tfmtl.masked` make one of any metric.

    Args:
        metric: a Keras metric that is read by nobody else, a function `(labels, predictions) -> values`, or the name of
            either.
        kind: what labels can be: of a `"binary"` task 0 and 1, of a `"regression"` anything finite.
        name: of the metric; that of `metric` where None.
        dtype: as Keras passes it on; `metric` has its own.

    Input shape:
        `y_true`, `y_pred` and `sample_weight`: `(B,)` or `(B, 1)`; a missing label is NaN.

    Output shape:
        That of `metric`. What `metric` says of no rows is its own matter: Keras mostly says 0.

    Raises:
        ValueError: a metric that takes no `sample_weight`; labels, predictions or weights that `MaskedMetric` refuses.

    Example:

    >>> import keras
    >>> from tfmtl.metrics import MaskedKerasMetric
    >>> metric = MaskedKerasMetric(keras.metrics.MeanAbsoluteError())
    >>> metric.update_state([3.0, float("nan")], [[1.0], [7.0]])
    >>> float(metric.result())
    2.0
    """

    def __init__(self, metric: Any, kind: TaskKind = "regression", name: str | None = None, dtype: Any = None):
        metric = _as_metric(metric)
        check_option("kind", kind, TaskKind)
        super().__init__(name=name or metric.name, dtype=dtype)
        self.own_name = name or metric.name
        self.kind = kind
        self.metric = metric
        if hasattr(metric, "_direction"):
            self._direction = metric._direction  # what Keras 3's callbacks read where no `mode` is given

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        rows = mask(y_true, y_pred, sample_weight, kind=self.kind, of=self.own_name, in_graphs=False)
        # A wrong label of a compiled step is NaN, which some metrics take for some label: its weight shows it.
        weights = ops.where(ops.isnan(rows.labels), rows.labels, rows.weights)
        labels, predictions = ops.expand_dims(rows.labels, -1), ops.expand_dims(rows.predictions, -1)
        self.metric.update_state(labels, predictions, sample_weight=weights)

    def result(self) -> Tensor:
        return self.metric.result()

    def reset_state(self) -> None:
        self.metric.reset_state()

    def get_config(self) -> dict[str, Any]:
        metric = keras.metrics.serialize(self.metric)
        return {**super().get_config(), "name": self.own_name, "metric": metric, "kind": self.kind}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "MaskedKerasMetric":
        return cls(**{**config, "metric": keras.metrics.deserialize(config["metric"])})


def _as_metric(given: Any) -> keras.metrics.Metric:
    """`given` as a metric object; raises ValueError unless rows can be left out of it by their weight."""
    # Keras reads the name "accuracy" by the shape of the predictions: here they are one column.
    found = keras.metrics.BinaryAccuracy(name=given) if given in ("accuracy", "acc") else keras.metrics.get(given)
    if not isinstance(found, keras.metrics.Metric):
        found = keras.metrics.MeanMetricWrapper(found, name=getattr(found, "__name__", type(found).__name__))
    taken = inspect.signature(type(found).update_state).parameters
    if not {"y_true", "y_pred", "sample_weight"} <= set(taken):
        raise ValueError(
            "`metric` must have `update_state(y_true, y_pred, sample_weight)`: by its weight a row without a label is left "
            f"out. Received: metric={found.name!r}, which takes {[name for name in taken if name != 'self']}"
        )
    return found
