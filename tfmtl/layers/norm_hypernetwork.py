"""The network that writes another network's layer normalisations."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from tfmtl.checks import check_count, check_option, check_units
from tfmtl.keras_host import add_uncast, keras, ops, register_layer
from tfmtl.layers.mlp import MLP
from tfmtl.typing import Tensor

Condition: TypeAlias = Literal["task+behavior", "task", "behavior", "none"]

GAMMA, BETA = 0, 1
"""Where a norm's scale and shift lie on the last axis but one."""

_COLUMN = {"task": 0, "behavior": 1}
"""Where a pair holds the number of its task, and of its behaviour."""


@register_layer
class NormHypernetwork(keras.layers.Layer):
    """Turns a task and a behaviour into gamma and beta of every layer normalisation of a transformer.

    ```
    u     = MLP([task_t ; behavior_s])            two learned embeddings
    gamma = 1 + u G + g
    beta  =     u H + h
    ```

    `G, g, H, h` start at zero, so a fresh hypernetwork writes plain layer normalisations for every pair. Float32 under
    every policy: it is tiny, and the small differences between pairs would drown in bfloat16.

    Args:
        num_tasks: tasks.
        num_behaviors: behaviours.
        num_norms: layer normalisations to write.
        width: of a layer normalisation.
        condition_on: what is read: `"task+behavior"`, `"task"`, `"behavior"`, or `"none"`: one gamma and beta for all.
        condition_dim: width of an embedding.
        units: hidden layers.

    Input shape:
        `(P, 2)` integers, a task and a behaviour in each row.

    Output shape:
        `(P, num_norms, 2, width)` float32, gamma first.

    Raises:
        ValueError: an unknown condition, or a count or width below 1.

    Example:

    >>> import keras
    >>> from tfmtl.layers import NormHypernetwork
    >>> network = NormHypernetwork(num_tasks=2, num_behaviors=3, num_norms=2, width=16)
    >>> tuple(network(keras.ops.convert_to_tensor([[0, 0], [0, 2], [1, 2]])).shape)
    (3, 2, 2, 16)

    Reference:
        Liu et al. (DTRN), CIKM 2023, arXiv:2308.05996. The paper names the two inputs and the output; the hidden layer
        and the plain start are our choices.
    """

    def __init__(
        self,
        *,
        num_tasks: int,
        num_behaviors: int,
        num_norms: int,
        width: int,
        condition_on: Condition = "task+behavior",
        condition_dim: int = 16,
        units: Sequence[int] = (64,),
        **kwargs: Any,
    ):
        super().__init__(**{**kwargs, "dtype": "float32"})
        check_option("condition_on", condition_on, Condition)
        counts = {"num_tasks": num_tasks, "num_behaviors": num_behaviors, "num_norms": num_norms, "width": width}
        self.counts = {name: check_count(name, count) for name, count in counts.items()}
        self.condition_on = condition_on
        self.condition_dim = check_count("condition_dim", condition_dim)
        self.units = check_units("units", units)
        self.hidden = MLP(self.units, dtype="float32", name="hidden")
        emitted = self.counts["num_norms"] * 2 * self.counts["width"]
        self.emit = keras.layers.Dense(emitted, kernel_initializer="zeros", dtype="float32", name="emit")

    @property
    def reads_task(self) -> bool:
        """Whether tasks can differ."""
        return "task" in self.condition_on

    @property
    def reads_behavior(self) -> bool:
        """Whether behaviours can differ."""
        return "behavior" in self.condition_on

    def build(self, input_shape: Any) -> None:
        self.embeddings: dict[str, Any] = {}
        if self.condition_on == "none":
            self.plain = add_uncast(self, "norms", (self.counts["num_norms"], 2, self.counts["width"]), "zeros")
        else:
            if self.reads_task:
                self.embeddings["task"] = self._embedding("task", self.counts["num_tasks"])
            if self.reads_behavior:
                self.embeddings["behavior"] = self._embedding("behavior", self.counts["num_behaviors"])
            shape = (None, self.condition_dim * len(self.embeddings))
            self.hidden.build(shape)
            self.emit.build(self.hidden.compute_output_shape(shape))
        self.built = True

    def _embedding(self, kind: str, rows: int) -> Any:
        # Unit variance, as one-hot inputs would have: tasks and behaviours are told apart from the first step on.
        normal = keras.initializers.RandomNormal(stddev=1.0)
        return add_uncast(self, f"{kind}_embedding", (rows, self.condition_dim), normal)

    def call(self, pairs: Tensor) -> Tensor:
        plain = ops.convert_to_tensor([[1.0], [0.0]], dtype="float32")
        if self.condition_on == "none":
            shape = (ops.shape(pairs)[0], *self.plain.shape)
            return ops.broadcast_to(ops.convert_to_tensor(self.plain) + plain, shape)
        # By a product, since all rows are read: XLA fails on the sparse gradient that constant ids would give.
        read = [
            ops.matmul(ops.one_hot(pairs[:, _COLUMN[kind]], embedding.shape[0], dtype="float32"), embedding)
            for kind, embedding in self.embeddings.items()
        ]
        written = self.emit(self.hidden(ops.concatenate(read, axis=-1)))
        return ops.reshape(written, (-1, self.counts["num_norms"], 2, self.counts["width"])) + plain

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (input_shape[0], self.counts["num_norms"], 2, self.counts["width"])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            **self.counts,
            "condition_on": self.condition_on,
            "condition_dim": self.condition_dim,
            "units": list(self.units),
        }
