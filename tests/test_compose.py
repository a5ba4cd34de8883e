"""The whole grid: every bottom under every trunk under every head builds, fits on masked labels, reloads and exports.

Models are tiny and take one step each. A third of them go on to a file and an export, which one fresh process for each bottom
and head reads: every two stages meet in one of these. The slow tests take all of them there. The two tasks are the leaves of
a tree, so that the tree is a trunk like any other.
"""

import numpy as np
import pytest
import tensorflow as tf
from harness import gradients, ops, run_fresh

from tfmtl import (
    CGC,
    PLE,
    AITMHead,
    Categorical,
    DTRNRepresentation,
    ESMMHead,
    HierarchicalTaskTree,
    MMoE,
    Numeric,
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
from tfmtl.keras_host import LEGACY, keras
from tfmtl.stages import AsymmetricSharing, CrossStitch, CustomizedSharing, MLMMoE, OMoE, Sluice

ITEM = Categorical("item", num_ids=6, dim=4, table="item")
SCHEMA = Schema(
    [
        Categorical("city", num_ids=5, dim=4),
        ITEM,
        Numeric("age", transform=None, dim=4),
        Sequence("seen", (ITEM,), length=3),
    ],
    [Task("view_new"), Task("keep_new")],
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
    "view_new": np.array([0, 1, 1, 0, np.nan, 1, 0, 1], "float32"),
    "keep_new": np.array([np.nan, 1, 0, np.nan, 1, 0, np.nan, 0], "float32"),
}

FACETS = {"behavior": ("view", "keep"), "group": ("new",)}
BOTTOMS = {
    "shared": lambda: SharedBottomRepresentation(SCHEMA.features, SCHEMA.task_names),
    "stem": lambda: STEMRepresentation(SCHEMA.features, SCHEMA.task_names),
    "dtrn": lambda: DTRNRepresentation(SCHEMA.features, SCHEMA.task_names, target="item", reduction=1),
}
SMALL = {"num_task_experts": 1, "num_shared_experts": 1}
TRUNKS = {
    "single_task": lambda: SingleTask((4,)),
    "shared_bottom": lambda: SharedBottom((4,)),
    "asymmetric": lambda: AsymmetricSharing((4,), donors={"keep_new": ["view_new"]}),
    "customized": lambda: CustomizedSharing((4,)),
    "cross_stitch": lambda: CrossStitch((4, 4)),
    "sluice": lambda: Sluice((4, 4)),
    "omoe": lambda: OMoE(4, num_experts=2),
    "mmoe": lambda: MMoE(4, num_experts=2),
    "ml_mmoe": lambda: MLMMoE((4, 4), num_experts=2),
    "cgc": lambda: CGC(4, **SMALL),
    "ple": lambda: PLE((4, 4), **SMALL),
    "stem": lambda: CGC(4, **SMALL, cross_task="detached", gate_input="concat"),
    "tree": lambda: HierarchicalTaskTree(
        FACETS, root=SharedBottom((4,)), facet=CGC(4, **SMALL), leaf=MMoE(4, num_experts=2)
    ),
}
HEADS = {
    "towers": lambda: Towers(SCHEMA.tasks, units=(4,)),
    "esmm": lambda: ESMMHead(SCHEMA.tasks, SCHEMA.task_names, units=(4,)),
    "aitm": lambda: AITMHead(SCHEMA.tasks, SCHEMA.task_names, units=(4,)),
}


def fit_one_step(model):
    """One step on labels with gaps; returns the names of trainable weights that no gradient reaches."""
    settings = objectives(SCHEMA.tasks)
    model.compile(keras.optimizers.SGD(0.01), loss=settings["loss"], run_eagerly=True)
    history = model.fit(ROWS, LABELS, batch_size=8, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    found = gradients(lambda: sum(ops.sum((y - 0.3) ** 2) for y in model(ROWS).values()), model.trainable_variables)
    return [v.name for v, g in zip(model.trainable_variables, found, strict=True) if g is None]


def export(models, folder):
    """All models as signatures of one SavedModel, which holds their layers: a whole model would be traced once more."""
    specs = {name: tf.TensorSpec((None, *rows.shape[1:]), rows.dtype, name=name) for name, rows in ROWS.items()}
    root = tf.Module()
    root.weights = [model.variables for model in models.values()]
    root.layers = {name: held(name, model) for name, model in models.items()}
    signatures = {name: tf.function(model).get_concrete_function(specs) for name, model in models.items()}
    tf.saved_model.save(root, str(folder), signatures=signatures)


def held(trunk, model):
    """tf_keras traces every layer that it is to save several times: every bottom and head under PLE, every trunk on one bottom."""
    if not LEGACY or trunk == "ple":
        return model.layers
    return [model.get_layer("trunk")] if isinstance(model.get_layer("bottom"), SharedBottomRepresentation) else []


def carried_on(bottom, head):
    """The trunks whose models are saved: over all bottoms and heads every trunk meets each bottom and each head once."""
    apart = list(HEADS).index(head) - list(BOTTOMS).index(bottom)
    return {trunk for place, trunk in enumerate(TRUNKS) if (place - apart) % len(HEADS) == 0}


def test_every_two_stages_meet_in_a_model_that_is_carried_on():
    met = [(bottom, trunk, head) for bottom in BOTTOMS for head in HEADS for trunk in carried_on(bottom, head)]
    assert len(met) == len(BOTTOMS) * len(TRUNKS)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        kinds = (BOTTOMS, TRUNKS, HEADS)
        assert {(stages[one], stages[other]) for stages in met} == {(a, b) for a in kinds[one] for b in kinds[other]}


@pytest.mark.parametrize("every_trunk", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("bottom", BOTTOMS)
def test_grid(bottom, head, every_trunk, tmp_path):
    carried = set(TRUNKS) if every_trunk else carried_on(bottom, head)
    models, expected = {}, {}
    for trunk, make in TRUNKS.items():
        model = build(SCHEMA, BOTTOMS[bottom](), make(), HEADS[head](), name=trunk)
        assert not fit_one_step(model), f"{trunk}: dead weights"
        predictions = {task: np.asarray(y) for task, y in model(ROWS).items()}
        assert {task: (y.shape, y.dtype) for task, y in predictions.items()} == {
            task: ((8, 1), np.dtype("float32")) for task in SCHEMA.task_names
        }
        if trunk in carried:
            model.save(tmp_path / f"{trunk}.keras")
            models[trunk] = model
            expected.update({f"{trunk}/{task}": y for task, y in predictions.items()})
    export(models, tmp_path / "exported")
    np.savez(tmp_path / "rows.npz", **ROWS)
    np.savez(tmp_path / "expected.npz", **expected)
    run_fresh(
        """
        import pathlib, sys
        import numpy as np
        import tensorflow as tf
        folder = pathlib.Path(sys.argv[1])
        rows = dict(np.load(folder / "rows.npz"))
        expected = dict(np.load(folder / "expected.npz"))
        trunks = sorted({key.split("/")[0] for key in expected})

        exported = tf.saved_model.load(str(folder / "exported"))  # before any code of ours is imported
        answers = {trunk: exported.signatures[trunk](**{k: tf.constant(v) for k, v in rows.items()}) for trunk in trunks}

        import tfmtl
        from tfmtl.keras_host import LEGACY, keras

        for trunk in trunks:
            reloaded = keras.models.load_model(folder / f"{trunk}.keras")(rows)
            for outputs in (reloaded, answers[trunk]):
                assert len(outputs) == 2
                for task, y in outputs.items():
                    np.testing.assert_allclose(np.asarray(y), expected[f"{trunk}/{task}"], rtol=1e-5, atol=1e-6, err_msg=trunk)
        """,
        tmp_path,
    )
