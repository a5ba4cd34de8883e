"""Adaptive task-to-task fusion: every task reads all experts, and keeps a way of its own to those that it owns."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tfmtl.checks import check_count
from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.layers.cgc_layer import CGCLayer
from tfmtl.layers.fast.weighted_sums import weighted_sums
from tfmtl.layers.stream_checks import check_streams
from tfmtl.typing import Streams, Tensor


@register_layer
class AdaTTLayer(CGCLayer):
    """Mixes the experts of all tasks in each task's own way, and adds what the task's own experts say.

    ```
    E_k = [E_{k,1}(x_k); ...; E_{k,m_k}(x_k)]           the experts of a task k, or of "shared": (B, m_k, U)
    E   = [E_1; ...; E_K; E_shared]                     everybody's
    w_k = softmax(W_k x_k)                              a weight for each of them, row by row
    y_k = w_k E + v_k E_k                               v_k: (m_k,), learned, the same for all rows; 1 where m_k is 1
    ```

    The second term is a residual: a task's experts learn from its loss however little its gate gives them.

    Args:
        units: width of an expert, or the widths of its layers.
        num_task_experts: experts that each task owns, one or more.
        num_shared_experts: experts that belong to no task; 0 is the paper's AdaTT-sp.
        gate_units: hidden layers of the gates; the paper has none.
        gate_use_bias: whether gates have a bias; the paper's formula has none, the authors' code has one.
        update_shared: whether to return the shared stream. The last level has no reader for it and leaves it out.
        activation: of the experts.
        dropout: share of an expert's units set to zero in training.
        kernel_initializer: of the experts; each expert is drawn for itself.

    Input shape:
        `{task: (B, D_task), ..., "shared": (B, D_shared)}`. `"shared"` may be left out if nothing reads it.

    Output shape:
        `{task: (B, units[-1]), ...}`, with `"shared"` if `update_shared`.

    Raises:
        ValueError: no expert of a task's own, a shared stream without shared experts, or what `CGCLayer` refuses.

    Example:

    >>> import keras
    >>> from tfmtl.layers import AdaTTLayer
    >>> x = keras.random.normal((8, 100))
    >>> y = AdaTTLayer(32, num_shared_experts=2)({"click": x, "buy": x, "shared": x})
    >>> {name: tuple(stream.shape) for name, stream in sorted(y.items())}
    {'buy': (8, 32), 'click': (8, 32), 'shared': (8, 32)}

    Reference:
        Li et al., "AdaTT: Adaptive Task-to-Task Fusion Network for Multitask Learning in Recommendations", KDD 2023,
        arXiv:2304.04959, equations 3 to 7. `v_k` starts as in the authors' code, uniform within `sqrt(1 / m_k)` of 0. Their
        code learns `v_k` of a single expert too where another task has several; here it is 1, as in the paper.
    """

    def __init__(
        self,
        units: int | Sequence[int],
        *,
        num_task_experts: int = 1,
        num_shared_experts: int = 0,
        gate_units: Sequence[int] = (),
        gate_use_bias: bool = False,
        update_shared: bool | None = None,
        activation: Any = "relu",
        dropout: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(
            units,
            num_task_experts=check_count("num_task_experts", num_task_experts),
            num_shared_experts=num_shared_experts,
            gate_units=gate_units,
            gate_use_bias=gate_use_bias,
            cross_task="full",
            update_shared=num_shared_experts > 0 if update_shared is None else update_shared,
            activation=activation,
            dropout=dropout,
            kernel_initializer=kernel_initializer,
            **kwargs,
        )
        if self.update_shared and not self.num_shared_experts:
            raise ValueError("The shared stream needs shared experts. Received: num_shared_experts=0")

    def build(self, input_shape: Mapping[str, Any]) -> None:
        super().build(input_shape)
        self.native = {}
        for stream in self._readers():
            num = self.experts[stream].num
            if num > 1:
                bound = math.sqrt(1 / num)
                self.native[stream] = self.add_weight(
                    name=f"{stream}_native",
                    shape=(num,),
                    initializer=keras.initializers.RandomUniform(-bound, bound),
                )
        self.built = True

    def call(self, streams: Streams, training: bool | None = None) -> Streams:
        check_streams(self, streams)
        blocks = [layer(streams[source], training=training) for source, layer in self.experts.items()]
        experts = ops.concatenate(blocks, axis=1)  # E: (B, m, U)
        gates = self.gates(streams)
        weights = {}
        for stream in self._readers():  # w_k and v_k weigh the same experts, so they are added first
            gate = gates[stream] if stream in gates else ops.ones_like(experts[:, :, 0])
            weights[stream] = gate + self._native(stream, gate.dtype)
        return weighted_sums(weights, experts, training)

    def _native(self, stream: str, dtype: Any) -> Tensor:
        """`v_k` among zeros for the experts of others, `(m,)`."""
        parts = []
        for source, layer in self.experts.items():
            if source != stream:
                parts.append(ops.zeros((layer.num,), dtype))
            elif stream in self.native:
                parts.append(ops.cast(self.native[stream], dtype))
            else:
                parts.append(ops.ones((1,), dtype))
        return ops.concatenate(parts, axis=0)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for fixed in ("gate_input", "cross_task", "shared_stream_stop_specific"):
            del config[fixed]
        return config
