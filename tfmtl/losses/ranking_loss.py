"""What losses have in common that compare the rows of a group."""

from tfmtl.keras_host import ops
from tfmtl.losses.masked_loss import MaskedLoss
from tfmtl.masked_rows import EPSILON, MaskedRows
from tfmtl.typing import TaskKind, Tensor


class RankingLoss(MaskedLoss):
    """Compares the scores of rows that belong to one group, such as the items of one request or of one user.

    Labels come with the groups of their rows, `(B, 1 + K)`: `Task(group="request_id")` makes `tfmtl.read` add them. A score is
    the logit of a binary task's probability, or a regression's value. Rows of a group are compared within a batch, and under
    a strategy within a replica's part of it: batches should hold whole groups. A batch of B rows takes `B * B` numbers.

    Args:
        name: of the loss.
    """

    kind: TaskKind = "binary"
    grouped = True

    @property
    def kinds(self) -> tuple[TaskKind, ...]:
        return ("binary", "regression")

    def scores(self, predictions: Tensor) -> Tensor:
        """What rows are ranked by, `(B,)`."""
        if self.kind == "regression":
            return predictions
        clipped = ops.clip(predictions, EPSILON, 1.0 - EPSILON)
        probabilities = predictions + ops.stop_gradient(clipped - predictions)
        return ops.log(probabilities) - ops.log(1.0 - probabilities)

    def together(self, rows: MaskedRows) -> Tensor:
        """1 where two rows have a label and are of one group, `(B, B)`."""
        groups: Tensor = rows.groups
        same = ops.all(ops.equal(ops.expand_dims(groups, 1), ops.expand_dims(groups, 0)), axis=-1)
        return ops.cast(same, "float32") * ops.expand_dims(rows.valid, 1) * ops.expand_dims(rows.valid, 0)
