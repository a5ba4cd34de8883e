"""Batch normalisation with the statistics of each scenario."""

from typing import Any

from tfmtl.cross_replica import num_replicas, sum_over_replicas
from tfmtl.keras_host import add_statistic, add_uncast, keras, ops, register_layer
from tfmtl.typing import Tensor


@register_layer
class PartitionedNormalization(keras.layers.Layer):
    """Normalises a row by the mean and variance of the rows of its scenario.

    ```
    y = (g * g_p) (x - m_p) / sqrt(v_p + epsilon) + (b + b_p)          p: the scenario of the row
    ```

    In training `m_p` and `v_p` are those of the scenario's rows in the global batch, over all replicas, and their moving
    averages are kept; a batch without a row of a scenario leaves its averages as they are. Inference takes the averages.
    Scenario 0, the rows of unknown ids, is normalised by the statistics of all rows: it need not occur in training.

    A scenario wants some dozen rows a batch: of a single one nothing is left but `b + b_p`.

    Args:
        momentum: of the moving averages.
        epsilon: added to variances.

    Input shape:
        `[(B, D), (B, P)]`: the rows, and 1 at their scenario, 0 elsewhere.

    Output shape:
        `(B, D)`; computed in float32 under every policy, returned in the layer's compute dtype.

    Raises:
        ValueError: `momentum` outside [0, 1) or an `epsilon` that is not above 0.

    Example:

    >>> import keras
    >>> from tfmtl.layers import PartitionedNormalization
    >>> x, scenario = keras.random.normal((8, 100)), keras.ops.one_hot([0, 1, 2, 0, 1, 2, 0, 1], 3)
    >>> tuple(PartitionedNormalization()([x, scenario], training=True).shape)
    (8, 100)

    Reference:
        Sheng et al., "One Model to Serve All: Star Topology Adaptive Recommender for Multi-Domain CTR Prediction" (STAR),
        CIKM 2021, arXiv:2101.11427, section 4.2. The paper draws each batch from one scenario; here a batch holds rows of
        several. What unknown scenarios take is our choice. `momentum` and `epsilon` are those of Keras.
    """

    def __init__(self, *, momentum: float = 0.99, epsilon: float = 1e-3, **kwargs: Any):
        super().__init__(**kwargs)
        if not 0 <= momentum < 1:
            raise ValueError(f"`momentum` must be in [0, 1). Received: momentum={momentum}")
        if not epsilon > 0:
            raise ValueError(f"`epsilon` must be > 0. Received: epsilon={epsilon}")
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, input_shape: Any) -> None:
        (_, width), (_, num) = (tuple(shape) for shape in input_shape)
        self.gamma = add_uncast(self, "gamma", (width,), "ones")
        self.gammas = add_uncast(self, "scenario_gammas", (num, width), "ones")
        self.beta = add_uncast(self, "beta", (width,), "zeros")
        self.betas = add_uncast(self, "scenario_betas", (num, width), "zeros")
        self.moving_mean = add_statistic(self, "moving_mean", (num, width), "zeros")
        self.moving_variance = add_statistic(self, "moving_variance", (num, width), "ones")
        self.built = True

    def call(self, inputs: list[Tensor], training: bool | None = None) -> Tensor:
        x, scenario = (ops.cast(each, "float32") for each in inputs)
        if training and self.trainable:
            mean, variance = self._of_batch(x, scenario)
        else:
            mean, variance = ops.convert_to_tensor(self.moving_mean), ops.convert_to_tensor(self.moving_variance)
        centred = x - ops.matmul(scenario, mean)
        normalized = centred * ops.rsqrt(ops.matmul(scenario, variance) + self.epsilon)
        y = normalized * (self.gamma * ops.matmul(scenario, ops.convert_to_tensor(self.gammas)))
        return ops.cast(y + (self.beta + ops.matmul(scenario, ops.convert_to_tensor(self.betas))), self.compute_dtype)

    def _of_batch(self, x: Tensor, scenario: Tensor) -> tuple[Tensor, Tensor]:
        """Means and variances of each scenario in this batch, `(P, D)`; takes them into the moving averages."""
        members = ops.transpose(ops.concatenate([ops.ones_like(scenario[:, :1]), scenario[:, 1:]], axis=-1))  # (P, B)
        # The sums of values with, as their last column, that of ones.
        totals = _over_replicas(ops.matmul(members, ops.concatenate([x, ops.ones_like(x[:, :1])], axis=-1)))
        sums, counts = totals[:, :-1], ops.stop_gradient(totals[:, -1:])
        rows = ops.maximum(counts, 1.0)
        mean = sums / rows
        # (P, B, D) would be P copies of the batch: the square is taken apart, around the mean of all rows.
        centre = ops.stop_gradient(mean[:1])
        squares = _over_replicas(ops.matmul(members, ops.square(x - centre))) / rows
        variance = ops.maximum(squares - ops.square(mean - centre), 0.0)
        seen = ops.cast(counts > 0, "float32") * (1 - self.momentum)
        for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(average + seen * (ops.stop_gradient(value) - average))
        return mean, variance

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return tuple(input_shape[0])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum, "epsilon": self.epsilon}


def _over_replicas(values: Tensor) -> Tensor:
    return sum_over_replicas(values) if num_replicas() > 1 else values
