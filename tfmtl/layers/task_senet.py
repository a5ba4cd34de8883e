"""Task-specific squeeze-and-excitation over feature fields."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from tfmtl.checks import check_count, check_names, check_option
from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.typing import Tensor

Squeeze: TypeAlias = Literal["none", "mean"]
Granularity: TypeAlias = Literal["field", "element"]
Excitation: TypeAlias = Literal["sigmoid", "2*sigmoid"]


@register_layer
class TaskSENet(keras.layers.Layer):
    """Re-weights every feature field, each task in its own way.

    Each task owns a small MLP that reads all of the task's fields and gives one importance in (0, 1) to each:

    ```
    a_t = sigmoid(relu(q_t W1_t) W2_t)        (B, F)        q_t = flatten(x_t), (B, F D)
    y_t = x_t * a_t[:, :, None]               (B, F, D)
    ```

    Task t's importances learn from task t's loss only.

    Args:
        tasks: names of the tasks, the keys of the input and of the output.
        reduction: fields per hidden unit; the hidden layer has `max(1, F // reduction)` units.
        squeeze: what the MLP reads: `"none"`, all of every field, or `"mean"`, each field's mean, as in the first SENet.
        granularity: `"field"`, one importance for a field, or `"element"`, one for each of its D entries.
        activation: of the importances: `"sigmoid"`, or `"2*sigmoid"`, in (0, 2), which starts near the identity.
        share_across_tasks: one MLP for all tasks, an ablation; each task's importances then learn from every loss.

    Input shape:
        `{task: (B, F, D)}`, one entry for each task. F and D may differ by task unless the MLP is shared.

    Output shape:
        Same as the input.

    Raises:
        ValueError: no task, a task given twice, `reduction < 1`, an unknown option, an input that lacks a task or holds
            another, fields that are not `(B, F, D)` with F and D known, or tasks of several shapes under one MLP.

    Example:

    >>> import keras
    >>> from tfmtl.layers import TaskSENet
    >>> x = keras.random.normal((8, 5, 4))
    >>> y = TaskSENet(["click", "buy"])({"click": x, "buy": x})
    >>> tuple(y["buy"].shape)
    (8, 5, 4)

    Reference:
        Liu et al., "Deep Task-specific Bottom Representation Network for Multi-Task Recommendation", CIKM 2023,
        arXiv:2308.05996 (the TRM module). Established: one network for each task, which reads the embeddings and
        multiplies them by importances. The paper leaves squeeze, granularity and activation open: the defaults are our
        choice. The missing biases and `reduction=3` follow FiBiNET (Huang et al., RecSys 2019) in FuxiCTR's code.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        reduction: int = 3,
        *,
        squeeze: Squeeze = "none",
        granularity: Granularity = "field",
        activation: Excitation = "sigmoid",
        share_across_tasks: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.tasks = check_names("tasks", tasks)
        check_option("squeeze", squeeze, Squeeze)
        check_option("granularity", granularity, Granularity)
        check_option("activation", activation, Excitation)
        self.reduction = check_count("reduction", reduction)
        self.squeeze = squeeze
        self.granularity = granularity
        self.activation = activation
        self.share_across_tasks = share_across_tasks

    def build(self, input_shape: Mapping[str, Any]) -> None:
        if not isinstance(input_shape, Mapping) or set(input_shape) != set(self.tasks):
            received = sorted(input_shape) if isinstance(input_shape, Mapping) else "a tensor"
            raise ValueError(f"The input must be a dict with the keys {sorted(self.tasks)}. Received: {received}")
        shapes = {task: tuple(input_shape[task]) for task in self.tasks}
        if any(len(shape) != 3 or None in shape[1:] for shape in shapes.values()):
            raise ValueError(f"Fields must be (B, F, D), F and D known. Received: shapes={shapes}")
        if self.share_across_tasks and len({shape[1:] for shape in shapes.values()}) > 1:
            raise ValueError(f"`share_across_tasks` needs tasks of one shape. Received: shapes={shapes}")
        self.networks = {}
        for task in self.tasks[:1] if self.share_across_tasks else self.tasks:
            _, fields, width = shapes[task]
            hidden = max(1, fields // self.reduction)
            read = fields if self.squeeze == "mean" else fields * width
            written = fields if self.granularity == "field" else fields * width
            prefix = "" if self.share_across_tasks else f"{task}_"
            self.networks[task] = (
                self.add_weight(name=f"{prefix}squeeze", shape=(read, hidden), initializer="glorot_uniform"),
                self.add_weight(name=f"{prefix}excite", shape=(hidden, written), initializer="glorot_uniform"),
            )
        self.built = True

    def call(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {task: inputs[task] * self.importance(inputs, task) for task in self.tasks}

    def importance(self, inputs: Mapping[str, Tensor], task: str) -> Tensor:
        """The weights that `task` gives to its fields, `(B, F, 1)`, or to their elements, `(B, F, D)`."""
        if task not in self.tasks:
            raise ValueError(f"Unknown task. Received: task={task!r}; known: {sorted(self.tasks)}")
        squeeze, excite = self.networks[self.tasks[0] if self.share_across_tasks else task]
        fields = ops.cast(inputs[task], self.compute_dtype)  # (B, F, D)
        _, num, width = fields.shape
        flat = ops.mean(fields, axis=-1) if self.squeeze == "mean" else ops.reshape(fields, (-1, num * width))
        hidden = ops.relu(ops.matmul(flat, ops.cast(squeeze, flat.dtype)))
        logits = ops.matmul(hidden, ops.cast(excite, flat.dtype))
        # In float32 under every policy: a float16 sigmoid saturates.
        importance = ops.sigmoid(ops.cast(logits, "float32")) * (2.0 if self.activation == "2*sigmoid" else 1.0)
        return ops.cast(ops.reshape(importance, (-1, num, 1 if self.granularity == "field" else width)), fields.dtype)

    def compute_output_shape(self, input_shape: Mapping[str, Any]) -> dict[str, tuple[int | None, ...]]:
        return {task: tuple(input_shape[task]) for task in self.tasks}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "tasks": list(self.tasks),
            "reduction": self.reduction,
            "squeeze": self.squeeze,
            "granularity": self.granularity,
            "activation": self.activation,
            "share_across_tasks": self.share_across_tasks,
        }
