"""What masks a loss or a metric of Keras, for `compile` without `objectives`."""

from typing import Any

from tfmtl.keras_host import keras
from tfmtl.losses import MaskedKerasLoss, MaskedLoss
from tfmtl.metrics import MaskedKerasMetric, MaskedMetric, OneColumn
from tfmtl.typing import TaskKind


def masked(of: Any, *, kind: TaskKind = "regression", name: str | None = None, num_classes: int | None = None) -> Any:
    """Makes a loss or a metric of Keras leave out the rows whose label is NaN, in the global batch of a strategy too.

    Args:
        of: a `keras.losses.Loss` or a `keras.metrics.Metric` object. One of tfmtl's comes back as it is.
        kind: what labels can be: of a `"binary"` task 0 and 1, of a `"regression"` anything finite, of a `"multiclass"` task
            the index of a class. All others are refused.
        name: of the loss or metric, and what an error calls it; its own where None.
        num_classes: of a `"multiclass"` task.

    Raises:
        ValueError: something else than a loss or a metric, and what `MaskedKerasLoss` and `MaskedKerasMetric` refuse.

    Example:

    ```python
    model.compile(
        optimizer,
        loss={"click": masked(keras.losses.BinaryFocalCrossentropy(), kind="binary", name="click")},
        metrics={"click": [masked(keras.metrics.AUC(curve="PR", name="pr"), kind="binary")]},
    )
    ```
    """
    if isinstance(of, (MaskedLoss, MaskedMetric, MaskedKerasMetric, OneColumn)):
        return of
    if isinstance(of, keras.losses.Loss):
        return MaskedKerasLoss(of, kind, name, num_classes)
    if isinstance(of, keras.metrics.Metric):
        return MaskedKerasMetric(of, kind, name, num_classes=num_classes)
    raise ValueError(
        "`of` must be a loss or a metric object. For a function or a name, say which it is: MaskedKerasLoss(...) or "
        f"MaskedKerasMetric(...). Received: of={of!r}"
    )
