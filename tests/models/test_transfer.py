"""A model that has more than the old one starts from what the old one knew, weight by weight."""

import numpy as np
import pytest
from every_preset import FEATURES, ROWS, SCHEMA

from tfmtl import models
from tfmtl.keras_host import keras, register_layer
from tfmtl.models import build, shared_bottom, warm_start
from tfmtl.schema import Categorical, Numeric, Schema, Task
from tfmtl.stages import PLE, AITMHead, CrossStitch, MMoE, SharedBottomRepresentation, STEMRepresentation, Towers

TASKS = [Task("click", mean=0.5), Task("buy", mean=0.5)]
MORE_TASKS = [Task("like", mean=0.5), *TASKS]
MORE_FEATURES = [FEATURES[0], Categorical("shop", num_ids=3, dim=5), *FEATURES[1:], Numeric("price", transform=None)]
MORE_ROWS = {**ROWS, "shop": np.arange(8, dtype="int32") % 4, "price": np.linspace(0, 2, 8, dtype="float32")}


def shaken(model, seed=0):
    """`model` with weights that differ everywhere, variances of a batch above 0."""
    rng = np.random.default_rng(seed)
    model.set_weights(
        [
            np.abs(rng.normal(0, 0.5, w.shape)) if "variance" in w.name else rng.normal(0, 0.5, w.shape)
            for w in model.weights
        ]
    )
    return model


def said(model, rows):
    return {task: np.asarray(y) for task, y in model({name: rows[name] for name in rows}).items()}


def assert_says_the_same(model, old):
    before, after = said(old, {n: ROWS[n] for n in ROWS}), said(model, MORE_ROWS)
    for task in before:
        np.testing.assert_allclose(after[task], before[task], rtol=1e-4, atol=1e-5)


