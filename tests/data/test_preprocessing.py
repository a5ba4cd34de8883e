"""Preprocessor against plain Python, at its edges, and inside a SavedModel that another process loads."""

import math
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from harness import run_fresh
from hypothesis import given, settings
from hypothesis import strategies as st

from tfmtl.data.preprocessing import Preprocessor
from tfmtl.keras_host import keras
from tfmtl.schema import Categorical, Numeric, Sequence

ITEM = Categorical("item", vocabulary=(7, 9, 11), table="item")
FEATURES = [
    Categorical("city", vocabulary=("Oslo", "Rome")),
    Categorical("item", vocabulary=(7, 9, 11), table="item"),
    Categorical("slot", num_ids=4),
    Categorical("query", hash_buckets=5),
    Categorical("device", hash_buckets=3, dtype="int64"),
    Numeric("age", transform="buckets", boundaries=(18.0, 65.0)),
    Numeric("price", mean=(10.0,), std=(2.0,)),
    Numeric("clicks", transform="log1p"),
    Numeric("vector", size=2, mean=(1.0, 2.0), std=(0.5, 4.0)),
    Numeric("plain", transform=None),
    Sequence("history", (ITEM, Categorical("kind", vocabulary=("pv", "buy"))), length=3),
]
NAN, INF = math.nan, math.inf


def raw():
    return {
        "city": np.array(["Rome", "", "Lima", "Oslo"], object),
        "item": np.array([9, -1, 8, 7], "int64"),
        "slot": np.array([0, -1, 4, 2**62], "int64"),
        "query": np.array(["a", "", "b", "a"], object),
        "device": np.array([5, -1, -7, 5], "int64"),
        "age": np.array([NAN, 17.9, 18.0, INF], "float32"),
        "price": np.array([12.0, NAN, 10.0, -INF], "float32"),
        "clicks": np.array([0.0, -1.0, NAN, 7.0], "float32"),
        "vector": np.array([[1, 2], [NAN, 6], [0, NAN], [1.5, -2]], "float32"),
        "plain": np.array([1, 2, NAN, 4], "float32"),
        "history_item": np.array([[7, 9, 11, 9], [-1, -1, -1, -1], [11, -1, 8, -1], [-1, -1, -1, 7]], "int64"),
        "history_kind": np.array([["pv", "pv", "buy", "x"], [""] * 4, ["", "", "pv", ""], ["", "", "", "buy"]], object),
    }


EXPECTED = {
    "city": [2, 0, 0, 1],
    "item": [2, 0, 0, 1],
    "slot": [1, 0, 0, 0],
    "age": [0, 1, 2, 3],
    "price": [1.0, NAN, 0.0, NAN],
    "clicks": [0.0, -math.log(2), NAN, math.log(8)],
    "vector": [[0, 0], [NAN, 1], [-2, NAN], [1, -1]],
    "plain": [1, 2, NAN, 4],
    "history_item": [[2, 3, 2], [0, 0, 0], [3, 0, 0], [1, 0, 0]],
    "history_kind": [[1, 2, 0], [0, 0, 0], [0, 1, 0], [2, 0, 0]],
    "history_mask": [[True] * 3, [False] * 3, [True, True, False], [True, False, False]],
}


def check(encoded):
    for name, expected in EXPECTED.items():
        np.testing.assert_allclose(np.asarray(encoded[name]), expected, rtol=1e-6, err_msg=name)


def test_encodes_every_kind():
    encoded = Preprocessor(FEATURES)(raw())
    check(encoded)
    for name, buckets in (("query", 5), ("device", 3)):
        rows = encoded[name].numpy()
        assert rows[1] == 0
        assert rows[0] == rows[3]
        assert ((rows[[0, 2, 3]] >= 1) & (rows[[0, 2, 3]] <= buckets)).all()


