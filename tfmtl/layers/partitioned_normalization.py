"""Batch normalisation with the statistics of each scenario."""

from typing import Any

from tfmtl.keras_host import add_uncast, ops, register_layer
from tfmtl.layers.moving_moments import MOMENTUM, MovingMoments, global_sum
from tfmtl.typing import Tensor


@register_layer
class PartitionedNormalization(MovingMoments):
    """Normalises a row by the mean and variance of the rows of its scenario.

    ```
    y = (g * g_p) (x - m_p) / sqrt(v_p + epsilon) + (b + b_p)          p: the scenario of the row
    ```

    In training `m_p` and `v_p` are those of the scenario's rows in the global batch, over all replicas. Inference takes moving
    averages of them, kept as `GlobalBatchNormalization` says: weighted by rows, so that a batch with two rows of a scenario
    counts little, and a batch without one leaves its averages as they are. Scenario 0, the rows of unknown ids, is normalised
    by the statistics of all rows: it need not occur in training.

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
        several. What unknown scenarios take and how averages are kept are our choices; `epsilon` is Keras's.
    """

    def __init__(self, *, momentum: float = MOMENTUM, epsilon: float = 1e-3, **kwargs: Any):
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)

    def build(self, input_shape: Any) -> None:
        (_, width), (_, num) = (tuple(shape) for shape in input_shape)
        self.gamma = add_uncast(self, "gamma", (width,), "ones")
        self.gammas = add_uncast(self, "scenario_gammas", (num, width), "ones")
        self.beta = add_uncast(self, "beta", (width,), "zeros")
        self.betas = add_uncast(self, "scenario_betas", (num, width), "zeros")
        self.add_averages((num, width))
        self.built = True

    def call(self, inputs: list[Tensor], training: bool | None = None) -> Tensor:
        x, scenario = (ops.cast(each, "float32") for each in inputs)
        if training and self.trainable:
            mean, variance = self._of_batch(x, scenario)
        else:
            mean, variance = self.averages()
        centred = x - ops.matmul(scenario, mean)
        normalized = centred * ops.rsqrt(ops.matmul(scenario, variance) + self.epsilon)
        y = normalized * (self.gamma * ops.matmul(scenario, ops.convert_to_tensor(self.gammas)))
        return ops.cast(y + (self.beta + ops.matmul(scenario, ops.convert_to_tensor(self.betas))), self.compute_dtype)

    def _of_batch(self, x: Tensor, scenario: Tensor) -> tuple[Tensor, Tensor]:
        """Means and variances of each scenario in this batch, `(P, D)`; takes them into the moving averages."""
        members = ops.transpose(ops.concatenate([ops.ones_like(scenario[:, :1]), scenario[:, 1:]], axis=-1))  # (P, B)
        # The sums of values with, as their last column, that of ones.
        totals = global_sum(ops.matmul(members, ops.concatenate([x, ops.ones_like(x[:, :1])], axis=-1)))
        sums, counts = totals[:, :-1], ops.stop_gradient(totals[:, -1:])
        rows = ops.maximum(counts, 1.0)
        mean = sums / rows
        # (P, B, D) would be P copies of the batch: the square is taken apart, around the mean of all rows.
        centre = ops.stop_gradient(mean[:1])
        squares = global_sum(ops.matmul(members, ops.square(x - centre))) / rows
        variance = ops.maximum(squares - ops.square(mean - centre), 0.0)
        self.take_in(mean, variance, counts)
        return mean, variance

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return tuple(input_shape[0])
