"""build, the presets, and what a user does with the model afterwards."""

import re

import numpy as np
import pytest
from harness import assert_all_trained, gradients, ops

from tfmtl import (
    CGC,
    PLE,
    Categorical,
    CGCLayer,
    MMoE,
    Numeric,
    Schema,
    SharedBottom,
    SharedBottomRepresentation,
    STEMRepresentation,
    Task,
    TaskGrid,
    Towers,
    build,
)
from tfmtl.keras_host import LEGACY, keras
from tfmtl.models import encoded_inputs, presets
from tfmtl.training.objectives import objectives

SCHEMA = Schema(
    [
        Categorical("city", num_ids=5, dim=4),
        Numeric("age", transform=None),
        Numeric("pay", transform="buckets", boundaries=(1.0,), dim=4),
    ],
    [Task("click"), Task("watch", "regression")],
)
ROWS = {
    "city": np.array([0, 1, 5, 3], "int32"),
    "age": np.array([1, np.nan, 3, 4], "float32"),
    "pay": np.array([0, 1, 2, 1], "int32"),
}
LABELS = {"click": np.array([0, 1, 1, 0], "float32"), "watch": np.array([0.5, 1, 2, 3], "float32")}


def losses():
    return {"click": "binary_crossentropy", "watch": "mse"}


