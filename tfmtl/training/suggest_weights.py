"""Fixed weights of the tasks, from a few measured steps."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfmtl.checks import check_count
from tfmtl.keras_host import BACKEND, inputs_by_name, keras
from tfmtl.schema import Schema
from tfmtl.training.balancing.shared_weights import SharedWeights
from tfmtl.training.balancing.task_losses import TaskLosses
from tfmtl.training.gradient_meter import GradientMeter
from tfmtl.training.objectives import objectives
from tfmtl.training.task_gradients import TaskGradients

CONFLICT = -0.1
"""A mean cosine below this is reported as a conflict: weights move it, and cannot end it."""


@dataclass(frozen=True)
class SuggestedWeights:
    """Weights with the reason for them; `print` shows both.

    Attributes:
        weights: by task, for `Task(weight=...)` or `loss_weights`; their mean is 1.
        norms: by task, the root mean square length of the gradient of its plain loss by the shared dense weights.
        cosines: `(K, K)`, mean cosine of two tasks' gradients, in the order of `weights`; NaN where they never met.
        steps: by task, in how many of the steps it had a label and a gradient.
    """

    weights: dict[str, float]
    norms: dict[str, float]
    cosines: np.ndarray
    steps: dict[str, int]

    def __str__(self) -> str:
        width = max(4, *map(len, self.weights))
        lines = [f"{'task':{width}}  {'weight':>9}  {'gradient':>9}  {'steps':>5}  mean cosine with the others"]
        for place, task in enumerate(self.weights):
            others = " ".join(f"{cosine:+.2f}" for cosine in np.delete(self.cosines[place], place))
            numbers = f"{self.weights[task]:9.4g}  {self.norms[task]:9.3g}  {self.steps[task]:5d}"
            lines.append(f"{task:{width}}  {numbers}  {others}".rstrip())
        return "\n".join([*lines, *self._reasons()])

    def _reasons(self) -> list[str]:
        seen = {task: norm for task, norm in self.norms.items() if norm > 0}
        if not seen:
            return ["No task had a gradient: nothing can be said."]
        loud, quiet = max(seen, key=lambda task: seen[task]), min(seen, key=lambda task: seen[task])
        reasons = [
            f"With weights of 1, {loud!r} pulls {seen[loud] / seen[quiet]:.3g} times as hard on what the tasks share as "
            f"{quiet!r}; with these all pull equally."
        ]
        names = list(self.weights)
        for first, second in zip(*np.where(np.triu(self.cosines < CONFLICT, 1)), strict=True):
            reasons.append(
                f"{names[first]!r} and {names[second]!r} want opposite things (cosine {self.cosines[first, second]:+.2f}): "
                "weights decide who yields; see `balanced` for methods that change directions."
            )
        for task in names:
            if task not in seen:
                reasons.append(f"{task!r} had no gradient in any step; its weight of 1 is no suggestion.")
        return reasons


def suggest_weights(model: keras.Model, dataset: Any, schema: Schema, *, steps: int = 50) -> SuggestedWeights:
    """Measures how hard each task pulls on the weights that the tasks share, and suggests weights that make them equal.

    ```
    w_k = c / |g_k|        c so that the mean of the w_k is 1
    ```

    `|g_k|` is the root mean square, over the steps in which the task has a label, of the length of its plain loss's
    gradient by the dense weights that more than one task reaches. Good static weights show such equal lengths. The model is
    not trained: measure a fresh one, and again after an epoch, since tasks that are learned early grow quiet.

    Args:
        model: functional, returns a dict by task; need not be compiled, and is left as it is.
        dataset: batches `(x, y)` of encoded columns and labels, NaN where missing, such as a `tf.data.Dataset`.
        schema: whose tasks are measured.
        steps: int, how many batches are read at most.

    Raises:
        ValueError: a backend other than TensorFlow, a model without dict outputs or without shared dense weights, a task of
            the schema that the model does not have, a dataset without batches, or `steps` below 1.

    Example:

    ```python
    suggestion = suggest_weights(model, train, schema)
    print(suggestion)
    tasks = [dataclasses.replace(task, weight=suggestion.weights[task.name]) for task in schema.tasks]
    model.compile("adam", **objectives(tasks, normalize=False))
    ```

    Reference:
        Equal gradient lengths as the mark of good static weights: "AutoScale", 2025, arXiv:2508.13979.
    """
    steps = check_count("steps", steps)
    if BACKEND != "tensorflow":
        raise ValueError(f"`suggest_weights` needs the TensorFlow backend. Received: backend={BACKEND!r}")
    outputs = getattr(model, "output", None) if inputs_by_name(model) else None
    if not isinstance(outputs, Mapping):
        raise ValueError(
            f"`model` must be a functional model that returns a dict, {{task: prediction}}. Received: {type(model).__name__}"
        )
    plain = objectives(replace(task, weight=1.0, weight_decay=1.0) for task in schema.tasks)["loss"]
    losses = TaskLosses(tuple(outputs), plain, None)
    shared = SharedWeights(model, losses.tasks)
    shared.check_any("`suggest_weights`")
    return _suggestion(GradientMeter(model, losses, shared)(dataset, steps))


def _suggestion(gradients: TaskGradients) -> SuggestedWeights:
    tasks, squares = gradients.tasks, gradients.squares
    counts = (squares > 0).sum(0)
    norms = np.sqrt(squares.sum(0) / np.maximum(counts, 1))
    weights = np.ones(len(tasks))
    known = counts > 0
    if known.any():
        weights[known] = 1 / norms[known]
        weights[known] /= weights[known].mean()
    return SuggestedWeights(
        weights=dict(zip(tasks, weights.tolist(), strict=True)),
        norms=dict(zip(tasks, norms.tolist(), strict=True)),
        cosines=gradients.mean_cosines,
        steps=dict(zip(tasks, counts.tolist(), strict=True)),
    )
