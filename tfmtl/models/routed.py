"""From one number for each task to one number for each behaviour."""

from typing import Any

from tfmtl.keras_host import inputs_by_name, keras
from tfmtl.layers.group_routing import MEAN, GroupRouting
from tfmtl.named_model import model_by_name
from tfmtl.schema import Categorical, Feature
from tfmtl.schema.schema import Schema
from tfmtl.schema.task_grid import Group, TaskGrid


def routed(
    model: keras.Model, schema: Schema, grid: TaskGrid, *, unknown: str = MEAN, name: str = "routed"
) -> keras.Model:
    """The model to serve: each row is answered by the towers of its own group, inside the graph.

    It shares its layers with `model`, needs no training, and is exported, evaluated and saved like any other, with
    `grid.served(schema)` as its schema. A caller sends the grid's column and gets `{behavior: (B, 1)}`.

    Args:
        model: predicts the tasks of `grid`, such as `mfh(schema, grid)`.
        schema: the schema of `model`, adapted. Where the grid's column is one of its features, that has to be a
            `Categorical` that knows every group's value.
        grid: behaviours and groups.
        unknown: who answers for a row of no known group: the `"mean"` over the groups, or the group called so.
        name: of the model.

    Raises:
        ValueError: a model without `{task: (B, 1)}` for the grid's tasks, a column called like a stage, a feature that
            cannot tell the groups apart, or an `unknown` that is no group.

    Example:

    ```python
    model = mfh(schema, grid)
    model.compile("adam", **objectives(schema.tasks))
    model.fit(train)
    export(routed(model, schema, grid), "models/feed", grid.served(schema))
    ```
    """
    output = getattr(model, "output", None)  # which a model that is no graph has not
    if not isinstance(output, dict):
        raise ValueError(f"The model must be functional and give `{{task: (B, 1)}}`. Received: output={output}")
    missing = sorted({task.name for task in grid.tasks} - set(output))
    if missing:
        raise ValueError(f"The model does not predict the grid's tasks {missing}. Received: {sorted(output)}")
    feature = grid.served(schema).feature(grid.column)
    rows = {group: _row(feature, group, value) for group, value in grid.groups}

    inputs = inputs_by_name(model)
    taken = {layer.name for layer in model.layers}  # inputs too: a Keras model has one layer of a name
    if grid.column not in inputs:
        if grid.column in taken:
            raise ValueError(f"No column may be called like a layer of the model. Received: {grid.column!r}")
        inputs[grid.column] = keras.Input((), dtype="int32", name=grid.column)
    name_of_layer = "group_routing" if "routing" in {grid.column, *taken} else "routing"  # which a feature may have
    routing = GroupRouting(grid.cells, rows, unknown=unknown, name=name_of_layer)
    return model_by_name(inputs, routing([output, inputs[grid.column]]), name)


def _row(feature: Feature, group: str, value: Group) -> int:
    """The row number of a group's value in the encoded column."""
    known: Any = ()
    if isinstance(feature, Categorical):
        known = range(feature.num_ids) if feature.num_ids else feature.vocabulary or ()
    if not isinstance(known, str) and value in known:
        return known.index(value) + 1
    raise ValueError(
        f"Feature {feature.name!r} has no row for the value of group {group!r}: it must be an adapted `Categorical` with "
        f"`vocabulary` or `num_ids` that holds it. Received: {value!r}"
    )
