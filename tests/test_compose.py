"""The whole grid: every bottom under every trunk under every head builds, fits on masked labels, reloads and exports.

Models are tiny and take one step each; those of one bottom are reloaded by one fresh process.
"""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from harness import gradients, ops, run_fresh
from tfmtl import (
    CGC,
    Categorical,
    MMoE,
    Numeric,
    PLE,
    Schema,
    Sequence,
    SharedBottom,
    SharedBottomRepresentation,
    SingleTask,
    STEMRepresentation,
    Task,
    Towers,
    build,
    objectives,
)
from tfmtl.keras_host import keras

ITEM = Categorical("item", num_ids=6, dim=4, table="item")
SCHEMA = Schema(
    [Categorical("city", num_ids=5, dim=4), ITEM, Numeric("age", transform=None, dim=4), Sequence("seen", (ITEM,), length=3)],
    [Task("click"), Task("buy", sample_space="click"), Task("pay", sample_space="click")],
)
RNG = np.random.default_rng(0)
ROWS = {
    "city": RNG.integers(0, 6, 8).astype("int32"),
    "item": RNG.integers(0, 7, 8).astype("int32"),
    "age": np.array([1, np.nan, 3, 4, 0, -1, 2, np.nan], "float32"),
    "seen_item": RNG.integers(0, 7, (8, 3)).astype("int32"),
    "seen_mask": np.arange(3) < RNG.integers(0, 4, (8, 1)),
}
LABELS = {
    "click": np.array([0, 1, 1, 0, 1, 1, 0, 1], "float32"),
    "buy": np.array([np.nan, 1, 0, np.nan, 1, 0, np.nan, 0], "float32"),
    "pay": np.array([np.nan, 0, 0, np.nan, 1, 0, np.nan, np.nan], "float32"),
}

BOTTOMS = {
    "shared": lambda: SharedBottomRepresentation(SCHEMA.features, SCHEMA.task_names),
    "stem": lambda: STEMRepresentation(SCHEMA.features, SCHEMA.task_names),
}
TRUNKS = {
    "single_task": lambda: SingleTask((4,)),
    "shared_bottom": lambda: SharedBottom((4,)),
    "mmoe": lambda: MMoE(4, num_experts=2),
    "cgc": lambda: CGC(4, num_task_experts=1, num_shared_experts=1),
    "ple": lambda: PLE((4, 4), num_task_experts=1, num_shared_experts=1),
    "stem": lambda: CGC(4, num_task_experts=1, num_shared_experts=1, cross_task="detached", gate_input="sum"),
}
HEADS = {
    "towers": lambda: Towers(SCHEMA.tasks, units=(4,)),
}


def step_alone(model):
    """One eager step on the rows; returns the names of trainable weights that no gradient reached."""
    model.compile(keras.optimizers.SGD(0.01), **objectives(SCHEMA.tasks), run_eagerly=True)
    history = model.fit(ROWS, LABELS, batch_size=8, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    found = gradients(lambda: sum(ops.sum((y - 0.3) ** 2) for y in model(ROWS).values()), model.trainable_variables)
    return [v.name for v, g in zip(model.trainable_variables, found, strict=True) if g is None]


@pytest.mark.parametrize("bottom", BOTTOMS)
def test_grid(bottom, tmp_path):
    expected = {}
    for trunk, head in itertools.product(TRUNKS, HEADS):
        name = f"{bottom}-{trunk}-{head}"
        model = build(SCHEMA, BOTTOMS[bottom](), TRUNKS[trunk](), HEADS[head](), name="composed")
        assert not step_alone(model), f"{name}: dead weights"
        predictions = {task: np.asarray(y) for task, y in model(ROWS).items()}
        assert {task: (y.shape, y.dtype) for task, y in predictions.items()} == {
            task: ((8, 1), np.dtype("float32")) for task in SCHEMA.task_names
        }
        model.save(tmp_path / f"{name}.keras")
        answer = tf.function(model)
        tf.saved_model.save(model, str(tmp_path / name), signatures=answer.get_concrete_function(
            {k: tf.TensorSpec((None, *v.shape[1:]), v.dtype, name=k) for k, v in ROWS.items()}))
        expected.update({f"{name}/{task}": y for task, y in predictions.items()})
    np.savez(tmp_path / "rows.npz", **ROWS)
    np.savez(tmp_path / "expected.npz", **expected)
    run_fresh(
        """
        import pathlib, sys
        import numpy as np
        import tfmtl
        from tfmtl.keras_host import keras
        folder = pathlib.Path(sys.argv[1])
        rows = dict(np.load(folder / "rows.npz"))
        expected = dict(np.load(folder / "expected.npz"))
        for name in sorted({key.split("/")[0] for key in expected}):
            outputs = keras.models.load_model(folder / f"{name}.keras")(rows)
            for task, y in outputs.items():
                np.testing.assert_allclose(np.asarray(y), expected[f"{name}/{task}"], rtol=1e-5, atol=1e-6, err_msg=name)
        """,
        tmp_path,
    )
