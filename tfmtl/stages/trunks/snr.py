"""Sub-network routing."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfmtl.checks import check_count, check_option, check_units
from tfmtl.initializers import fresh
from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.layers.experts import Experts
from tfmtl.layers.stream_checks import check_streams, task_names
from tfmtl.layers.subnetwork_routing import Connection, SubnetworkRouting
from tfmtl.typing import SHARED, Streams, Tensor


@register_layer
class SNR(keras.layers.Layer):
    """Lets tasks share levels of small sub-networks, along connections that learn whether they are there.

    ```
    e^1   = Experts(x_shared)                               the sub-networks of the first level
    e^l   = SubnetworkRouting_l(e^{l-1})                    l = 2 .. L
    y     = SubnetworkRouting(e^L)                          a linear one, with a row for each task
    ```

    A connection that is closed in all tasks' ways may be left out of a served model; this one keeps it, as a factor of 0.

    Args:
        units: width of the sub-networks of each level.
        num_subnetworks: how many a level has.
        connection: `"transform"` (SNR-Trans), a matrix for each connection, or `"average"` (SNR-Aver), a weight alone.
        sparsity: factor of the expected number of open connections, of every level; 0 leaves it out.
        temperature: of the distribution that connections are drawn from.
        activation: of the sub-networks.
        dropout: share of a sub-network's units set to zero in training.
        kernel_initializer: of the sub-networks; each is drawn for itself.
        name: of the layer.

    Input shape:
        `{task: (B, D_task), ..., "shared": (B, D_shared)}`; the shared stream is read.

    Output shape:
        `{task: (B, units[-1])}`.

    Raises:
        ValueError: no level, `dropout` outside [0, 1), streams without `"shared"` or without a task, or what
            `SubnetworkRouting` refuses.

    Example:

    >>> import keras
    >>> from tfmtl.stages import SNR
    >>> x = keras.random.normal((8, 100))
    >>> y = SNR((64, 32), num_subnetworks=3)({"click": x, "buy": x, "shared": x})
    >>> tuple(y["buy"].shape)
    (8, 32)

    Reference:
        Ma et al., "SNR: Sub-Network Routing for Flexible Parameter Sharing in Multi-Task Learning", AAAI 2019; see
        `SubnetworkRouting`.
    """

    reads_own = False
    reads_shared = True

    def __init__(
        self,
        units: Sequence[int] = (256, 128),
        *,
        num_subnetworks: int = 4,
        connection: Connection = "transform",
        sparsity: float = 1e-4,
        temperature: float = 2 / 3,
        activation: Any = "relu",
        dropout: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        name: str = "trunk",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        self.units = check_units("units", units, least=1)
        self.num_subnetworks = check_count("num_subnetworks", num_subnetworks)
        check_option("connection", connection, Connection)
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.routing: dict[str, Any] = {"connection": connection, "sparsity": sparsity, "temperature": temperature}
        self.first = Experts(
            self.num_subnetworks,
            self.units[0],
            activation=activation,
            dropout=dropout,
            kernel_initializer=kernel_initializer,
            dtype=self.dtype_policy,
            name="level_0",
        )
        self.levels = [
            SubnetworkRouting(
                self.num_subnetworks,
                width,
                activation=self.activation,
                kernel_initializer=fresh(self.kernel_initializer, level),
                dtype=self.dtype_policy,
                name=f"level_{level}",
                **self.routing,
            )
            for level, width in enumerate(self.units[1:], 1)
        ]
        self.drop = keras.layers.Dropout(dropout, dtype=self.dtype_policy, name="drop")

    def build(self, input_shape: Mapping[str, Any]) -> None:
        self.tasks = task_names(input_shape, needs_shared=True)
        self.first.build(input_shape[SHARED])
        shape: Any = self.first.compute_output_shape(input_shape[SHARED])
        for level in self.levels:
            level.build(shape)
            shape = level.compute_output_shape(shape)
        self.to_tasks = SubnetworkRouting(
            len(self.tasks),
            self.units[-1] if self.routing["connection"] == "transform" else None,
            activation=None,
            kernel_initializer=fresh(self.kernel_initializer, "tasks"),
            dtype=self.dtype_policy,
            name="to_tasks",
            **self.routing,
        )
        self.to_tasks.build(shape)
        self.built = True

    def call(self, streams: Streams, training: bool | None = None) -> Streams:
        check_streams(self, streams)
        subnetworks = self.first(streams[SHARED], training=training)  # (B, J, U)
        for level in self.levels:
            subnetworks = self.drop(level(subnetworks, training=training), training=training)
        outputs = self.to_tasks(subnetworks, training=training)
        return dict(zip(self.tasks, ops.unstack(outputs, len(self.tasks), axis=1), strict=True))

    def connections(self) -> list[Tensor]:
        """What inference weighs connections with, `(I, J)` for each level after the first and, last, for the tasks."""
        return [level.connections() for level in (*self.levels, self.to_tasks)]

    def compute_output_shape(self, input_shape: Mapping[str, Any]) -> dict[str, tuple[int | None, ...]]:
        tasks = task_names(input_shape, needs_shared=True)
        check_streams(self, input_shape)
        return dict.fromkeys(tasks, (input_shape[SHARED][0], self.units[-1]))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": list(self.units),
            "num_subnetworks": self.num_subnetworks,
            **self.routing,
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.drop.rate,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
