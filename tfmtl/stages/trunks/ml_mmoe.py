"""Multi-gate mixture-of-experts of several levels."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfmtl.checks import check_count, check_units
from tfmtl.initializers import PerExpert, fresh
from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.layers.experts import Experts
from tfmtl.layers.fast.weighted_sums import weighted_sums
from tfmtl.layers.gate import Gate
from tfmtl.layers.stream_checks import check_streams, task_names
from tfmtl.typing import SHARED, Mixture, Streams, Tensor


@register_layer
class MLMMoE(keras.layers.Layer):
    """Feeds every expert a mixture of the experts below, chosen by gates that read the raw input.

    ```
    e_i^1 = relu(x K_i^1 + b_i^1)
    e_i^j = relu((sum_l softmax(V_i^j x)_l e_l^{j-1}) K_i^j + b_i^j)        j = 2 .. J, one gate for each upper expert
    y_t   = sum_i softmax(W_t x_t)_i e_i^J                                  x: the shared stream
    ```

    Args:
        units: width of the experts of each level.
        num_experts: experts a level.
        gate_use_bias: whether the tasks' gates have a bias, as in `CGCLayer`; those between the levels have none.
        activation: of the experts.
        dropout: share of an expert's units set to zero in training, at every level.
        kernel_initializer: of the experts; each expert is drawn for itself.
        name: of the layer.

    Input shape:
        `{task: (B, D_task), ..., "shared": (B, D_shared)}`; experts read the shared stream, a task's gate its own.

    Output shape:
        `{task: (B, units[-1])}`.

    Raises:
        ValueError: no level, fewer than 2 experts, `dropout` outside [0, 1), or streams without `"shared"` or without a
            task.

    Example:

    >>> import keras
    >>> from tfmtl.stages import MLMMoE
    >>> x = keras.random.normal((8, 100))
    >>> y = MLMMoE((64, 32), num_experts=4)({"click": x, "buy": x, "shared": x})
    >>> tuple(y["buy"].shape)
    (8, 32)

    Reference:
        Tang et al., "Progressive Layered Extraction (PLE)", RecSys 2020, section 5.1.2, which does not say how an upper
        level's experts choose; one gate for each of them is the choice of the AdaTT authors' code.
    """

    reads_own = False
    reads_shared = True

    def __init__(
        self,
        units: Sequence[int] = (256, 128),
        *,
        num_experts: int = 8,
        gate_use_bias: bool = False,
        activation: Any = "relu",
        dropout: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        name: str = "trunk",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        self.units = check_units("units", units, least=1)
        self.num_experts = check_count("num_experts", num_experts, least=2)
        self.gate_use_bias = gate_use_bias
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.first = Experts(
            self.num_experts,
            self.units[0],
            activation=activation,
            dropout=dropout,
            kernel_initializer=kernel_initializer,
            dtype=self.dtype_policy,
            name="level_0",
        )
        self.drop = keras.layers.Dropout(dropout, dtype=self.dtype_policy, name="drop") if dropout else None

    def build(self, input_shape: Mapping[str, Any]) -> None:
        self.tasks = task_names(input_shape, needs_shared=True)
        self.first.build(input_shape[SHARED])
        n, wide = self.num_experts, input_shape[SHARED][-1]
        self.choices, self.kernels, self.biases = [], [], []
        for level, (below, width) in enumerate(zip(self.units, self.units[1:], strict=False), 1):
            self.choices.append(
                self.add_weight(name=f"choice_{level}", shape=(wide, n * n), initializer=PerExpert("glorot_uniform", n))
            )
            drawn = PerExpert(fresh(self.kernel_initializer, level), n)
            self.kernels.append(self.add_weight(name=f"kernel_{level}", shape=(n, below, width), initializer=drawn))
            self.biases.append(self.add_weight(name=f"bias_{level}", shape=(n, width), initializer="zeros"))
        self.mixers = {
            task: Gate(n, use_bias=self.gate_use_bias, dtype=self.dtype_policy, name=f"{task}_gate")
            for task in self.tasks
        }
        for task, gate in self.mixers.items():
            gate.build(input_shape[task])
        self.built = True

    def call(self, streams: Streams, training: bool | None = None) -> Streams:
        check_streams(self, streams)
        experts = self._levels(streams[SHARED], training)[-1]
        return weighted_sums(self.gates(streams), experts, training)

    def _levels(self, x: Tensor, training: bool | None) -> list[Tensor]:
        """The experts of every level, `(B, E, U)`."""
        experts = [self.first(x, training=training)]
        for level in range(len(self.kernels)):
            experts.append(self._climb(level, x, experts[-1], training))
        return experts

    def mixtures(self, streams: Streams) -> list[Mixture]:
        """What the experts of each level give, and the tasks' gates, which read the last (`tfmtl.typing.MixesExperts`)."""
        *below, last = self._levels(streams[SHARED], training=False)
        gates = self.gates(streams)
        lower = [Mixture(f"{self.name}/level_{level}", {SHARED: each}, {}, {}) for level, each in enumerate(below)]
        return [
            *lower,
            Mixture(f"{self.name}/level_{len(below)}", {SHARED: last}, gates, dict.fromkeys(gates, (SHARED,))),
        ]

    def gates(self, streams: Streams) -> Streams:
        """The mixing weights `{task: (B, E)}` of the last level's experts."""
        return {task: gate(streams[task]) for task, gate in self.mixers.items()}

    def _climb(self, level: int, x: Tensor, experts: Tensor, training: bool | None) -> Tensor:
        """The experts of the next level, `(B, E, V)`."""
        dtype, n = self.compute_dtype, self.num_experts
        logits = ops.reshape(ops.matmul(x, ops.cast(self.choices[level], dtype)), (-1, n, n))
        weights = ops.cast(ops.softmax(ops.cast(logits, "float32"), axis=-1), dtype)
        mixed = ops.transpose(ops.matmul(weights, experts), (1, 0, 2))  # (E, B, U)
        h = ops.matmul(mixed, ops.cast(self.kernels[level], dtype)) + ops.cast(self.biases[level], dtype)[:, None, :]
        h = ops.transpose(self.activation(h), (1, 0, 2))
        return h if self.drop is None else self.drop(h, training=training)

    def compute_output_shape(self, input_shape: Mapping[str, Any]) -> dict[str, tuple[int | None, ...]]:
        tasks = task_names(input_shape, needs_shared=True)
        check_streams(self, input_shape)
        return dict.fromkeys(tasks, (input_shape[SHARED][0], self.units[-1]))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": list(self.units),
            "num_experts": self.num_experts,
            "gate_use_bias": self.gate_use_bias,
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.first.dropout,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