def test_signatures_describe_the_tensors():
    preprocessor = Preprocessor(FEATURES)
    dataset = tf.data.Dataset.from_tensor_slices(raw()).batch(2).map(preprocessor)
    assert dataset.element_spec.keys() == preprocessor.encoded_signature.keys()
    for name, spec in preprocessor.encoded_signature.items():
        found = dataset.element_spec[name]
        assert (found.shape.as_list(), found.dtype) == (spec.shape.as_list(), spec.dtype), name
    for name, spec in preprocessor.raw_signature.items():
        assert spec.name == name
        assert spec.is_compatible_with(tf.convert_to_tensor(raw()[name]))
    assert list(preprocessor.raw_signature) == [column for feature in FEATURES for column in feature.columns]


def test_features_agree_with_their_encoded_form():
    encoded = Preprocessor(FEATURES)(raw())
    for feature in FEATURES:
        seen = feature.encoded()
        if isinstance(seen, Categorical):
            assert encoded[feature.name].numpy().max() < seen.rows
        assert set(seen.columns) <= set(encoded)


def test_maps_batches_with_labels_and_passes_columns_through():
    preprocessor = Preprocessor(FEATURES, passthrough=("user_id",))
    x = raw() | {"user_id": np.arange(4), "unused": np.arange(4)}
    y = {"click": np.array([0.0, 1.0, NAN, 1.0], "float32")}
    encoded, labels = next(iter(tf.data.Dataset.from_tensor_slices((x, y)).batch(4).map(preprocessor)))
    check(encoded)
    np.testing.assert_array_equal(labels["click"], y["click"])
    np.testing.assert_array_equal(encoded["user_id"], np.arange(4))
    assert "unused" not in encoded


def test_half_precision_leaves_bins_alone():
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        preprocessor = Preprocessor([Numeric("x", transform="buckets", boundaries=(1000.0, 1001.0))])
    finally:
        keras.mixed_precision.set_global_policy("float32")
    dataset = tf.data.Dataset.from_tensors({"x": np.array([999.9, 1000.5, 1001.0], "float32")}).map(preprocessor)
    assert next(iter(dataset))["x"].numpy().tolist() == [1, 2, 3]


def test_a_constant_column_has_one_bin():
    bins = Preprocessor([Numeric("x", transform="buckets", boundaries=())])({"x": np.array([5.0, NAN], "float32")})
    assert bins["x"].numpy().tolist() == [1, 0]


def test_one_lookup_for_a_shared_table():
    preprocessor = Preprocessor(FEATURES)
    assert set(preprocessor.tables) == {"city", "item", "slot", "query", "device", "history_kind"}


def keep_last(history, length):
    events = [event for event in history if event != -1][-length:]
    rows = [event + 1 if event < 5 else 0 for event in events]
    return rows + [0] * (length - len(rows)), [True] * len(rows) + [False] * (length - len(rows))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(-1, 6), max_size=6), min_size=1, max_size=4), st.integers(1, 4))
def test_histories_padded_left_right_or_ragged_agree(histories, length):
    preprocessor = Preprocessor([Sequence("h", (Categorical("id", num_ids=5),), length=length)])
    width = max(map(len, histories))
    forms = {
        "right": np.array([h + [-1] * (width - len(h)) for h in histories], "int64").reshape(len(histories), width),
        "left": np.array([[-1] * (width - len(h)) + h for h in histories], "int64").reshape(len(histories), width),
        "ragged": tf.ragged.constant(histories, dtype=tf.int64, ragged_rank=1),
    }
    expected = [keep_last(h, length) for h in histories]
    for form, ids in forms.items():
        encoded = preprocessor({"h_id": ids})
        np.testing.assert_array_equal(encoded["h_id"], [rows for rows, _ in expected], err_msg=form)
        np.testing.assert_array_equal(encoded["h_mask"], [mask for _, mask in expected], err_msg=form)


LOAD = """
    import sys
    import numpy as np
    import tensorflow as tf
    served = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
    raw = np.load(sys.argv[2], allow_pickle=True)
    encoded = served(**{name: tf.convert_to_tensor(raw[name]) for name in raw})
    np.savez(sys.argv[3], **{name: value.numpy() for name, value in encoded.items()})
"""


