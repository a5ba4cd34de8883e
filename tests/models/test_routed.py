"""The model that serves a grid: one number for each behaviour, from the row's own group."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from grid_cases import GRID, GROUPS_OF_ROWS, RAW, SCHEMA, SEGMENT, SMALL, TOWERS, encoded_rows
from harness import assert_reloads

from tfmtl.data.preprocessing import Preprocessor
from tfmtl.exporting.export import export
from tfmtl.keras_host import inputs_by_name, keras
from tfmtl.models.presets.mfh import mfh
from tfmtl.models.routed import routed
from tfmtl.schema import Categorical, Numeric, Schema, TaskGrid


@pytest.fixture
def rows():
    return encoded_rows()


@pytest.mark.parametrize("unknown", ["mean", "high"])
def test_routed_answers_with_the_rows_own_towers(rows, unknown):
    model = mfh(SCHEMA, GRID, **SMALL)
    cells, answers = model(rows), routed(model, SCHEMA, GRID, unknown=unknown)(rows)
    assert set(answers) == {"complete", "finish", "skip"}
    for behavior, y in answers.items():
        for row, group in enumerate(GROUPS_OF_ROWS):
            asked = GRID.group_names if unknown == "mean" else (unknown,)
            expected = np.mean([np.asarray(cells[f"{behavior}_{g}"])[row] for g in ((group,) if group else asked)])
            np.testing.assert_allclose(np.asarray(y)[row], expected, rtol=1e-6)


def test_routed_shares_its_weights_and_its_stages():
    model = mfh(SCHEMA, GRID, **SMALL)
    serving = routed(model, SCHEMA, GRID)
    assert serving.get_layer("trunk") is model.get_layer("trunk")
    assert {id(w) for w in serving.weights} == {id(w) for w in model.weights}


@pytest.mark.parametrize("known", [True, False], ids=["a_feature", "no_feature"])
@pytest.mark.parametrize("values", [["n", "l", "h"], [0, 7, 2]], ids=["strings", "integers"])
def test_the_column_of_the_groups(known, values):
    grid = TaskGrid(GRID.behaviors, dict(zip(GRID.group_names, values, strict=True)), "segment")
    features = [Numeric("age", transform=None)]
    if known:
        features.append(Categorical("segment", num_ids=9) if values[0] == 0 else SEGMENT)
    schema = Schema(features, grid.tasks)
    model = mfh(schema, grid, **SMALL)
    serving, served = routed(model, schema, grid), grid.served(schema)
    assert set(inputs_by_name(serving)) == {"age", "segment"} and served.task_names == ("complete", "finish", "skip")
    raw = {"age": tf.constant([3.0, 3.0, 3.0]), "segment": tf.constant(np.array(values))}
    encoded = Preprocessor(served.features)(raw)
    cells = model(encoded)
    expected = [np.asarray(cells[f"skip_{group}"])[row, 0] for row, group in enumerate(grid.group_names)]
    np.testing.assert_array_equal(np.asarray(serving(encoded)["skip"])[:, 0], expected)


def test_routed_reloads_in_a_fresh_process(rows, tmp_path):
    assert_reloads(
        routed(mfh(SCHEMA, GRID, **SMALL), SCHEMA, GRID), {k: np.asarray(v) for k, v in rows.items()}, tmp_path
    )


def test_exported_it_takes_the_raw_column_of_the_groups(tmp_path):
    """Of two groups: the vocabulary knows a third value, which is none."""
    grid = TaskGrid(GRID.behaviors[1:], {"new": "n", "high": "h"}, "segment")
    sizes = {**SMALL, "tower_units": {name: TOWERS[name] for name in grid.group_names}}
    sides = ("item", "user", "user")
    features = [replace(feature, side=side) for feature, side in zip(SCHEMA.features, sides, strict=True)]
    schema = Schema(features, grid.tasks)
    model = mfh(schema, grid, **sizes)
    path = export(routed(model, schema, grid), tmp_path / "feed", grid.served(schema), examples=RAW)
    signatures = tf.saved_model.load(str(path)).signatures
    answers = signatures["serving_default"](**{name: tf.constant(column) for name, column in RAW.items()})
    cells = model(encoded_rows())
    assert set(answers) == set(grid.cells)
    for behavior, y in answers.items():
        for row, group in enumerate(GROUPS_OF_ROWS):
            asked = (group,) if group in grid.group_names else grid.group_names
            expected = np.mean([cells[f"{behavior}_{g}"][row] for g in asked])
            np.testing.assert_allclose(y[row], expected, rtol=1e-5)

    one_user = {"city": tf.constant([4], tf.int64), "segment": tf.constant(["h"])}
    ranked = signatures["rank"](age=tf.constant([3.0, 1.0]), **one_user)
    np.testing.assert_allclose(ranked["skip"][0], answers["skip"][2], rtol=1e-5)


def test_refuses():
    model = mfh(SCHEMA, GRID, **SMALL)
    with pytest.raises(ValueError, match="unknown='median'"):
        routed(model, SCHEMA, GRID, unknown="median")
    with pytest.raises(ValueError, match=r"does not predict the grid's tasks \['complete_fresh'"):
        routed(model, SCHEMA, TaskGrid(GRID.behaviors, {"fresh": "n"}, "segment"))
    for feature in (
        Categorical("segment", vocabulary=("n", "l")),
        Categorical("segment", vocabulary="adapt"),
        Categorical("segment", hash_buckets=9),
        Numeric("segment"),
    ):
        with pytest.raises(ValueError, match=r"'segment' has no row for the value of group"):
            routed(model, Schema([*SCHEMA.features[:2], feature], GRID.tasks), GRID)


def test_a_feature_may_be_called_routing(rows):
    age = Numeric("routing", transform=None)
    schema = Schema([age, *SCHEMA.features[1:]], GRID.tasks)
    serving = routed(mfh(schema, GRID, **SMALL), schema, GRID)
    rows = {**rows, "routing": rows["age"]}
    assert serving(rows)["skip"].shape == (len(GROUPS_OF_ROWS), 1)


def test_refuses_a_column_called_like_a_stage():
    grid = TaskGrid(GRID.behaviors, dict(GRID.groups), "trunk")
    schema = Schema(SCHEMA.features[:2], grid.tasks)
    with pytest.raises(ValueError, match=r"like a layer of the model. Received: 'trunk'"):
        routed(mfh(schema, grid, **SMALL), schema, grid)


def test_refuses_models_without_a_dict_of_predictions():
    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    x = keras.Input((2,))
    for model in (Own(), keras.Model(x, keras.layers.Dense(1)(x)), keras.Model(x, [keras.layers.Dense(1)(x)] * 2)):
        with pytest.raises(ValueError, match=r"must be functional and give `\{task: \(B, 1\)\}`"):
            routed(model, SCHEMA, GRID)
