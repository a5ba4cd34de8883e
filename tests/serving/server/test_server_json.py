"""The JSON of REST, against NumPy and against the standard library's parser."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tensorflow.core.framework import types_pb2

from tfmtl.serving.server.rest_json import float_texts, outputs_text, parse, predictions_text, to_array
from tfmtl.serving.server.serving_error import ServingError

fast = settings(max_examples=200, deadline=None, derandomize=True, database=None)


@fast
@given(arrays.arrays(st.sampled_from([np.float32, np.float64]), st.integers(0, 20)))
def test_floats_come_back_exactly_and_look_like_floats(values):
    texts = float_texts(values)
    with np.errstate(over="ignore"):
        back = np.array([float(text) for text in texts], values.dtype)
    np.testing.assert_array_equal(back, values)
    assert all("." in text or "e" in text or text.lstrip("-") in ("NaN", "Infinity") for text in texts)


@fast
@given(arrays.arrays(np.float32, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)))
def test_any_shape_nests_as_numpy_lists_do(array):
    body = json.loads(outputs_text({"y": array}))
    np.testing.assert_array_equal(np.array(body["outputs"], np.float32).ravel(), array.ravel())
    if array.size:
        assert np.array(body["outputs"]).shape == array.shape
    if array.ndim:
        rows = json.loads(predictions_text({"a": array, "b": array}))["predictions"]
        assert len(rows) == len(array) and all(set(row) == {"a", "b"} for row in rows)


@fast
@given(arrays.arrays(np.int64, arrays.array_shapes(min_dims=0, max_dims=4, max_side=4)))
def test_nested_lists_are_read_as_numpy_reads_them(array):
    np.testing.assert_array_equal(to_array(array.tolist(), types_pb2.DT_INT64), array)


@fast
@given(st.lists(st.text() | st.binary()))
def test_strings_of_any_bytes_pass(values):
    encoded = [value if isinstance(value, bytes) else value.encode() for value in values]
    array = np.empty(len(encoded), object)
    array[:] = encoded
    text = outputs_text({"s": array}).encode("utf-8", "surrogateescape")
    back = parse(text)["outputs"]
    assert [item.encode("utf-8", "surrogateescape") for item in back] == encoded


def test_what_follows_the_object_is_not_read():
    assert parse(b'\xef\xbb\xbf \n{"a": NaN} [') == pytest.approx({"a": float("nan")}, nan_ok=True)
    for text in (b"", b"  ", b"[]", b"{", b"\xff", b"nan"):
        with pytest.raises(ServingError):
            parse(text)
