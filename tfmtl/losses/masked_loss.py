"""The mean of a loss over the rows that count, wherever in the global batch they lie."""

from typing import Any

from tfmtl.cross_replica import share_of_mean
from tfmtl.keras_host import keras, ops
from tfmtl.label_checks import LabelRule
from tfmtl.masked_rows import MaskedRows, mask, mask_table
from tfmtl.outputs import Output, output_of_kind
from tfmtl.task_tables import Columns, from_table, key_of
from tfmtl.typing import TaskKind, Tensor


class MaskedLoss(keras.losses.Loss):
    """Averages `row_losses` over the valid rows of the global batch.

    ```
    L = sum_i valid_i * weight_i * loss(y_i, p_i) / sum_i valid_i        valid_i = label i is not NaN
    ```

    Both sums run over all replicas. Each replica returns a share of `L`; the shares add up to `L`, and so do their
    gradients: the result is that of one device, however the labels fall on the replicas. (Keras calls this the
    reduction "sum": it adds the replicas' losses and scales nothing.) Without a valid row `L` is 0.

    `sample_weight` scales a row's loss and not the count, as in Keras.

    A loss of your own says what one row costs: a subclass gives `row_losses`, and `kind` where its labels are 0 and 1.
    The rest, missing labels, replicas, wrong labels, is done here. `docs/losses.md` has an example. One that is to read
    something else than what a task of its kind predicts names its `output`; `Task(loss=...)` makes the towers by it.

    Args:
        name: of the loss, and what an error calls it: `objectives` gives it the name of the task.

    Raises:
        ValueError: labels or predictions of other columns than the loss reads, a label that is not of the loss's `kind`, a sample
            weight that is negative or not finite. In a compiled step TensorFlow and JAX wrap the sentence in an error of
            their own; under XLA, `jit_compile=True`, which knows no errors, the loss becomes NaN.
    """

    kind: TaskKind = "regression"
    """The kind of the task; labels are 0 and 1 (`"binary"`), any finite value (`"regression"`) or the index of a class."""

    output: Output | None = None
    """What it reads; None is what a task of its kind predicts."""

    num_classes: int | None = None
    """Of a multiclass task."""

    grouped: bool = False
    """Whether it compares rows within groups, whose numbers then stand beside the labels."""

    elementwise: bool = False
    """Whether `row_losses` takes each label and prediction by itself, whatever their shape, and all that it goes by is in the config.
    The step of a model that `build` made then computes all tasks whose losses are of one class and one config at once. A
    subclass has to say it anew."""

    def __init__(self, name: str):
        super().__init__(name=name, reduction="sum")

    @property
    def kinds(self) -> tuple[TaskKind, ...]:
        """The kinds of tasks that it is a loss for: one that reads any value reads a probability too."""
        return ("regression", "binary") if self.kind == "regression" and self.output is None else (self.kind,)

    @property
    def label_rule(self) -> LabelRule:
        """What labels can be."""
        return LabelRule(self.kind, self.num_classes or 0)

    @property
    def width(self) -> int:
        """Columns of a prediction."""
        return (self.output or output_of_kind(self.kind, self.num_classes)).width

    def for_task(self, kind: TaskKind, num_classes: int | None = None, name: str | None = None) -> "MaskedLoss":
        """The same loss of a task of that kind.

        Raises:
            ValueError: it is no loss of such a task.
        """
        if kind not in self.kinds or self.num_classes not in (None, num_classes):
            of = f"tasks of kind {' or '.join(self.kinds)}"
            raise ValueError(
                f"`loss` must be one for the task: {type(self).__name__} is of "
                f"{of if self.num_classes is None else f'{self.num_classes} classes'}. "
                f"Received: kind={kind!r}, num_classes={num_classes}"
            )
        # `copy.copy` would send a Keras object through its config, and lose what a subclass leaves out of it.
        bound = object.__new__(type(self))
        bound.__dict__.update(self.__dict__)
        bound.kind, bound.num_classes, bound.name = kind, num_classes, name or self.name
        return bound

    def row_losses(self, labels: Tensor, predictions: Tensor) -> Tensor:
        """The loss of every row, `(B,)`. Labels are never NaN here: a row without one has label 0 and prediction 0.5."""
        raise NotImplementedError

    def costs(self, rows: MaskedRows) -> tuple[Tensor, Tensor]:
        """What each row adds to the sum that is divided, and to what it is divided by, `(B,)` each."""
        return rows.weights * self.row_losses(rows.labels, rows.predictions), rows.valid

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        value = from_table(self, Columns(y_true, y_pred, sample_weight))
        if value is not None:
            return value
        losses, counts = self.costs(self._rows(y_true, y_pred, sample_weight))
        return share_of_mean(ops.sum(losses), ops.sum(counts))

    @property
    def table_key(self) -> str | None:
        """Equal for two losses that one call can stand for; None where it is computed by itself."""
        return key_of(self, ("row_losses", "costs")) if self.width == 1 and not self.grouped else None

    @property
    def label_name(self) -> str:
        """What errors call the labels."""
        return self.name

    def of_table(self, table: Columns, names: tuple[str, ...]) -> Tensor:
        """The loss of every task, `(T,)`, given tables, `(T, B)`, of labels, predictions and maybe weights."""
        losses, counts = self.costs(mask_table(*table, rule=self.label_rule, of=names))
        return share_of_mean(ops.sum(losses, axis=-1), ops.sum(counts, axis=-1))

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss of every row, `(B,)`, 0 where the label is missing."""
        return self.costs(self._rows(y_true, y_pred))[0]

    def _rows(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> MaskedRows:
        return mask(
            y_true,
            y_pred,
            sample_weight,
            rule=self.label_rule,
            of=self.name,
            width=self.width,
            grouped=self.grouped,
        )

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}