@pytest.mark.parametrize(
    "preset",
    [
        "single_task",
        "shared_bottom",
        "omoe",
        "mmoe",
        "ml_mmoe",
        "cgc",
        "ple",
        "customized_sharing",
        "cross_stitch",
        "sluice",
    ],
)
def test_presets_fit_predict_and_train_every_variable(preset):
    model = getattr(presets, preset)(SCHEMA)
    assert model.name == preset
    assert [model.get_layer(stage).name for stage in ("bottom", "trunk", "head")] == ["bottom", "trunk", "head"]
    model.compile("sgd", loss=losses())
    history = model.fit(ROWS, LABELS, epochs=2, batch_size=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    predictions = model.predict(ROWS, verbose=0)
    assert {task: (p.shape, p.dtype) for task, p in predictions.items()} == dict.fromkeys(
        ("click", "watch"), ((4, 1), np.float32)
    )
    assert_all_trained(model, lambda: sum(ops.sum((y - 0.3) ** 2) for y in model(ROWS).values()))


def test_the_two_readings_of_ples_depth():
    matched, full = presets.ple(SCHEMA), presets.ple(SCHEMA, depth="paper_full_tower")
    assert matched.get_layer("head").units["click"] == (64,)
    assert full.get_layer("head").units["click"] == (256, 128, 64)
    assert presets.ple(SCHEMA, units=(8,), tower_units=()).get_layer("trunk").units == (8,)
    with pytest.raises(ValueError, match="depth='deep'"):
        presets.ple(SCHEMA, depth="deep")
    with pytest.raises(ValueError, match=r"units=\(\)"):
        presets.ple(SCHEMA, units=())


@pytest.mark.parametrize("preset", ["ple", "aitm"])
def test_trains_under_another_floatx(preset):
    schema = Schema(SCHEMA.features[:1], [Task("click"), Task("buy")])
    labels = {"click": LABELS["click"], "buy": LABELS["click"]}
    keras.backend.set_floatx("float64")
    try:
        model = getattr(presets, preset)(schema)
        model.compile("sgd", loss=objectives(schema.tasks)["loss"])
        assert np.isfinite(model.fit({"city": ROWS["city"]}, labels, verbose=0).history["loss"]).all()
    finally:
        keras.backend.set_floatx("float32")


GATED = {"omoe": 256, "mmoe": 256, "cgc": 256}


@pytest.mark.parametrize("preset", [*GATED, "ml_mmoe", "ple", "single_task", "shared_bottom", "customized_sharing"])
def test_presets_compare_models_of_one_depth(preset):
    """The paper's path of (256, 128, 64) to every task, and one number of experts."""
    schema = Schema(SCHEMA.features, [*SCHEMA.tasks, Task("like")])
    model = getattr(presets, preset)(schema)
    trunk, tower = model.get_layer("trunk"), model.get_layer("head").units["click"]
    if preset in GATED:
        assert (tuple(trunk.units), tower) == ((256,), (128, 64))
    else:
        assert (tuple(trunk.units), tower) == ((256, 128), (64,))
    shapes = {"omoe": "experts", "ml_mmoe": "first"}
    if preset in shapes:
        assert getattr(trunk, shapes[preset]).num == 8
    elif preset in ("mmoe", "cgc", "ple"):
        level = trunk.levels[0] if preset == "ple" else trunk
        assert sum(experts.num for experts in level.experts.values()) == 8


@pytest.mark.parametrize("preset", ["ple", "omoe", "cross_stitch", "asymmetric_sharing", "mfh", "dtrn", "esmm", "aitm"])
def test_presets_hand_options_to_their_stage(preset):
    tables = {"embeddings_initializer": "ones", "embeddings_regularizer": keras.regularizers.L2(0.1)}
    towers = {"tower_dropout": 0.3, "tower_activation": "tanh"}
    grid = TaskGrid([Task("click")], {"new": 0, "old": 1}, "city")
    schema, arguments = Schema(SCHEMA.features, [Task("click"), Task("buy")]), ()
    if preset == "asymmetric_sharing":
        arguments = ({"buy": ["click"]},)
    elif preset == "mfh":
        schema, arguments = Schema(SCHEMA.features, grid.tasks), (grid,)
    model = getattr(presets, preset)(schema, *arguments, **tables, **towers)
    embed = model.get_layer("bottom").embed
    np.testing.assert_array_equal(np.asarray(embed.tables.trainable_variables[0]), 1)
    assert float(sum(embed.losses)) == pytest.approx(0.1 * embed.tables.count_params(), rel=1e-5)
    config = model.get_layer("head").get_config()
    assert (config["dropout"], config["activation"]) == (0.3, "tanh")


def test_works_without_build():
    """The stages are layers: a user composes them with plain Keras."""
    inputs = encoded_inputs(SCHEMA.features)
    streams = SharedBottomRepresentation(SCHEMA.features, SCHEMA.task_names)(inputs)
    model = keras.Model(inputs, Towers(SCHEMA.tasks)(PLE((8, 4))(streams)))
    assert model(ROWS)["watch"].shape == (4, 1)


def test_drops_into_a_keras_model_of_someone_else():
    """A plain Keras recommender: its own inputs and embeddings, our CGCLayer, its own towers."""
    user, item = keras.Input((1,), dtype="int32", name="user"), keras.Input((1,), dtype="int32", name="item")
    embed = [keras.layers.Flatten()(keras.layers.Embedding(10, 4)(x)) for x in (user, item)]
    x = keras.layers.Concatenate()(embed)
    mixed = CGCLayer(8, update_shared=False)({"click": x, "buy": x, "shared": x})
    outputs = {task: keras.layers.Dense(1, activation="sigmoid", name=task)(mixed[task]) for task in ("click", "buy")}
    model = keras.Model({"user": user, "item": item}, outputs)
    model.compile("sgd", loss=dict.fromkeys(outputs, "binary_crossentropy"))
    rows = {"user": np.array([[1], [2]]), "item": np.array([[3], [4]])}
    model.fit(rows, {"click": np.array([1.0, 0.0]), "buy": np.array([0.0, 1.0])}, verbose=0)
    assert set(model.predict(rows, verbose=0)) == {"click", "buy"}


@pytest.mark.parametrize("trunk", [SharedBottom((8,)), MMoE(8, num_experts=2)], ids=["shared_bottom", "mmoe"])
def test_nothing_of_a_task_specific_bottom_is_dropped(trunk):
    model = build(SCHEMA, STEMRepresentation(SCHEMA.features, SCHEMA.task_names), trunk, Towers(SCHEMA.tasks))
    assert "join" in [layer.name for layer in model.layers]
    tables = model.get_layer("bottom").embed.tables.trainable_variables
    found = gradients(lambda: ops.sum(model(ROWS)["click"] ** 2), tables)
    own, other, shared = np.split(np.abs(found[0]).sum(0), 3)
    assert own.max() > 0 and shared.max() > 0
    np.testing.assert_array_equal(other, 0)


def test_a_trunk_that_reads_everything_needs_no_join():
    model = build(SCHEMA, STEMRepresentation(SCHEMA.features, SCHEMA.task_names), CGC(8), Towers(SCHEMA.tasks))
    assert "join" not in [layer.name for layer in model.layers]


def test_refuses():
    unadapted = Schema([Categorical("city", vocabulary="adapt")], [Task("click")])
    with pytest.raises(ValueError, match="never adapted"):
        presets.ple(unadapted)
    bottom = SharedBottomRepresentation(SCHEMA.features, SCHEMA.task_names)
    with pytest.raises(ValueError, match=r"must predict \['click', 'watch'\]. Received: \['click'\]"):
        build(SCHEMA, bottom, CGC(8), Towers(SCHEMA.tasks[:1]))
    with pytest.raises(ValueError, match="tasks"):
        SharedBottomRepresentation(SCHEMA.features, [])


def test_unknown_rows_get_an_answer():
    model = presets.ple(SCHEMA)
    broken = {
        "city": np.array([-7, 10**6], "int32"),
        "age": np.array([np.nan, np.inf], "float32"),
        "pay": np.array([99, -1], "int32"),
    }
    broken["age"][1] = 1e20
    for y in model.predict(broken, verbose=0).values():
        assert np.isfinite(y).all()


def test_columns_are_found_by_name_among_others():
    model = presets.ple(SCHEMA, units=(4,))
    expected = {task: np.asarray(y) for task, y in model(ROWS).items()}
    more = {
        "aid": np.array([3, 3, 3, 3], "int32"),
        **dict(reversed(ROWS.items())),
        "zip": np.array([7.0] * 4, "float32"),
    }
    said = model.predict(more, verbose=0)
    for task, y in expected.items():
        np.testing.assert_allclose(said[task], y, rtol=1e-5, atol=1e-7)
    with pytest.raises(ValueError, match="age"):
        model.predict({"city": ROWS["city"], "pay": ROWS["pay"]}, verbose=0)


def test_stages_belong_to_the_schema():
    """A bottom from before `extend` would read row 0 for every new id, and say nothing."""
    bottom, head = SharedBottomRepresentation(SCHEMA.features, SCHEMA.task_names), Towers(SCHEMA.tasks)
    larger = Schema([Categorical("city", num_ids=9, dim=4), *SCHEMA.features[1:]], SCHEMA.tasks)
    with pytest.raises(ValueError, match=r"other features than the schema's.*\['city'\] differ"):
        build(larger, bottom, CGC(8), head)
    with pytest.raises(ValueError, match=r"\['pay'\] differ"):
        build(Schema(SCHEMA.features[:2], SCHEMA.tasks), bottom, CGC(8), head)
    kinds = Schema(SCHEMA.features, [Task("click"), Task("watch")])
    with pytest.raises(ValueError, match=r"other kinds than the schema's. Received: \{'watch': 'regression'\}"):
        build(kinds, bottom, CGC(8), head)
    alone = SharedBottomRepresentation(SCHEMA.features, SCHEMA.task_names[:1])
    with pytest.raises(ValueError, match=r"must predict \['click'\]. Received: \['click', 'watch'\]"):
        build(
            Schema(SCHEMA.features, SCHEMA.tasks[:1]),
            alone,
            CGC(8),
            OwnHead(lambda streams: dict.fromkeys(SCHEMA.task_names, streams["click"])),
        )


def test_names_and_tasks_are_not_mixed_up():
    with pytest.raises(ValueError, match=r"must be names, such as `schema.task_names`. Received: tasks=\(Task"):
        SharedBottomRepresentation(SCHEMA.features, SCHEMA.tasks)
    assert SharedBottomRepresentation(SCHEMA.features, "ab").tasks == ("ab",)
    with pytest.raises(ValueError, match=r"such as `schema.tasks`. Received: tasks=\['click', 'watch'\]"):
        Towers(SCHEMA.task_names)
    with pytest.raises(ValueError, match="Two tasks have the same name"):
        Towers([Task("click"), Task("click", "regression")])


@pytest.mark.parametrize("name", ["bottom", "trunk", "head", "join"])
def test_a_column_called_like_a_stage(name):
    with pytest.raises(ValueError, match=rf"like a stage of the model.*Received: \['{name}'\]"):
        presets.ple(Schema([Numeric(name, transform=None)], SCHEMA.tasks))


class OwnTrunk(keras.layers.Layer):
    """The least that a trunk is: the shared stream beside every task's."""

    reads_own = True
    reads_shared = True

    def call(self, streams):
        return {task: stream + streams["shared"] for task, stream in streams.items() if task != "shared"}


class OwnBottom(keras.layers.Layer):
    """The least that a bottom is."""

    task_specific = False
    shared_specific = False

    def __init__(self, schema):
        super().__init__(name="bottom")
        self.features = schema.features
        self.tasks = schema.task_names

    def call(self, encoded):
        return dict.fromkeys([*self.tasks, "shared"], encoded["age"][:, None])


class OwnHead(keras.layers.Layer):
    """The least that a head is: a function, and which tasks it predicts."""

    def __init__(self, function, kinds=None):
        super().__init__(name="head")
        self.function = function
        self.kinds = kinds or {}

    def call(self, streams):
        return self.function(streams)


def test_stages_of_ones_own():
    head = OwnHead(lambda streams: {task: streams[task] for task in SCHEMA.task_names})
    model = build(SCHEMA, OwnBottom(SCHEMA), OwnTrunk(name="trunk"), head)
    np.testing.assert_array_equal(np.asarray(model(ROWS)["click"])[:, 0], 2 * ROWS["age"])
    stem = STEMRepresentation(SCHEMA.features, SCHEMA.task_names)
    assert "join" not in [
        layer.name for layer in build(SCHEMA, stem, OwnTrunk(name="trunk"), Towers(SCHEMA.tasks)).layers
    ]


def test_a_stage_says_of_itself_what_its_contract_asks_for():
    class Sum(keras.layers.Layer):
        reads_shared = True

        def call(self, streams):
            return streams

    bottom, trunk, head = SharedBottomRepresentation(SCHEMA.features, SCHEMA.task_names), CGC(4), Towers(SCHEMA.tasks)
    with pytest.raises(
        ValueError, match=r"`trunk` must be .*stages.Trunk`. Received: Sum, which lacks \['reads_own'\]"
    ):
        build(SCHEMA, bottom, Sum(name="trunk"), head)
    with pytest.raises(ValueError, match=r"`head` .*stages.Head`. Received: function, which lacks \['kinds', 'name'\]"):
        build(SCHEMA, bottom, trunk, lambda streams: streams)
    with pytest.raises(
        ValueError, match=r"`bottom` .*lacks \['features', 'shared_specific', 'task_specific', 'tasks'\]"
    ):
        build(SCHEMA, keras.layers.Dense(4), trunk, head)
    with pytest.raises(ValueError, match=r"`head` .*Received: CGC, which lacks \['kinds'\]"):
        build(SCHEMA, bottom, trunk, trunk)


def test_logs_have_the_names_of_the_tasks(tmp_path):
    """On both hosts, whatever the order of the tasks, after a reload too, and where a feature has a task's name."""
    tasks = [Task("watch", "regression", label="seconds"), Task("city", label="chose"), Task("head", label="did")]
    schema = Schema(SCHEMA.features, tasks)
    labels = {"watch": LABELS["watch"], "city": LABELS["click"], "head": LABELS["click"]}
    model = presets.shared_bottom(schema, units=(4,), tower_units=())
    model.save(tmp_path / "model.keras")
    for each in (model, keras.models.load_model(tmp_path / "model.keras")):
        each.compile("sgd", **objectives(tasks))
        logs = each.fit(ROWS, labels, verbose=0).history
        assert {"watch_rmse", "watch_loss"} <= set(logs)
        wanted = {f"{task}_output_auc" if LEGACY else f"{task}_auc" for task in ("city", "head")}
        assert wanted <= set(logs)
        np.testing.assert_allclose(each.predict(ROWS, verbose=0)["watch"], model.predict(ROWS, verbose=0)["watch"])


@pytest.mark.parametrize("tasks", [("click", "watch", "like"), ("click",)])
def test_a_bottom_for_other_tasks(tasks):
    """A stream too many has experts and gates that no loss trains."""
    bottom = SharedBottomRepresentation(SCHEMA.features, tasks)
    with pytest.raises(ValueError, match=rf"schema's tasks \('click', 'watch'\). Received: {re.escape(str(tasks))}"):
        build(SCHEMA, bottom, PLE((4,)), Towers(SCHEMA.tasks))
    assert build(SCHEMA, SharedBottomRepresentation(SCHEMA.features, ["watch", "click"]), CGC(4), Towers(SCHEMA.tasks))


def test_numbers_whose_mean_was_never_learned():
    schema = Schema([Numeric("age")], SCHEMA.tasks)
    bottom = SharedBottomRepresentation
    for make in (presets.ple, lambda s: encoded_inputs(s.features), lambda s: bottom(s.features, s.task_names)):
        with pytest.raises(ValueError, match="The mean of 'age' was never adapted"):
            make(schema)
    assert presets.ple(Schema([Numeric("age", mean=3.0, std=1.0)], SCHEMA.tasks))


def test_two_stages_of_one_name():
    bottom = SharedBottomRepresentation(SCHEMA.features, SCHEMA.task_names, name="same")
    with pytest.raises(ValueError, match=r"names of their own.*Received: \['same', 'trunk', 'same'\]"):
        build(SCHEMA, bottom, CGC(4), Towers(SCHEMA.tasks, name="same"))
    bottom = SharedBottomRepresentation(SCHEMA.features, SCHEMA.task_names)
    with pytest.raises(ValueError, match="other than 'join'"):
        build(SCHEMA, bottom, CGC(4, name="join"), Towers(SCHEMA.tasks))


def test_a_head_of_ones_own_predicts_the_tasks():
    bottom = SharedBottomRepresentation(SCHEMA.features, SCHEMA.task_names)
    with pytest.raises(ValueError, match=r"must predict .* Received: \['click'\] from 'head'"):
        build(SCHEMA, bottom, CGC(4), OwnHead(lambda streams: {"click": streams["click"]}))
    with pytest.raises(ValueError, match=r"must return \{task: \(B, 1\)\}"):
        build(SCHEMA, bottom, CGC(4), OwnHead(lambda streams: streams["click"]))
    with pytest.raises(ValueError, match=r"other kinds than the schema's. Received: \{'click': 'regression'\}"):
        build(SCHEMA, bottom, CGC(4), OwnHead(lambda streams: streams, {"click": "regression"}))


@pytest.mark.parametrize(
    "preset", ["ple", "omoe", "asymmetric_sharing", "mfh", "dtrn", "esmm", "aitm", "stem_net", "me_ple"]
)
def test_presets_take_a_name(preset):
    grid = TaskGrid([Task("click")], {"new": 0, "old": 1}, "city")
    schema = Schema(SCHEMA.features, grid.tasks if preset == "mfh" else [Task("click"), Task("buy")])
    arguments = {"asymmetric_sharing": ({"buy": ["click"]},), "mfh": (grid,)}.get(preset, ())
    model = getattr(presets, preset)(schema, *arguments, name="mine")
    assert model.name == "mine" and model.get_layer("bottom")


@pytest.mark.parametrize("preset", ["mmoe", "omoe", "ml_mmoe"])
def test_mixtures_take_the_same_options(preset):
    options = {"kernel_initializer": "he_normal", "gate_use_bias": True, "dropout": 0.1, "num_experts": np.int64(3)}
    model = getattr(presets, preset)(SCHEMA, **options)
    config = model.get_layer("trunk").get_config()
    assert config["gate_use_bias"] and config["dropout"] == 0.1
    assert "HeNormal" in str(config["kernel_initializer"])
