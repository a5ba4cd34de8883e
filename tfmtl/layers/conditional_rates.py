"""How likely a step is where an earlier one happened, from how likely both are anywhere."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.typing import Predictions


@register_layer
class ConditionalRates(keras.layers.Layer):
    """Adds conditional probabilities to predictions that are over all rows.

    ```
    p(step | before) = min(p(step) / p(before), 1)        0 where p(before) is 0
    ```

    That is pCVR = pCTCVR / pCTR. The minimum matters where nothing keeps a later step below an earlier one, as in AITM.

    Args:
        rates: `{name: (step, before)}`, the predictions to add.

    Input shape:
        `{task: (B, 1), ...}`, probabilities.

    Output shape:
        The same, and `{name: (B, 1)}` float32.

    Raises:
        ValueError: no rate, one that is no pair of two tasks, a name that a prediction has already, or predictions that
            lack a task.

    Example:

    >>> import numpy as np
    >>> from tfmtl.layers import ConditionalRates
    >>> rates = ConditionalRates({"cvr": ("buy", "click")})
    >>> y = rates({"click": np.array([[0.2]]), "buy": np.array([[0.05]])})
    >>> round(float(y["cvr"][0, 0]), 4)
    0.25
    """

    def __init__(self, rates: Mapping[str, Sequence[str]], **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})  # as predictions are under every policy
        pairs = {name: tuple(pair) if not isinstance(pair, str) else (pair,) for name, pair in dict(rates).items()}
        if not pairs or any(len(set(pair)) != 2 or len(pair) != 2 for pair in pairs.values()):
            raise ValueError(f"`rates` must be {{name: (step, before)}}, at least one. Received: rates={rates}")
        self.rates = pairs

    def build(self, input_shape: Mapping[str, Any]) -> None:
        missing = sorted({task for pair in self.rates.values() for task in pair} - set(input_shape))
        taken = sorted(set(self.rates) & set(input_shape))
        if missing or taken:
            raise ValueError(
                f"`rates` reads predictions that are there, under names that are not taken. They lack {missing} and hold "
                f"{taken} already. Received: keys={sorted(input_shape)}"
            )
        self.built = True

    def call(self, predictions: Predictions) -> Predictions:
        found = {
            name: self._rate(predictions[step], predictions[before]) for name, (step, before) in self.rates.items()
        }
        return {**predictions, **found}

    def _rate(self, step: Any, before: Any) -> Any:
        step, before = ops.cast(step, "float32"), ops.cast(before, "float32")
        possible = before > 0
        return ops.where(possible, ops.minimum(step / ops.where(possible, before, 1.0), 1.0), 0.0)

    def compute_output_shape(self, input_shape: Mapping[str, Any]) -> dict[str, tuple[int | None, ...]]:
        shapes = {name: tuple(shape) for name, shape in input_shape.items()}
        return {**shapes, **{name: shapes[step] for name, (step, _) in self.rates.items()}}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rates": {name: list(pair) for name, pair in self.rates.items()}}
