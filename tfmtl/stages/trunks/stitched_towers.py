"""What cross-stitch and sluice networks share: one tower a task, mixed after every layer."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from tfmtl.checks import check_dropout, check_option, check_units
from tfmtl.initializers import fresh
from tfmtl.keras_host import keras, ops
from tfmtl.layers.stream_checks import check_streams, task_names
from tfmtl.typing import SHARED, Streams, Tensor

TowerInputs: TypeAlias = Literal["own", "own+shared"]


class StitchedTowers(keras.layers.Layer):
    """Runs one tower for each task side by side; after every layer a stitch mixes what the towers found.

    ```
    h_{t,l} = dropout(activation(z_{t,l-1} W_{t,l} + b_{t,l}))        z_{t,0} = x_t
    z_{.,l} = stitch_l(h_{.,l})                                       the subclass's
    y_t     = z_{t,L}
    ```

    Args:
        units: width of each layer.
        self_weight: what a tower keeps of its own where stitches start; the others share the rest in equal parts.
        inputs: what a tower reads: `"own"`, its task's stream, or `"own+shared"`, the shared stream beside it.
        activation: of every layer.
        dropout: share of a layer's units set to zero in training, before the stitch.
        kernel_initializer: of every kernel; each is drawn for itself.
    """

    reads_own = True
    """Whether a task's output depends on the task's own stream."""

    def __init__(
        self,
        units: Sequence[int],
        *,
        self_weight: float = 0.9,
        inputs: TowerInputs = "own",
        activation: Any = "relu",
        dropout: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.units = check_units("units", units, least=1)
        if not 0 <= self_weight <= 1:
            raise ValueError(f"`self_weight` must be in [0, 1]. Received: self_weight={self_weight}")
        check_option("inputs", inputs, TowerInputs)
        check_dropout(dropout)
        self.self_weight = self_weight
        self.inputs = inputs
        self.activation = keras.activations.get(activation)
        self.dropout = dropout
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.drop = keras.layers.Dropout(dropout, dtype=self.dtype_policy, name="drop")

    @property
    def reads_shared(self) -> bool:
        """Whether towers read the shared stream."""
        return self.inputs == "own+shared"

    def build(self, input_shape: Mapping[str, Any]) -> None:
        self.tasks = task_names(input_shape, needs_shared=self.reads_shared)
        beside = input_shape[SHARED][-1] if self.reads_shared else 0
        widths = {task: input_shape[task][-1] + beside for task in self.tasks}
        self.stitches, self.dense = [], {}
        for depth, units in enumerate(self.units):
            for task in self.tasks:
                dense = keras.layers.Dense(units, **self._dense_options(f"{task}_{depth}"))
                dense.build((None, widths[task]))
                self.dense[dense.name] = dense
            self.stitches.append(self._add_stitch(f"stitch_{depth}", units))
            widths = dict.fromkeys(self.tasks, units)
        self.built = True

    def _dense_options(self, name: str) -> dict[str, Any]:
        return {
            "activation": self.activation,
            "kernel_initializer": fresh(self.kernel_initializer, name),
            "dtype": self.dtype_policy,
            "name": name,
        }

    def _add_stitch(self, name: str, units: int) -> Any:
        """The weights of the stitch behind a layer of `units`."""
        raise NotImplementedError

    def _stitch(self, hidden: list[Tensor], weights: Any) -> list[Tensor]:
        """What every tower passes on: a combination of all towers' layers, each `(B, U)`."""
        raise NotImplementedError

    def _finish(self, layers: list[list[Tensor]]) -> list[Tensor]:
        """The towers' outputs, from what they passed on after every layer."""
        return layers[-1]

    def _near_identity(self, num: int) -> np.ndarray:
        """`(num, num)` with `self_weight` on the diagonal and rows that sum to 1."""
        others = (1 - self.self_weight) / (num - 1) if num > 1 else 0.0
        kept = self.self_weight if num > 1 else 1.0
        return np.full((num, num), others, "float32") + np.eye(num, dtype="float32") * (kept - others)

    def _add_mixture(self, name: str, start: np.ndarray) -> Any:
        """Learned weights of a mixture, which start at `start`."""
        return self.add_weight(name=name, shape=start.shape, initializer=keras.initializers.Constant(start))

    def _mix_parts(self, hidden: list[Tensor], weights: Any, num_parts: int) -> list[Tensor]:
        """`z_p = sum_q a_{p,q} h_q`, where p and q are the parts of all towers' layers.

        One batched matmul, whatever the number of towers. The batch stays the first axis: a transposed one is cheaper by
        nothing and more than LiteRT's converter can follow.

        Args:
            hidden: `(B, U)` for each of T towers.
            weights: `(T G, T G)`, a row for the receiver; the parts of a tower follow each other.
            num_parts: G, into how many parts of equal width a layer falls.
        """
        num, width = len(hidden), hidden[0].shape[-1]
        parts = ops.reshape(ops.stack(hidden, axis=1), (-1, num * num_parts, width // num_parts))  # (B, T G, U / G)
        mixed = ops.matmul(ops.cast(weights, self.compute_dtype), parts)
        return ops.unstack(ops.reshape(mixed, (-1, num, width)), num, axis=1)

    def call(self, streams: Streams, training: bool | None = None) -> Streams:
        check_streams(self, streams)
        towers = self._inputs(streams)
        layers = []
        for depth, weights in enumerate(self.stitches):
            hidden = [self.dense[f"{task}_{depth}"](x) for task, x in zip(self.tasks, towers, strict=True)]
            if self.dropout:
                hidden = [self.drop(h, training=training) for h in hidden]
            towers = self._stitch(hidden, weights)
            layers.append(towers)
        return dict(zip(self.tasks, self._finish(layers), strict=True))

    def _inputs(self, streams: Streams) -> list[Tensor]:
        """What the towers read, one after the other."""
        own = [streams[task] for task in self.tasks]
        return [ops.concatenate([x, streams[SHARED]], axis=-1) for x in own] if self.reads_shared else own

    def compute_output_shape(self, input_shape: Mapping[str, Any]) -> dict[str, tuple[int | None, ...]]:
        tasks = task_names(input_shape, needs_shared=False)
        check_streams(self, input_shape)
        return dict.fromkeys(tasks, (input_shape[tasks[0]][0], self.units[-1]))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": list(self.units),
            "self_weight": self.self_weight,
            "inputs": self.inputs,
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.dropout,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
