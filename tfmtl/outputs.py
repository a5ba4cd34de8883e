"""What the prediction of a task holds: one number, the probabilities of classes, or the parameters of a distribution."""

from typing import Any, NamedTuple

from tfmtl.typing import OutputForm, TaskKind


class Output(NamedTuple):
    """The columns of a prediction, `(B, width)`.

    A loss is computed from the prediction itself, so a prediction holds all that its loss reads, in a form from which the
    loss is computed without a loss of digits:

    | form | columns |
    |---|---|
    | `probability` | the probability of a binary task |
    | `value` | any number |
    | `positive` | a number above 0: a mean count, an amount, the odds of a watched second |
    | `classes`, `ordered` | the probabilities of `width` classes, which sum to 1 |
    | `quantiles` | `width` quantiles, from the lowest to the highest |
    | `zero_inflated` | the mean, the probability that the value is above 0, the deviation of its logarithm where it is |

    Args:
        form: one of these.
        width: columns.
        point: the column that stands for the whole where one number is asked for (RMSE, a score); of classes there is none.
        served: how many columns, from the first, an export hands out; None is all.
    """

    form: OutputForm
    width: int = 1
    point: int | None = 0
    served: int | None = None

    @classmethod
    def from_config(cls, config: Any) -> "Output":
        """The output that a layer's config holds, which JSON made a list of."""
        return cls(*config)


PROBABILITY, VALUE, POSITIVE = Output("probability"), Output("value"), Output("positive")
ZERO_INFLATED = Output("zero_inflated", 3, served=1)


def output_of_kind(kind: TaskKind, num_classes: int | None = None, *, ordered: bool = False) -> Output:
    """The output of a task whose loss asks for nothing else."""
    if kind == "multiclass":
        return Output("ordered" if ordered else "classes", num_classes or 0, point=None)
    return PROBABILITY if kind == "binary" else VALUE