@pytest.mark.parametrize("how", ["saved_model", pytest.param("archive", marks=pytest.mark.keras3)])
def test_a_fresh_process_serves_the_export(how, tmp_path):
    preprocessor = Preprocessor(FEATURES)
    signature = [preprocessor.raw_signature]
    if how == "archive":
        archive = keras.export.ExportArchive()
        archive.track(preprocessor)
        archive.add_endpoint("serving_default", lambda x: preprocessor(x), input_signature=signature)
        archive.write_out(str(tmp_path / "export"), verbose=False)
    else:
        module = tf.Module()
        module.preprocessor = preprocessor
        module.serve = tf.function(lambda x: preprocessor(x), input_signature=signature)
        tf.saved_model.save(module, str(tmp_path / "export"), signatures=module.serve)
    np.savez(tmp_path / "raw.npz", **raw())
    run_fresh(LOAD, tmp_path / "export", tmp_path / "raw.npz", tmp_path / "encoded.npz")
    served = np.load(tmp_path / "encoded.npz")
    check(served)
    for name, expected in preprocessor(raw()).items():
        np.testing.assert_array_equal(served[name], expected, err_msg=name)


def test_runs_on_legacy_keras():
    run_fresh(
        """
        import sys
        sys.path.insert(0, sys.argv[1])
        import test_preprocessing as tests
        from tfmtl.keras_host import LEGACY
        assert LEGACY
        tests.test_encodes_every_kind()
        tests.test_half_precision_leaves_bins_alone()
        tests.test_a_constant_column_has_one_bin()
        """,
        Path(__file__).parent,
        env={"TF_USE_LEGACY_KERAS": "1"},
    )


def test_refuses_what_was_never_adapted():
    with pytest.raises(ValueError, match=r"\['city', 'age'\] were never adapted.*tfmtl.adapt"):
        Preprocessor(
            [
                Categorical("city", vocabulary="adapt"),
                Numeric("age", transform="buckets"),
                Categorical("slot", num_ids=3),
            ]
        )


def test_refuses_to_pass_a_feature_through():
    with pytest.raises(ValueError, match=r"Received: \['city'\]"):
        Preprocessor(FEATURES, passthrough=("city",))
    history = Sequence("seen", (Categorical("item", num_ids=3),), length=2)
    with pytest.raises(ValueError, match=r"Received: \['seen_mask'\]"):
        Preprocessor([history], passthrough=("seen_mask",))


def test_names_missing_columns():
    x = raw()
    del x["price"], x["slot"]
    with pytest.raises(ValueError, match=r"\['slot', 'price', 'user_id'\] are missing. Received: \['age', 'city'"):
        Preprocessor(FEATURES, passthrough=("user_id",))(x)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("city", [1, 2, 3, 4], "'city' must be string. Received: int"),
        ("city", [["a"], ["b"]], r"'city' must have the shape \(None,\), batch first. Received: \(2, 1\)"),
        ("item", [1.0, 2.0], "'item' must be int64. Received: float"),
        ("price", ["1", "2"], "'price' must be float32. Received: string"),
        ("vector", [[1.0], [2.0]], r"'vector' must have the shape \(None, 2\)"),
        ("history_item", [1, 2], r"'history_item' must have the shape \(None, None\)"),
        ("city", "Oslo", r"Received: \(\)"),
        ("city", [None, 1.5], "'city' must be a string tensor"),
    ],
)
def test_names_the_column_that_does_not_fit(column, value, message):
    with pytest.raises(ValueError, match=message):
        Preprocessor(FEATURES)(raw() | {column: value})


def test_names_the_sequence_whose_columns_differ_in_length():
    x = raw()
    x["history_kind"] = x["history_kind"][:, :2]
    with pytest.raises(tf.errors.InvalidArgumentError, match="sequence 'history' must be equally long"):
        Preprocessor(FEATURES)(x)
