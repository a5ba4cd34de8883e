"""What an export hands out where that is not all that the model predicts."""

from collections.abc import Mapping
from typing import Any

from tfmtl.keras_host import inputs_by_name, keras, ops
from tfmtl.schema import Schema
from tfmtl.typing import Predictions


class ServedOutputs(keras.layers.Layer):
    """Cuts predictions to the columns that are served, and corrects probabilities for negatives that training left out.

    ```
    q = p / (p + (1 - p) / w)        w: the share of the negatives that was kept
    ```

    Args:
        columns: `{task: how many columns, from the first}`; of tasks that are left out all.
        negatives_kept: `{task: w}`.

    Reference:
        He et al., "Practical Lessons from Predicting Clicks on Ads at Facebook", ADKDD 2014, section 6.3.
    """

    def __init__(self, columns: Mapping[str, int], negatives_kept: Mapping[str, float], **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.columns = dict(columns)
        self.negatives_kept = dict(negatives_kept)

    def call(self, predictions: Predictions) -> Predictions:
        served = {task: y[:, : self.columns.get(task, y.shape[-1])] for task, y in predictions.items()}
        for task, kept in self.negatives_kept.items():
            served[task] = served[task] / (served[task] + ops.multiply(1.0 - served[task], 1.0 / kept))
        return served

    def compute_output_shape(self, input_shape: Mapping[str, Any]) -> dict[str, tuple[int | None, ...]]:
        return {task: (shape[0], self.columns.get(task, shape[-1])) for task, shape in input_shape.items()}


def check_negatives_kept(negatives_kept: Mapping[str, float] | None, schema: Schema) -> dict[str, float]:
    """`negatives_kept` as a plain dict; ValueError unless it gives shares of binary tasks whose probabilities are rates."""
    kept = dict(negatives_kept or {})
    rates = [task.name for task in schema.tasks if task.output.form == "probability" and task.group is None]
    if not set(kept) <= set(rates) or not all(0 < share <= 1 for share in kept.values()):
        raise ValueError(
            f"`negatives_kept` must give shares in (0, 1] of binary tasks that learn a rate, of {rates}. "
            f"Received: negatives_kept={negatives_kept}"
        )
    return {task: float(share) for task, share in kept.items()}


def served_model(model: keras.Model, schema: Schema, negatives_kept: Mapping[str, float]) -> keras.Model:
    """The model whose predictions are what is served; `model` itself where that is all that it predicts."""
    columns = {task.name: task.output.served for task in schema.tasks if task.output.served is not None}
    if not columns and not negatives_kept:
        return model
    taken = {layer.name for layer in model.layers}
    name = "served"
    while name in taken:
        name += "_"
    outputs = ServedOutputs(columns, negatives_kept, name=name)(dict(model.output))
    return keras.Model(inputs_by_name(model), outputs, name=model.name)
