"""Any metric of Keras that takes sample weights, over the rows that have a label."""

import inspect
from typing import Any

from tfmtl.checks import check_count, check_option
from tfmtl.keras_host import keras, ops, register
from tfmtl.label_checks import LabelRule
from tfmtl.masked_rows import MaskedRows, mask
from tfmtl.typing import TaskKind, Tensor


@register
class MaskedKerasMetric(keras.metrics.Metric):
    """Shows a Keras metric the rows whose label is not NaN.

    By itself a Keras metric takes a missing label for some label, and is wrong without a word. Here such a row has
    weight 0. `objectives(tasks, metrics={task: [metric]})` and `tfmtl.masked` make one of any metric.

    Args:
        metric: a Keras metric that is read by nobody else, a function `(labels, predictions) -> values`, or the name of
            either.
        kind: what labels can be: of a `"binary"` task 0 and 1, of a `"regression"` anything finite, of a `"multiclass"` task
            the index of a class.
        name: of the metric; that of `metric` where None.
        dtype: as Keras passes it on; `metric` has its own.
        num_classes: of a multiclass task. Labels are shown to `metric` as one column a class, 1 for the label's and 0 elsewhere,
            and to Keras's sparse metrics as indices.

    Input shape:
        `y_true`, `y_pred` and `sample_weight`: `(B,)` or `(B, 1)`, `y_pred` of classes `(B, C)`; a missing label is NaN.

    Output shape:
        That of `metric`. What `metric` says of no rows is its own matter: Keras mostly says 0.

    Raises:
        ValueError: a metric that takes no `sample_weight`; a multiclass task without `num_classes`; labels, predictions or weights that `MaskedMetric` refuses.

    Example:

    >>> import keras
    >>> from tfmtl.metrics import MaskedKerasMetric
    >>> metric = MaskedKerasMetric(keras.metrics.MeanAbsoluteError())
    >>> metric.update_state([3.0, float("nan")], [[1.0], [7.0]])
    >>> float(metric.result())
    2.0
    """

    def __init__(
        self,
        metric: Any,
        kind: TaskKind = "regression",
        name: str | None = None,
        dtype: Any = None,
        num_classes: int | None = None,
    ):
        check_option("kind", kind, TaskKind)
        metric = _as_metric(metric, kind)
        super().__init__(name=name or metric.name, dtype=dtype)
        self.own_name = name or metric.name
        self.kind = kind
        self.num_classes = check_count("num_classes", num_classes, least=2) if kind == "multiclass" else None
        self.metric = metric
        if hasattr(metric, "_direction"):
            self._direction = metric._direction  # what Keras 3's callbacks read where no `mode` is given

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        width = self.num_classes or 1
        rule = LabelRule(self.kind, width)
        rows = mask(y_true, y_pred, sample_weight, rule=rule, of=self.own_name, width=width, in_graphs=False)
        # A wrong label of a compiled step is NaN, which some metrics take for some label: its weight shows it.
        weights = ops.where(ops.isnan(rows.labels), rows.labels, rows.weights)
        self.metric.update_state(*self._columns(rows), sample_weight=weights)

    def _columns(self, rows: MaskedRows) -> tuple[Tensor, Tensor]:
        """Labels and predictions as `metric` reads them."""
        labels, predictions = ops.expand_dims(rows.labels, -1), rows.predictions
        if self.num_classes is None:
            return labels, ops.expand_dims(predictions, -1)
        if "Sparse" in type(self.metric).__name__:
            return labels, predictions
        places = ops.arange(self.num_classes, dtype="float32")
        return ops.cast(ops.equal(labels, places), "float32"), predictions

    def result(self) -> Tensor:
        return self.metric.result()

    def reset_state(self) -> None:
        self.metric.reset_state()

    def get_config(self) -> dict[str, Any]:
        metric = keras.metrics.serialize(self.metric)
        config = {**super().get_config(), "name": self.own_name, "metric": metric, "kind": self.kind}
        return config if self.num_classes is None else {**config, "num_classes": self.num_classes}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "MaskedKerasMetric":
        return cls(**{**config, "metric": keras.metrics.deserialize(config["metric"])})


def _as_metric(given: Any, kind: TaskKind) -> keras.metrics.Metric:
    """`given` as a metric object; raises ValueError unless rows can be left out of it by their weight."""
    # Keras reads the name "accuracy" by the shape of the predictions, which is not known here.
    accuracy = keras.metrics.CategoricalAccuracy if kind == "multiclass" else keras.metrics.BinaryAccuracy
    found = accuracy(name=given) if given in ("accuracy", "acc") else keras.metrics.get(given)
    if not isinstance(found, keras.metrics.Metric):
        found = keras.metrics.MeanMetricWrapper(found, name=getattr(found, "__name__", type(found).__name__))
    taken = inspect.signature(type(found).update_state).parameters
    if not {"y_true", "y_pred", "sample_weight"} <= set(taken):
        raise ValueError(
            "`metric` must have `update_state(y_true, y_pred, sample_weight)`: by its weight a row without a label is left "
            f"out. Received: metric={found.name!r}, which takes {[name for name in taken if name != 'self']}"
        )
    return found
