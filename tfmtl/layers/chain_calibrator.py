"""AITM's calibrator: a later step of a path is never likelier than an earlier one."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from tfmtl.checks import check_option
from tfmtl.cross_replica import num_replicas, share_of_mean
from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.schema.chains import check_chain
from tfmtl.typing import Predictions

Reduction: TypeAlias = Literal["mean", "sum"]


@register_layer
class ChainCalibrator(keras.layers.Layer):
    """Punishes predictions that grow along a chain of tasks; passes them on as they are.

    ```
    loss += weight * mean_rows(sum_t max(p_t - p_{t-1}, 0))        t: every step but the first
    ```

    The loss reads predictions alone, so rows without a label count too: a sale without a click is as impossible there.
    It is added with `add_loss`, and under replicas it is that of the global batch, however its rows fall on them.

    Args:
        chain: names of the tasks, the first step first.
        weight: of the loss.
        reduction: `"mean"` over the rows, or `"sum"`, as in other public code: it grows with the batch.

    Input shape:
        `{task: (B, 1), ...}`, probabilities.

    Output shape:
        Same as the input.

    Raises:
        ValueError: a chain of fewer than two tasks or with a task twice, a negative weight, an unknown reduction, or
            predictions that lack a task of the chain.

    Example:

    >>> import numpy as np
    >>> from tfmtl.layers import ChainCalibrator
    >>> calibrator = ChainCalibrator(["click", "buy"])
    >>> y = calibrator({"click": np.array([[0.2]]), "buy": np.array([[0.7]])})
    >>> round(float(calibrator.losses[0]), 4)
    0.3

    Reference:
        Xi et al. (AITM), KDD 2021, arXiv:2105.08489, the behavioral expectation calibrator. Weight and mean are those
        of the authors' code for two tasks (its version for four uses 0.3).
    """

    def __init__(self, chain: Sequence[str], *, weight: float = 0.6, reduction: Reduction = "mean", **kwargs: Any):
        # Predictions are float32 under every policy and must come out as they came in.
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.chain = check_chain(chain)
        if not weight >= 0:
            raise ValueError(f"`weight` must be >= 0. Received: weight={weight}")
        check_option("reduction", reduction, Reduction)
        self.weight = weight
        self.reduction = reduction

    def build(self, input_shape: Mapping[str, Any]) -> None:
        missing = [task for task in self.chain if task not in input_shape]
        if missing:
            raise ValueError(f"The predictions lack tasks {missing} of the chain. Received: keys={sorted(input_shape)}")
        self.built = True

    def call(self, predictions: Predictions) -> Predictions:
        steps = ops.concatenate([ops.cast(predictions[task], "float32") for task in self.chain], axis=-1)  # (B, T)
        excess = ops.sum(ops.relu(steps[:, 1:] - steps[:, :-1]))
        if self.reduction == "mean":
            excess = share_of_mean(excess, ops.cast(ops.shape(steps)[0], "float32"))
        excess = excess * num_replicas()  # Keras takes the mean over replicas of what layers add
        self.add_loss(ops.cast(self.weight * excess, keras.backend.floatx()))
        return dict(predictions)

    def compute_output_shape(self, input_shape: Mapping[str, Any]) -> dict[str, tuple[int | None, ...]]:
        return {name: tuple(shape) for name, shape in input_shape.items()}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "chain": list(self.chain),
            "weight": self.weight,
            "reduction": self.reduction,
        }
