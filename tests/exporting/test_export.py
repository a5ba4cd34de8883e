"""An exported version answers as the model does, wherever and by whomever it is loaded."""

import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from harness import run_file, run_fresh
from small_ranker import SCHEMA, as_tensors, random_rows, small_model

from tfmtl.data.preprocessing import Preprocessor
from tfmtl.exporting.example_rows import rows_of
from tfmtl.exporting.export import export
from tfmtl.exporting.exported_model import ExportedModel, load_schema
from tfmtl.exporting.parity import ParityError, answered_batches, check_parity
from tfmtl.exporting.served_signature import ServedSignature
from tfmtl.exporting.tf_examples import as_examples
from tfmtl.keras_host import LEGACY, keras
from tfmtl.schema import Categorical, Schema, Task

TASKS = ("click", "buy", "watch")
CLICK = {"click": ServedSignature(as_tensors)}

LOAD_AS_A_SERVER_DOES = """
    import pickle, sys
    import numpy as np
    import tensorflow as tf

    folder, given, wanted = sys.argv[1:]
    with open(given, "rb") as file:
        requests = pickle.load(file)
    answers = {}
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], folder)
        for name, inputs in requests.items():
            signature = graph.signature_def[name]
            feeds = {signature.inputs[key].name: value for key, value in inputs.items()}
            answers[name] = session.run({key: info.name for key, info in signature.outputs.items()}, feeds)
    with open(wanted, "wb") as file:
        pickle.dump(answers, file)
    assert "tfmtl" not in sys.modules
"""


def serialised(rows):
    return as_examples(rows_of(rows, Preprocessor(SCHEMA.features).raw_signature, len(rows["city"])))


@pytest.fixture(scope="module")
def expected(model, rows):
    return model.predict(Preprocessor(SCHEMA.features)(rows), verbose=0)


def test_version_one_is_a_folder_called_1(exported):
    assert exported.name == "1"
    assert sorted(child.name for child in exported.parent.iterdir()) == [
        "1",
        "batching.config",
        "models.config",
        "monitoring.config",
    ]


