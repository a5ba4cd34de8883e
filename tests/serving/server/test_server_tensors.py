"""TensorProto and NumPy: both ways, every dtype, TensorFlow as the judge."""

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from tfmtl.serving.protocol.tensors import TensorError, from_proto, numpy_dtype, to_proto

ARRAYS = [
    np.array([[0.5, np.nan, np.inf]], np.float32),
    np.array([1 / 3, -0.0]),
    np.array([0.5, -2.0], np.float16),
    np.array([0.5, -2.0], ml_dtypes.bfloat16),
    np.array([-128, 127], np.int8),
    np.array([-(2**15)], np.int16),
    np.array([[2**31 - 1]], np.int32),
    np.array([2**63 - 1, -(2**63)]),
    np.array([255], np.uint8),
    np.array([2**16 - 1], np.uint16),
    np.array([2**32 - 1], np.uint32),
    np.array([2**64 - 1], np.uint64),
    np.array([True, False]),
    np.array([1 + 2j], np.complex64),
    np.array([[1 + 2j], [0.5j]], np.complex128),
    np.array([b"\xff\x00", b""], object),
    np.array(3.0, np.float32),
    np.empty((0, 4), np.float32),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_typed_fields_mean_the_same_to_tensorflow(array):
    proto = to_proto(array)
    assert proto.tensor_content == b""
    np.testing.assert_array_equal(tf.make_ndarray(proto), array)
    received = from_proto(proto)
    assert received.dtype == array.dtype and received.shape == array.shape
    np.testing.assert_array_equal(received, array)


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_tensorflows_own_protos_are_read(array):
    received = from_proto(tf.make_tensor_proto(array, numpy_dtype_of(array)))
    assert received.dtype == array.dtype and received.shape == array.shape
    np.testing.assert_array_equal(received, array)


def numpy_dtype_of(array):
    return tf.string if array.dtype == object else tf.dtypes.as_dtype(array.dtype)


def test_an_array_that_is_not_contiguous():
    array = np.arange(6, dtype=np.complex64).reshape(2, 3).T
    np.testing.assert_array_equal(from_proto(to_proto(array)), array)


def test_text_is_utf8():
    assert list(to_proto(np.array(["Łódź"])).string_val) == ["Łódź".encode()]


def proto(dtype=types_pb2.DT_FLOAT, shape=(2,), **fields):
    return tensor_pb2.TensorProto(dtype=dtype, tensor_shape=tf.TensorShape(shape).as_proto(), **fields)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (proto(float_val=[3.0]), [3.0, 3.0]),
        (proto(shape=(3,), float_val=[1.0, 2.0]), [1.0, 2.0, 2.0]),
        (proto(), [0.0, 0.0]),
        (proto(float_val=[1.0, 2.0, 3.0]), [1.0, 2.0]),
        (proto(types_pb2.DT_STRING, string_val=[b"a"]), [b"a", b"a"]),
        (proto(types_pb2.DT_STRING), [b"", b""]),
        (proto(types_pb2.DT_BOOL, bool_val=[True]), [True, True]),
        (proto(types_pb2.DT_INT8, int_val=[300]), [44, 44]),
        (proto(types_pb2.DT_COMPLEX64, scomplex_val=[1.0, 2.0]), [1 + 2j, 1 + 2j]),
    ],
)
def test_shorthand(given, expected):
    np.testing.assert_array_equal(from_proto(given), expected)


@pytest.mark.parametrize(
    "given",
    [
        proto(types_pb2.DT_INVALID, float_val=[1.0, 2.0]),
        proto(types_pb2.DT_RESOURCE),
        proto(types_pb2.DT_FLOAT_REF, float_val=[1.0]),
        proto(shape=None, float_val=[1.0]),
        proto(shape=(None,), float_val=[1.0]),
        proto(tensor_content=b"1234567"),
        proto(shape=(0,), tensor_content=b"1234"),
        proto(shape=(2**40,), float_val=[1.0]),
        proto(shape=(2**40, 2**40), float_val=[1.0]),
        proto(shape=(1,) * 65, float_val=[1.0]),
        proto(types_pb2.DT_STRING, tensor_content=b"\x03\x03ann"),
        proto(types_pb2.DT_STRING, tensor_content=b"\x03"),
        proto(types_pb2.DT_STRING, tensor_content=b"\xff\xff\xff\xff\xff\xff"),
    ],
)
def test_refuses_what_is_no_tensor(given):
    with pytest.raises(TensorError):
        from_proto(given)


def test_refuses_arrays_that_no_tensor_holds():
    with pytest.raises(TensorError, match="datetime64"):
        to_proto(np.array(["2026-01-01"], "datetime64[D]"))
    with pytest.raises(TensorError, match="text or bytes"):
        to_proto(np.array(["a", None], object))
    with pytest.raises(TensorError, match="DT_RESOURCE"):
        numpy_dtype(types_pb2.DT_RESOURCE)
