"""STEM-Net and its ablations: whose loss reaches whose table."""

from inspect import signature

import numpy as np
import pytest
from harness import assert_all_trained, gradients, ops

from tfmtl.keras_host import keras
from tfmtl.models import presets
from tfmtl.schema import Categorical, Numeric, Schema, Task

SCHEMA = Schema(
    [Categorical("city", num_ids=5, dim=4), Numeric("age", transform=None, dim=2)], [Task("finish"), Task("like")]
)
ROWS = {"city": np.array([0, 1, 5, 3], "int32"), "age": np.array([1, 2, 3, np.nan], "float32")}
SMALL = {"units": (6, 5), "num_task_experts": 2, "num_shared_experts": 2, "gate_units": (4,), "tower_units": (4,)}
STREAMS = ("finish", "like", "shared")


def tables_reached(model, task):
    """The streams whose table the loss of `task` reaches."""
    (wide,) = model.get_layer("bottom").embed.tables.trainable_variables
    # The tables start near zero, and so would what they pass on.
    (gradient,) = gradients(lambda: ops.sum(model(ROWS)[task] ** 2), [wide])
    return {s for s, g in zip(STREAMS, np.split(np.abs(gradient), 3, axis=1), strict=True) if g.max() > 0}


@pytest.mark.parametrize(
    ("preset", "options", "reached"),
    [
        (presets.stem_net, {}, {"like", "shared"}),
        (presets.stem_net, {"gate_input": "task"}, {"like", "shared"}),
        (presets.stem_net, {"num_layers": 2}, set(STREAMS)),
        (presets.stem_net, {"num_layers": 2, "shared_stream_stop_specific": True}, {"like", "shared"}),
        (presets.stem_net, {"cross_task": "full"}, set(STREAMS)),
        (presets.me_ple, {}, {"like", "shared"}),
        (presets.me_mmoe, {}, set(STREAMS)),
    ],
)
def test_whose_table_a_loss_reaches(preset, options, reached):
    model = preset(SCHEMA, **{**SMALL, **options})
    model.get_layer("bottom").set_weights(
        [w + np.random.default_rng(0).normal(size=w.shape) for w in model.get_layer("bottom").get_weights()]
    )
    assert tables_reached(model, "like") == reached


def test_all_forward():
    """Task like's prediction depends on task finish's table, which its loss does not reach."""
    model = presets.stem_net(SCHEMA, **SMALL)
    bottom = model.get_layer("bottom")
    rng = np.random.default_rng(0)
    bottom.set_weights([w + rng.normal(size=w.shape) for w in bottom.get_weights()])
    before = np.asarray(model(ROWS)["like"])
    weights = bottom.get_weights()
    for w in weights:
        if w.shape == (6, 12):
            w[:, :4] += 1
    bottom.set_weights(weights)
    assert np.abs(np.asarray(model(ROWS)["like"]) - before).max() > 1e-5


def test_sizes():
    """(T + 1) V D in the tables; a gate over all T K1 + K2 experts."""
    model = presets.stem_net(SCHEMA, **SMALL)
    assert model.get_layer("bottom").embed.tables.count_params() == 3 * 6 * 4
    gates = model.get_layer("trunk").gates(model.get_layer("bottom")(ROWS))[0]
    assert {task: tuple(g.shape) for task, g in gates.items()} == {"finish": (4, 6), "like": (4, 6)}
    single = presets.stem_single_table(SCHEMA, **SMALL)
    assert single.get_layer("bottom").embed.tables.count_params() == 3 * 6 * 4


PRESETS = ["stem_net", "stem_single_table", "me_ple", "me_mmoe"]


@pytest.mark.parametrize("preset", PRESETS)
def test_all_take_the_options_of_stem_net(preset):
    model = getattr(presets, preset)(
        SCHEMA,
        **SMALL,
        num_layers=2,
        gate_use_bias=True,
        tower_batch_norm=True,
        embeddings_initializer="ones",
        embeddings_regularizer=keras.regularizers.L2(0.1),
    )
    tables = model.get_layer("bottom").embed.tables
    assert len(model.get_layer("trunk").levels) == 2
    assert model.get_layer("head").towers["like"].hidden.batch_norm
    np.testing.assert_array_equal(np.asarray(tables.trainable_variables[0]), 1)
    assert float(sum(tables.losses)) == pytest.approx(0.1 * tables.count_params(), rel=1e-5)
    assert list(signature(getattr(presets, preset)).parameters) == list(signature(presets.stem_net).parameters)


@pytest.mark.parametrize("preset", PRESETS)
def test_sizes_at_defaults(preset):
    trunk = getattr(presets, preset)(SCHEMA).get_layer("trunk")
    assert trunk.units == ((512, 512, 512),)
    experts = (trunk.levels[0].num_task_experts, trunk.levels[0].num_shared_experts)
    assert experts == ((2, 2) if preset == "me_mmoe" else (1, 8))


@pytest.mark.parametrize("preset", PRESETS)
def test_every_variable_is_trained(preset):
    model = getattr(presets, preset)(SCHEMA, **SMALL)
    assert model.name == preset
    for stage in ("bottom", "trunk"):
        layer = model.get_layer(stage)
        layer.set_weights([w + np.random.default_rng(1).normal(size=w.shape) / 2 for w in layer.get_weights()])
    assert_all_trained(model, lambda: sum(ops.sum((y - 0.3) ** 2) for y in model(ROWS).values()))
