"""The preset `mfh`, and its mask by group."""

import numpy as np
import pyarrow as pa
import pytest
from grid_cases import GRID, GROUPS_OF_ROWS, SCHEMA, SMALL, encoded_rows
from harness import assert_all_trained, gradients, ops

from tfmtl.data.reading import read
from tfmtl.models.build import build
from tfmtl.models.presets.mfh import mfh
from tfmtl.schema import Numeric, Schema, Task, TaskGrid
from tfmtl.stages.bottoms import STEMRepresentation
from tfmtl.stages.heads import Towers
from tfmtl.stages.trunks import CGC
from tfmtl.stages.trunks.hierarchical_task_tree import HierarchicalTaskTree
from tfmtl.stages.trunks.ple import PLE
from tfmtl.training.objectives import objectives


@pytest.fixture
def rows():
    return encoded_rows()


def labels(rows):
    """One label for each behaviour, given to the tasks of the row's group."""
    rng = np.random.default_rng(1)
    truth = {"complete": rng.random(rows), "finish": rng.integers(0, 2, rows), "skip": rng.integers(0, 2, rows)}
    inside = {group: np.array([g == group for g in GROUPS_OF_ROWS]) for group in GRID.group_names}
    return {
        task: np.where(inside[group], truth[behavior], np.nan).astype("float32")
        for behavior, tasks in GRID.cells.items()
        for group, task in tasks.items()
    }


def test_the_sizes_of_the_paper():
    model = mfh(SCHEMA, GRID, tower_units={"new": (32,), "low": (64,), "high": (128, 64)})
    tree, towers = model.get_layer("trunk"), model.get_layer("head").towers
    assert len(tree.nodes) == 1 + 2 + 6 and len(towers) == 9
    u = tree.switchers["root"].compute_output_shape(dict.fromkeys(("behavior", "group", "shared"), (None, 14)))
    assert u["group"] == (None, 512)
    levels = tree.switchers["behavior"].levels
    assert [(level.units, level.num_task_experts, level.num_shared_experts) for level in levels] == [
        ((256,), 2, 2),
        ((128,), 2, 2),
    ]
    leaf = tree.switchers["group_new"]
    assert (leaf.units, leaf.num_task_experts, leaf.num_shared_experts) == ((128,), 1, 1)
    hidden = {task: [k.shape[-1] for k in tower.get_weights()[:-2:2]] for task, tower in towers.items()}
    assert hidden["skip_new"] == [32] and hidden["finish_low"] == [64] and hidden["complete_high"] == [128, 64]
    assert mfh(SCHEMA, GRID).get_layer("head").units["skip_new"] == (128, 64)


def many_rows():
    rng = np.random.default_rng(2)
    return {
        "age": rng.normal(size=256).astype("float32"),
        "city": rng.integers(0, 6, 256).astype("int32"),
        "segment": rng.integers(0, 5, 256).astype("int32"),
    }


def test_fits_masked_labels():
    grid = TaskGrid(GRID.behaviors[::2], {"new": "n", "old": "h"}, "segment")
    schema = Schema(SCHEMA.features, grid.tasks)
    model = mfh(schema, grid, **{**SMALL, "tower_units": (4,)})
    x, chosen = many_rows(), objectives(schema.tasks)
    y = {
        task.name: np.where(x["segment"] == row, 1.0, np.nan)
        for task, row in zip(grid.tasks, (3, 2, 3, 2), strict=True)
    }
    model.compile("sgd", loss=chosen["loss"], loss_weights=chosen["loss_weights"])
    history = model.fit(x, y, epochs=3, batch_size=64, verbose=0).history["loss"]
    assert np.isfinite(history).all() and history[-1] < history[0]


# So wide that no part is all dead units by chance.
WIDE = {"root_units": (32,), "facet_units": (16, 16), "leaf_units": 16, "tower_units": (16,)}


def test_every_variable_is_trained():
    model, x = mfh(SCHEMA, GRID, **WIDE), many_rows()
    assert_all_trained(model, lambda: sum(ops.sum((y - 0.3) ** 2) for y in model(x).values()))


