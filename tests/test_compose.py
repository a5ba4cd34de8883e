"""The grid: any bottom under any trunk under any head builds, trains on masked labels, reloads and exports.

Models are tiny and take one step each. The quick tests make a design of them in which every two stages meet; of each head, a model
over each bottom goes on to a file and an export, which one fresh process reads. The slow tests do all of it with all models. The
two tasks are the leaves of a tree, so that the tree is a trunk like any other, and bottoms give side streams, which some heads read.
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
from tfmtl.stages import (
    SNR,
    AdaTT,
    AsymmetricSharing,
    CrossStitch,
    CustomizedSharing,
    DBMTLHead,
    DSelectK,
    ESCM2Head,
    HoME,
    MLMMoE,
    OMoE,
    PassThrough,
    PPNet,
    Sluice,
    STARHead,
)

ITEM = Categorical("item", num_ids=6, dim=4, table="item")
SCHEMA = Schema(
    [
        Categorical("city", num_ids=5, dim=4),
        ITEM,
        Numeric("age", transform=None, dim=4),
        Sequence("seen", (ITEM,), length=3, weights="watched"),
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
ROWS["watched"] = np.where(ROWS["seen_mask"], np.linspace(0, 2, 24).reshape(8, 3), 0).astype("float32")
LABELS = {
    "view_new": np.array([0, 1, 1, 0, np.nan, 1, 0, 1], "float32"),
    "keep_new": np.array([np.nan, 1, 0, np.nan, 1, 0, np.nan, 0], "float32"),
}

FACETS = {"behavior": ("view", "keep"), "group": ("new",)}
SIDE = {"priors": ["item", "age"], "scenario": "city"}
BOTTOMS = {
    "shared": lambda: SharedBottomRepresentation(SCHEMA.features, SCHEMA.task_names, **SIDE),
    "gated": lambda: SharedBottomRepresentation(SCHEMA.features, SCHEMA.task_names, domain=["city"], **SIDE),
    "stem": lambda: STEMRepresentation(SCHEMA.features, SCHEMA.task_names, **SIDE),
    "dtrn": lambda: DTRNRepresentation(SCHEMA.features, SCHEMA.task_names, target="item", reduction=1, **SIDE),
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
    "adatt": lambda: AdaTT((4, 4), **SMALL),
    "dselect_k": lambda: DSelectK(4, num_experts=3),
    "home": lambda: HoME((4, 4), num_shared_experts=1, num_group_experts=1),
    "snr": lambda: SNR((4, 4), num_subnetworks=2),
    "pass_through": lambda: PassThrough(),
    "tree": lambda: HierarchicalTaskTree(
        FACETS, root=SharedBottom((4,)), facet=CGC(4, **SMALL), leaf=MMoE(4, num_experts=2)
    ),
}
HEADS = {
    "towers": lambda: Towers(SCHEMA.tasks, units=(4,)),
    "esmm": lambda: ESMMHead(SCHEMA.tasks, SCHEMA.task_names, units=(4,)),
    "aitm": lambda: AITMHead(SCHEMA.tasks, SCHEMA.task_names, units=(4,)),
    "dbmtl": lambda: DBMTLHead(SCHEMA.tasks, {"keep_new": ["view_new"]}, units=(4,), relation_units=(4,)),
    "escm2": lambda: ESCM2Head(SCHEMA.tasks, SCHEMA.task_names, estimator="ipw", units=(4,)),
    "ppnet": lambda: PPNet(SCHEMA.tasks, units=(4,)),
    "star": lambda: STARHead(SCHEMA.tasks, units=(4,), auxiliary_units=(4,), scenario_dim=2),
}


def train_one_step(model):
    """Takes a step on labels with gaps; returns what the model then says, and the trainable weights that no gradient reaches."""
    model.compile(keras.optimizers.SGD(0.01), loss=objectives(SCHEMA.tasks)["loss"], run_eagerly=True)
    assert np.isfinite(np.asarray(model.train_on_batch(ROWS, LABELS))).all()
    said = {}

    def distance():
        said.update(model(ROWS))
        return sum(ops.sum((y - 0.3) ** 2) for y in said.values())

    found = gradients(distance, model.trainable_variables)
    dead = [v.name for v, g in zip(model.trainable_variables, found, strict=True) if g is None]
    return {task: np.asarray(y) for task, y in said.items()}, dead


def export(models, folder):
    """All models as signatures of one SavedModel, which holds their layers: a whole model would be traced once more."""
    specs = {name: tf.TensorSpec((None, *rows.shape[1:]), rows.dtype, name=name) for name, rows in ROWS.items()}
    root = tf.Module()
    root.weights = [model.variables for model in models.values()]
    root.layers = {name: held(name, model) for name, model in models.items()}
    signatures = {name: tf.function(model).get_concrete_function(specs) for name, model in models.items()}
    tf.saved_model.save(root, str(folder), signatures=signatures)


def held(trunk, model):
    """tf_keras traces every layer that it is to save several times: of a design every trunk, under PLE all that there is."""
    return model.layers if not LEGACY or trunk == "ple" else [model.get_layer("trunk")]


def design(head):
    """`(bottom, trunk)` of the models under a head: every trunk once, bottoms by turns, another one first for each head."""
    turn = list(HEADS).index(head)
    return [(list(BOTTOMS)[(place + turn) % len(BOTTOMS)], trunk) for place, trunk in enumerate(TRUNKS)]


def carried_on(head):
    """Those of the design that are saved: one over each bottom, and over all heads every trunk."""
    size = len(BOTTOMS)
    blocks = -(-len(TRUNKS) // size)
    start = min(list(HEADS).index(head) % blocks * size, len(TRUNKS) - size)
    return design(head)[start : start + size]


def test_every_two_stages_meet():
    """In a model that is trained; a bottom and a head, and every trunk, also in one that is carried on."""
    met = [(bottom, trunk, head) for head in HEADS for bottom, trunk in design(head)]
    kinds = (BOTTOMS, TRUNKS, HEADS)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert {(stages[one], stages[other]) for stages in met} == {(a, b) for a in kinds[one] for b in kinds[other]}
    carried = [(bottom, trunk, head) for head in HEADS for bottom, trunk in carried_on(head)]
    assert len({(bottom, head) for bottom, _, head in carried}) == len(BOTTOMS) * len(HEADS)
    assert {trunk for _, trunk, _ in carried} == set(TRUNKS)


@pytest.mark.parametrize("head", HEADS)
def test_design(head, tmp_path):
    check(head, design(head), carried_on(head), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("bottom", BOTTOMS)
def test_grid(bottom, head, tmp_path):
    all_of_them = [(bottom, trunk) for trunk in TRUNKS]
    check(head, all_of_them, all_of_them, tmp_path)


def check(head, pairs, carried, tmp_path):
    """Builds and trains the models of `pairs` under a head; those of `carried` must answer the same from a file and an export."""
    models, expected = {}, {}
    for bottom, trunk in pairs:
        model = build(SCHEMA, BOTTOMS[bottom](), TRUNKS[trunk](), HEADS[head](), name=trunk)
        predictions, dead = train_one_step(model)
        assert not dead, f"{bottom}, {trunk}: dead weights {dead}"
        assert {task: (y.shape, y.dtype) for task, y in predictions.items()} == {
            task: ((8, 1), np.dtype("float32")) for task in SCHEMA.task_names
        }
        if (bottom, trunk) in carried:
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