def test_serving_default_equals_predict(loaded, rows, expected):
    answer = loaded(rows)
    assert set(answer) == {*TASKS, "score"}
    for task in TASKS:
        assert answer[task].dtype == tf.float32
        np.testing.assert_allclose(answer[task], expected[task], atol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_any_batch_size(loaded, rows, expected, count):
    for task in TASKS:
        np.testing.assert_allclose(
            loaded({name: column[:count] for name, column in rows.items()})[task], expected[task][:count], atol=1e-6
        )


def test_serving_ids_takes_what_the_model_reads(loaded, rows, expected):
    answer = loaded(Preprocessor(SCHEMA.features)(rows), "serving_ids")
    for task in TASKS:
        np.testing.assert_allclose(answer[task], expected[task], atol=1e-6)


def test_a_tasks_own_signature_answers_that_task_only(loaded, rows, expected):
    for task in TASKS:
        answer = loaded(rows, task)
        assert set(answer) == {task}
        np.testing.assert_allclose(answer[task], expected[task], atol=1e-6)


def test_examples_are_the_rows_serialised(loaded, rows, expected):
    answer = loaded(serialised(rows), "examples")
    for task in TASKS:
        np.testing.assert_allclose(answer[task], expected[task], atol=1e-6)


def test_what_an_example_lacks_is_missing(loaded, rows):
    nothing = tf.constant([tf.train.Example().SerializeToString()])
    row = {name: column[:1].copy() for name, column in rows.items()}
    for name, missing in [("city", ""), ("device", ""), ("item", -1), ("age", np.nan), ("price", np.nan)]:
        row[name][:] = missing
    row |= {"style": np.full((1, 3), np.nan), "seen_item": np.full((1, 0), -1), "seen_city": np.zeros((1, 0), object)}
    empty, absent = loaded(row), loaded({"inputs": nothing}, "examples")
    for task in TASKS:
        np.testing.assert_allclose(absent[task], empty[task], atol=1e-6)


def test_classify_names_the_tasks(loaded, rows, expected):
    answer = loaded(serialised(rows), "classify")
    assert answer["classes"].shape == answer["scores"].shape == (len(rows["city"]), 3)
    assert answer["classes"][5].numpy().tolist() == [b"click", b"buy", b"watch"]
    np.testing.assert_allclose(answer["scores"], np.concatenate([expected[task] for task in TASKS], 1), atol=1e-6)


def test_a_session_without_our_code_gives_the_same(exported, loaded, rows, tmp_path):
    raw = {name: tensor.numpy() for name, tensor in as_tensors(rows).items()}
    user = {"city", "age", "seen_item", "seen_city"}
    ranked = {name: column[:1] if name in user else column for name, column in raw.items()}
    requests = {
        "serving_default": raw,
        "serving_ids": {name: x.numpy() for name, x in Preprocessor(SCHEMA.features)(rows).items()},
        "examples": {"inputs": serialised(rows)["inputs"].numpy()},
        "classify": {"inputs": serialised(rows)["inputs"].numpy()},
        "buy": raw,
        "rank": {**ranked, "click_weight": np.ones(1, "float32"), "buy_weight": np.ones(1, "float32")},
    }
    given, wanted = tmp_path / "requests", tmp_path / "answers"
    given.write_bytes(pickle.dumps(requests))
    run_fresh(LOAD_AS_A_SERVER_DOES, exported, given, wanted)
    for name, answers in pickle.loads(wanted.read_bytes()).items():
        for key, value in loaded(requests[name], name).items():
            if value.dtype == tf.string:
                assert answers[key].tolist() == value.numpy().tolist()
            else:
                np.testing.assert_allclose(answers[key], value, atol=1e-6)


def test_saved_model_cli_runs_it(exported):
    cli = Path(sys.executable).parent / "saved_model_cli"
    empty = tf.train.Example().SerializeToString()
    command = ["run", "--dir", exported, "--tag_set", "serve", "--signature_def", "examples"]
    printed = run_file(cli, *command, "--input_exprs", f"inputs=[{empty!r}]")
    assert "Result for output key click:" in printed


def test_a_model_of_the_other_keras_is_exported_too(tmp_path, rows):
    script = """
        import sys
        import numpy as np
        from exporting.small_ranker import SCHEMA, random_rows, small_model
        from tfmtl.exporting.export import export
        from tfmtl.keras_host import LEGACY
        assert LEGACY
        export(small_model(), sys.argv[1], SCHEMA, examples=random_rows(16))
    """
    run_fresh(script, tmp_path / "ranker", env={"TF_USE_LEGACY_KERAS": "1"})
    answer = ExportedModel(tmp_path / "ranker")(rows)
    assert set(answer) == set(TASKS)


def test_half_precision_is_exported_with_float32_heads(tmp_path, rows):
    before = keras.mixed_precision.global_policy() if LEGACY else keras.config.dtype_policy()
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = small_model()
    finally:
        keras.mixed_precision.set_global_policy(before)
    answer = ExportedModel(export(model, tmp_path / "ranker", SCHEMA, examples=rows, tasks=["click"]))(rows)
    expected = model.predict(Preprocessor(SCHEMA.features)(rows), verbose=0)["click"]
    assert answer["click"].dtype == tf.float32
    np.testing.assert_allclose(answer["click"], expected, atol=2e-2)


def test_what_a_preprocessor_only_hands_on_is_not_exported(tmp_path):
    item = keras.Input((), dtype="int32", name="item")
    model = keras.Model({"item": item}, {"click": keras.layers.Embedding(4, 1)(item)})
    schema = Schema([Categorical("item", num_ids=3)], [Task("click")])
    preprocessor = Preprocessor(schema.features, passthrough=["user_id"])
    examples = {"item": np.arange(4), "user_id": np.arange(4)}
    loaded = ExportedModel(export(model, tmp_path / "ranker", schema, preprocessor=preprocessor, examples=examples))
    assert list(loaded.signatures["serving_default"].structured_input_signature[1]) == ["item"]


def test_float32_is_compared_in_full(exported, loaded, rows):
    """Whatever a GPU makes of it while the model is trained and served."""
    switch = tf.config.experimental
    seen = []

    def predict(rows):
        seen.append(switch.tensor_float_32_execution_enabled())
        return {task: y + (len(seen) > 1) for task, y in loaded(rows, "click").items()}

    def check():
        check_parity(exported, CLICK, answered_batches([(rows, 1e-6)], CLICK, predict))

    before = switch.tensor_float_32_execution_enabled()
    switch.enable_tensor_float_32_execution(True)
    try:
        check()
        with pytest.raises(ParityError, match="'click' differs from the model"):
            check()
        assert seen == [False, False] and switch.tensor_float_32_execution_enabled()
    finally:
        switch.enable_tensor_float_32_execution(before)


def test_a_graph_is_compared_as_it_was_written(exported, loaded, rows):
    """Its optimisation for each signature took most of an export of many tasks; the process gets its own settings back."""
    options = tf.config.optimizer
    seen = []

    def predict(rows):
        seen.append(options.get_experimental_options()["disable_meta_optimizer"])
        return {task: y + len(seen) for task, y in loaded(rows, "click").items()}

    for before in (True, False):
        options.set_experimental_options({"disable_meta_optimizer": before})
        with pytest.raises(ParityError, match="'click' differs from the model"):
            check_parity(exported, CLICK, answered_batches([(rows, 1e-6)], CLICK, predict))
        assert options.get_experimental_options()["disable_meta_optimizer"] is before
    assert seen == [True, True]


def test_the_schema_comes_back(exported):
    assert load_schema(exported) == SCHEMA
    assert load_schema(exported.parent) == SCHEMA


def test_a_base_path_loads_its_highest_version(exported, tmp_path):
    for name in ("9", "10", "tmp-11"):
        shutil.copytree(exported, tmp_path / name)
    assert ExportedModel(tmp_path).path == tmp_path / "10"


def test_no_version_no_bundle(tmp_path):
    with pytest.raises(FileNotFoundError, match="no version in"):
        ExportedModel(tmp_path)


def test_random_rows_reach_what_is_awkward():
    rows = random_rows(64)
    assert (rows["city"] == "").any() and (rows["city"] == "nowhere").any() and np.isnan(rows["age"]).any()
    assert (rows["seen_item"] == -1).all(axis=1).any()


@pytest.mark.skipif(LEGACY, reason="tf_keras has no TFSMLayer")
def test_an_export_is_a_layer_of_keras(exported, rows, expected):
    layer = keras.layers.TFSMLayer(str(exported))
    columns = as_tensors(rows)
    inputs = {name: keras.Input(x.shape[1:], dtype=x.dtype.name, name=name) for name, x in columns.items()}
    answer = keras.Model(inputs, layer(inputs)).predict(columns, verbose=0)
    for task in TASKS:
        np.testing.assert_allclose(answer[task], expected[task], atol=1e-6)
    assert layer.weights
