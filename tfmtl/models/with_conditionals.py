"""From probabilities over all rows to those of a step where an earlier one happened."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tfmtl.keras_host import inputs_by_name, keras
from tfmtl.layers.conditional_rates import ConditionalRates
from tfmtl.named_model import model_by_name
from tfmtl.schema import Schema, Task


def with_conditionals(
    model: keras.Model, schema: Schema, rates: Mapping[str, Sequence[str]], *, name: str = "with_conditionals"
) -> tuple[keras.Model, Schema]:
    """The model to serve or to look at: it also predicts how likely a step is where an earlier one happened (pCVR).

    ESMM and AITM are trained on, and predict, every step over all rows, which is what a ranking by expected sales wants.
    A bid, a report or a `Score` with weights of its own may want the conversion rate of a click. The new model shares its
    layers with `model` and needs no training, and no loss is changed; each rate is a task of the new schema, with the label
    of the step and the rows where the earlier one happened, so that `evaluate`, `export` and `Score` know it by name.

    Args:
        model: predicts the steps, such as `esmm(schema, ["click", "buy"])`, before or after training.
        schema: of `model`.
        rates: `{name: (step, before)}`, such as `{"cvr": ("buy", "click")}`.
        name: of the model.

    Returns:
        The model, and its schema.

    Raises:
        ValueError: a model without named outputs, a task that is unknown, not binary or over other rows than `before`, or a
            name that is taken.

    Example:

    >>> from tfmtl import Categorical, Schema, Task
    >>> from tfmtl.models import esmm, with_conditionals
    >>> tasks = [Task("click", mean=0.2), Task("buy", mean=0.02)]
    >>> schema = Schema([Categorical("item", num_ids=100)], tasks)
    >>> model, served = with_conditionals(esmm(schema, ["click", "buy"]), schema, {"cvr": ("buy", "click")})
    >>> cvr = served.task("cvr")
    >>> cvr.label, cvr.sample_space, round(cvr.mean, 3)
    ('buy', 'click', 0.1)
    """
    output = getattr(model, "output", None)  # which a model that is no graph has not
    if not isinstance(output, dict):
        raise ValueError(f"The model must be functional and give `{{task: (B, 1)}}`. Received: output={output}")
    layer = ConditionalRates(rates, name=_free_name("conditionals", model))
    tasks = [_task(each, schema.task(step), schema.task(before)) for each, (step, before) in layer.rates.items()]
    served = Schema(schema.features, [*schema.tasks, *tasks])
    return model_by_name(inputs_by_name(model), layer(output), name), served


def _free_name(wanted: str, model: keras.Model) -> str:
    taken = {layer.name for layer in model.layers}
    while wanted in taken:
        wanted += "_"
    return wanted


def _task(name: str, step: Task, before: Task) -> Task:
    if {step.kind, before.kind} != {"binary"}:
        raise ValueError(
            f"A rate is of two binary tasks. Received: {step.name}: {step.kind}, {before.name}: {before.kind}"
        )
    if step.conditions != before.conditions:
        raise ValueError(
            f"{name!r} needs two tasks over the same rows: {step.name!r} is over {step.sample_space or 'all rows'}, "
            f"{before.name!r} over {before.sample_space or 'all rows'}. Received: rates={{{name!r}: {(step.name, before.name)}}}"
        )
    happened = before.label or before.name
    mean = min(step.mean / before.mean, 1.0) if step.mean is not None and before.mean else None
    space: Any = happened
    if step.conditions:  # of two strings the second would be a value
        space = (*step.conditions, (happened, ">", 0) if isinstance(happened, str) else happened)
    return replace(
        step, name=name, label=step.label or step.name, sample_space=space, weight=1.0, weight_decay=1.0, mean=mean
    )
