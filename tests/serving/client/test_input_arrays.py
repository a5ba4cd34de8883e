"""Columns become a signature's dtypes, or the value that does not is named."""

import numpy as np
import pandas as pd
import pytest
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from tfmtl.serving.client.input_arrays import as_inputs


def cast(kind, column):
    """`column` as an input of this dtype and any shape."""
    signature = meta_graph_pb2.SignatureDef()
    signature.inputs["c"].dtype = types_pb2.DataType.Value(kind)
    signature.inputs["c"].tensor_shape.unknown_rank = True
    return as_inputs({"c": column}, signature)["c"]


@pytest.mark.parametrize(
    ("kind", "column", "dtype"),
    [
        ("DT_FLOAT", [0.1, np.inf, -np.inf, np.nan], np.float32),
        ("DT_FLOAT", [2**24, -(2**24), 2**60], np.float32),
        ("DT_FLOAT", [True, False], np.float32),
        ("DT_FLOAT", [], np.float32),
        ("DT_HALF", [2048], np.float16),
        ("DT_DOUBLE", np.array([2**63], np.uint64), np.float64),
        ("DT_INT64", np.array([2**63 - 1], np.uint64), np.int64),
        ("DT_UINT64", [1, 2**64 - 1], np.uint64),
        ("DT_INT64", pd.Series([[1, 2], [3, 4]]), np.int64),
        ("DT_INT64", np.array([1, 2], object), np.int64),
    ],
)
def test_what_fits_is_kept(kind, column, dtype):
    array = cast(kind, column)
    assert array.dtype == dtype
    wanted = column.tolist() if hasattr(column, "tolist") else column
    np.testing.assert_array_equal(array, np.array(wanted, dtype))


@pytest.mark.parametrize("kind", ["DT_STRING", "DT_INT64", "DT_FLOAT"])
@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0,)])
def test_no_values_keep_their_shape(kind, shape):
    assert cast(kind, np.empty(shape, object)).shape == cast(kind, np.empty(shape)).shape == shape


def test_bfloat16_takes_numbers():
    assert cast("DT_BFLOAT16", [1.5, 256]).tolist() == [1.5, 256.0]
    with pytest.raises(ValueError, match="Received: 257"):
        cast("DT_BFLOAT16", [1, 257])


def test_a_table():
    signature = meta_graph_pb2.SignatureDef()
    for name, kind in (("city", types_pb2.DT_STRING), ("age", types_pb2.DT_FLOAT), ("user", types_pb2.DT_INT64)):
        signature.inputs[name].dtype = kind
        signature.inputs[name].tensor_shape.dim.add(size=-1)
    table = pd.DataFrame({"city": ["Oslo", ""], "age": [31.0, np.nan], "user": pd.array([1, 2], "Int64")})
    arrays = as_inputs(table, signature)
    assert {name: array.dtype for name, array in arrays.items()} == {
        "city": object,
        "age": np.float32,
        "user": np.int64,
    }
    assert arrays["city"].tolist() == [b"Oslo", b""]
    with pytest.raises(ValueError, match=r"unknown columns \['0'\]"):
        as_inputs(table.assign(**{"0": 1}).rename(columns={"0": 0}), signature)
    with pytest.raises(ValueError, match=r"must be a mapping or a DataFrame. Received: ndarray"):
        as_inputs(table.to_numpy(), signature)


def test_strings_in_lists_of_a_table():
    assert cast("DT_STRING", pd.Series([["a", "b"], ["c", "d"]])).tolist() == [[b"a", b"b"], [b"c", b"d"]]


@pytest.mark.parametrize(
    ("kind", "column", "named"),
    [
        ("DT_FLOAT", [1.0, 1e300, 1e301], r"1e\+300 of type float, which would change"),
        ("DT_HALF", [1.0, 70000.0], "70000.0 of type float"),
        ("DT_FLOAT", [1, 2**24 + 1], "16777217 of type int, which would change"),
        ("DT_DOUBLE", [2**53 + 1], "9007199254740993 of type int"),
        ("DT_DOUBLE", [2**63 - 1], "9223372036854775807 of type int"),
        ("DT_DOUBLE", np.array([2**64 - 1], np.uint64), "18446744073709551615 of type int"),
        ("DT_INT64", np.array([5, 2**63 + 5], np.uint64), "9223372036854775813 of type int"),
        ("DT_INT64", [5, 2**63 + 5], "9223372036854775813 of type int"),
        ("DT_INT64", [-5, 2**63 + 5], "9223372036854775813 of type int"),
        ("DT_DOUBLE", [1, 2**63 + 5], "9223372036854775813 of type int"),
        ("DT_INT64", [1, 2**70], "1180591620717411303424 of type int"),
        ("DT_INT32", [1, 2**31], "2147483648 of type int"),
        ("DT_UINT8", [3, -1], "-1 of type int"),
        ("DT_INT64", [1.5], "1.5 of type float$"),
        ("DT_INT64", [1, "a"], "'a' of type str$"),
        ("DT_STRING", ["a", 1], "1 of type int$"),
    ],
)
def test_the_first_value_that_does_not_fit_is_named(kind, column, named):
    with pytest.raises(ValueError, match=f"Column 'c' must hold {kind}: Received: {named}"):
        cast(kind, column)


@pytest.mark.parametrize(
    ("kind", "column", "hint"),
    [
        ("DT_INT64", [1, None], "None of type NoneType; -1 stands for a missing id"),
        ("DT_INT64", pd.Series([1, None]), "nan of type float; -1 stands for a missing id"),
        ("DT_INT64", [1, pd.NA], "<NA> of type NAType; -1 stands for a missing id"),
        ("DT_STRING", ["a", None], 'None of type NoneType; "" stands for a missing id'),
        ("DT_STRING", np.array(["a", np.nan], object), 'nan of type float; "" stands for a missing id'),
        ("DT_FLOAT", [1.0, None], "None of type NoneType; NaN stands for a missing number"),
        ("DT_BOOL", [None], "None of type NoneType$"),
    ],
)
def test_what_stands_for_a_missing_value_is_said(kind, column, hint):
    with pytest.raises(ValueError, match=f"Column 'c' must hold {kind}: Received: {hint}"):
        cast(kind, column)


@pytest.mark.parametrize(
    ("kind", "column", "filler"),
    [
        ("DT_INT64", [[1], [2, 3]], "-1"),
        ("DT_INT64", pd.Series([[1], [2, 3]]), "-1"),
        ("DT_STRING", [["a"], ["b", "c"]], '""'),
        ("DT_STRING", [np.array(["a"]), np.array(["b", "c"])], '""'),
        ("DT_FLOAT", [[1.0], []], "NaN"),
    ],
)
def test_lists_of_unequal_length_must_be_padded(kind, column, filler):
    with pytest.raises(ValueError, match=f"lists of unequal length, which must be padded; {filler} stands for"):
        cast(kind, column)