MAKERS = {
    "shared_bottom": lambda s, n: models.shared_bottom(s, units=(4, 4), tower_units=(n,)),
    "mmoe": lambda s, n: models.mmoe(s, units=(4, 3), num_experts=3, tower_units=(n, 3), tower_batch_norm=True),
    "cgc": lambda s, n: models.cgc(s, units=4, tower_units=(n,)),
    "omoe": lambda s, n: models.omoe(s, units=4, num_experts=3, tower_units=(n,)),
    "ml_mmoe": lambda s, n: models.ml_mmoe(s, units=(4, 4), num_experts=3, tower_units=(n,)),
    "cross_stitch": lambda s, n: models.cross_stitch(s, units=(4, 4), granularity="channel", tower_units=(n,)),
    "sluice": lambda s, n: models.sluice(s, units=(4, 4), tower_units=(n,)),
    "customized_sharing": lambda s, n: models.customized_sharing(s, units=(4, 4), tower_units=(n,)),
    "stem_net": lambda s, n: build(
        s, STEMRepresentation(s.features, s.task_names), MMoE(4), Towers(s.tasks, units=(n,))
    ),
    "dtrn": lambda s, n: models.dtrn(s, dim=4, target="item", tower_units=(n,), refine=False, shared_input="fixed"),
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_task_a_feature_and_units_more_leave_the_old_tasks_as_they_were(name):
    """In one go: the schema's order changes too."""
    make = MAKERS[name]
    old = shaken(make(Schema(FEATURES, TASKS), 4))
    # A history of DTRN's kind would change what the new field's width is read with.
    schema = Schema(MORE_FEATURES, MORE_TASKS)
    model = shaken(make(schema, 6), 1)
    report = warm_start(model, schema, old, Schema(FEATURES, TASKS))
    assert_says_the_same(model, old)
    assert any("like" in each for each in report.fresh) and "table[shop]" in report.fresh
    assert "table[item]" in (*report.carried, *report.partly) and not report.left


def test_experts_and_levels_more_keep_the_old_ones():
    def made(units, task_experts, shared_experts):
        bottom = SharedBottomRepresentation(SCHEMA.features, SCHEMA.task_names)
        trunk = PLE(units, num_task_experts=task_experts, num_shared_experts=shared_experts, gate_input="concat")
        return build(SCHEMA, bottom, trunk, Towers(SCHEMA.tasks, units=(3,)))

    old, model = shaken(made((4,), 1, 1)), shaken(made((4, 5), 2, 3), 1)
    report = warm_start(model, SCHEMA, old, SCHEMA)
    first, before = model.get_layer("trunk").levels[0], old.get_layer("trunk").levels[0]
    kernels, old_kernels = (np.asarray(level.experts["buy"].kernels[0]) for level in (first, before))
    np.testing.assert_array_equal(kernels[:4], old_kernels)
    assert np.abs(kernels[4:]).min() > 0
    gate, old_gate = (np.asarray(level.mixers["buy"].logits.kernel) for level in (first, before))
    np.testing.assert_array_equal(gate[:, [0, 2]], old_gate)  # its own first expert, the first shared one
    assert report.partly["trunk.levels[0].experts[buy].kernels[0]"] == 0.5
    assert "trunk.levels[1].experts[shared].kernels[0]" in report.fresh
    assert "Started fresh: " in str(report) and "experts[buy].kernels[0] (50%)" in str(report)


def test_less_is_named_as_left_behind():
    old_schema, schema = Schema(MORE_FEATURES, MORE_TASKS), Schema(FEATURES[::-1], TASKS)
    old, model = (shaken(shared_bottom(s, units=(4,), tower_units=(4,))) for s in (old_schema, schema))
    report = warm_start(model, schema, old, old_schema)
    assert (
        not report.fresh and "table[shop]" in report.left and "part of trunk.experts[shared].kernels[0]" in report.left
    )
    assert any(each.startswith("head.towers[like]") for each in report.left)
    tower, before = (m.get_layer("head").towers["buy"].output_layer.get_weights() for m in (model, old))
    np.testing.assert_array_equal(tower[0], before[0])


def test_a_wider_table_and_one_of_another_name():
    wider = [
        Categorical("city", vocabulary=("a", "b"), dim=6, table="place") if f.name == "city" else f for f in FEATURES
    ]
    schema = Schema(wider, TASKS)
    old = shaken(shared_bottom(Schema(FEATURES, TASKS), units=(4,), tower_units=(4,)))
    model = shaken(shared_bottom(schema, units=(4,), tower_units=(4,)), 1)
    report = warm_start(model, schema, old, Schema(FEATURES, TASKS))
    assert_says_the_same(model, old)
    assert report.partly["table[place]"] == pytest.approx(4 / 6)


def test_steps_of_a_chain_go_by_name():
    def made(tasks):
        schema = Schema(FEATURES, tasks)
        bottom = SharedBottomRepresentation(schema.features, schema.task_names)
        chain = [task.name for task in tasks]
        return build(
            schema, bottom, CrossStitch((4,)), AITMHead(tasks, chain, units=(4,), share_attention=False)
        ), schema

    (old, old_schema), (model, schema) = made(TASKS), made([*TASKS, Task("pay", mean=0.5)])
    shaken(old)
    shaken(model, 1)
    report = warm_start(model, schema, old, old_schema)
    assert_says_the_same(model, old)
    assert any("transfers[pay]" in each for each in report.fresh)


@register_layer
class OwnTrunk(keras.layers.Layer):
    reads_own, reads_shared = True, False

    def build(self, shapes):
        self.dense = {task: keras.layers.Dense(3, name=task) for task in shapes if task != "shared"}
        for task, layer in self.dense.items():
            layer.build(shapes[task])

    def call(self, streams):
        return {task: layer(streams[task]) for task, layer in self.dense.items()}

    def compute_output_shape(self, shapes):
        return {task: (shape[0], 3) for task, shape in shapes.items() if task != "shared"}


def test_a_stage_of_ones_own_is_taken_over_where_nothing_about_it_changed():
    def made(schema):
        bottom = SharedBottomRepresentation(schema.features, schema.task_names)
        return build(schema, bottom, OwnTrunk(name="trunk"), Towers(schema.tasks, units=(3,)))

    same, more = Schema(FEATURES, TASKS), Schema(MORE_FEATURES, TASKS)
    old, model, other = shaken(made(same)), shaken(made(same), 1), shaken(made(more), 1)
    assert not warm_start(model, same, old, same).fresh
    assert_says_the_same(model, old)
    report = warm_start(other, more, old, same)
    assert {each.split(".")[0] for each in report.fresh} == {"trunk", "head", "table[shop]"}


def test_refuses_models_with_nothing_in_common_and_changes_nothing():
    schema = Schema([Numeric("x", transform=None)], [Task("a", mean=0.5)])
    other = Schema([Numeric("y", transform=None)], [Task("b", mean=0.5)])
    model, source = (models.single_task(s, units=(4,)) for s in (schema, other))
    before = model.get_weights()
    with pytest.raises(ValueError, match="nothing that `model` could take over"):
        warm_start(model, schema, source, other)
    for mine, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, theirs)