def test_a_row_trains_the_towers_of_its_group_only(rows):
    model = mfh(SCHEMA, GRID, **WIDE)
    tower, tree = model.get_layer("head").towers, model.get_layer("trunk").switchers
    losses, truth = objectives(SCHEMA.tasks)["loss"], labels(6)
    new = {
        task: np.where([g == "new" for g in GROUPS_OF_ROWS], y, np.nan).astype("float32") for task, y in truth.items()
    }

    def loss():
        predictions = model(rows)
        return sum(losses[task](new[task][:, None], y) for task, y in predictions.items())

    owners = {**tower, **tree}
    variables = [(name, w) for name, layer in owners.items() for w in layer.trainable_variables]
    found = gradients(loss, [w for _, w in variables])
    reached = {name for (name, _), g in zip(variables, found, strict=True) if g is not None and np.abs(g).max() > 0}
    foreign = {f"{behavior}_{group}" for behavior in GRID.cells for group in ("low", "high")}
    assert reached == set(owners) - foreign - {"group_low", "group_high"}


def test_the_reader_gives_a_row_to_its_group_only():
    grid = TaskGrid([Task("click"), Task("buy", sample_space="click")], {"new": "n", "old": "o"}, "segment")
    schema = Schema([Numeric("age")], grid.tasks)
    table = pa.table({"age": [1.0] * 4, "segment": ["n", "o", "n", None], "click": [1, 1, 0, 1], "buy": [1, 0, 0, 1]})
    _, y = next(iter(read(table, schema, batch_size=4)))
    nan = np.nan
    expected = {
        "click_new": [1, nan, 0, nan],
        "click_old": [nan, 1, nan, nan],
        "buy_new": [1, nan, nan, nan],
        "buy_old": [nan, 0, nan, nan],
    }
    for task, label in expected.items():
        np.testing.assert_array_equal(y[task], label)


def test_h_mtl_and_other_options(rows):
    h_mtl = mfh(SCHEMA, GRID, trees=("group",), **SMALL)
    assert [node.name for node in h_mtl.get_layer("trunk").nodes] == [
        "root",
        "group",
        "group_new",
        "group_low",
        "group_high",
    ]
    plain = mfh(SCHEMA, GRID, merge="concat", **{**SMALL, "root_units": (), "tower_units": (4,)})
    assert "root" not in plain.get_layer("trunk").switchers
    assert plain.get_layer("head").towers["skip_low"].get_weights()[0].shape == (12, 4)
    assert set(plain(rows)) == set(SCHEMA.task_names)


def test_streams_of_the_tasks_join_at_the_leaves(rows):
    leaf = CGC(16, num_task_experts=1, num_shared_experts=1)
    bottom = STEMRepresentation(SCHEMA.features, SCHEMA.task_names, embeddings_initializer="uniform")
    tree = HierarchicalTaskTree(GRID.facets, facet=PLE((16, 16)), leaf=leaf)
    model = build(SCHEMA, bottom, tree, Towers(SCHEMA.tasks, units=(16,)))
    assert "join" in [layer.name for layer in model.layers]
    (gradient,) = gradients(lambda: ops.sum(model(rows)["skip_new"] ** 2), [bottom.embed.tables.trainable_variables[0]])
    streams = dict(zip(bottom.streams, np.split(np.abs(gradient).sum(0), len(bottom.streams)), strict=True))
    assert {name for name, part in streams.items() if part.max() > 0} == {"skip_new", "shared"}
    x = many_rows()
    assert_all_trained(model, lambda: sum(ops.sum((y - 0.3) ** 2) for y in model(x).values()))


def test_refuses():
    with pytest.raises(ValueError, match="must hold the grid's tasks"):
        mfh(Schema(SCHEMA.features, [Task("skip")]), GRID)
    with pytest.raises(ValueError, match="must name every group"):
        mfh(SCHEMA, GRID, tower_units={"new": (3,)})


def test_gates_may_have_the_authors_bias():
    plain, biased = (mfh(SCHEMA, GRID, gate_use_bias=bias, **SMALL) for bias in (False, True))
    levels = [
        level
        for switcher in biased.get_layer("trunk").switchers.values()
        for level in getattr(switcher, "levels", [switcher])
    ]
    candidates = [gate.num for level in levels for gate in level.mixers.values()]
    assert biased.count_params() - plain.count_params() == sum(candidates) > 0
    assert len(biased.weights) - len(plain.weights) == len(candidates)
