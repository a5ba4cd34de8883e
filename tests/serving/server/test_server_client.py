"""The clients: the same answers over both doors, columns that take the model's dtypes, errors that say what is wrong."""

import numpy as np
import pytest

from tfmtl.serving.client import Client, RequestError, RestClient, TensorInfo

COLUMNS = {"user": ["ann", "ęve"], "age": [10, 20], "price": [[1], [2]]}


@pytest.fixture(params=[Client, RestClient])
def connect(request, served):
    """`connect(**options)` makes a client of the model `ranker`."""
    address = served.address if request.param is Client else served.rest_url
    opened = []

    def connect(**options):
        opened.append(request.param(address, **{"model": "ranker", **options}))
        return opened[-1]

    yield connect
    for client in opened:
        client.close()


def test_columns_become_what_the_model_wants(connect):
    answer = connect(version=1).predict(COLUMNS)
    assert set(answer) == {"click", "buy"}
    assert answer["click"].dtype == np.float32
    np.testing.assert_allclose(answer["click"], [[2.01], [2.02]], rtol=1e-6)
    np.testing.assert_allclose(answer["buy"], 2 * answer["click"], rtol=1e-6)


@pytest.mark.parametrize(
    "columns",
    [
        {"user": np.array(["ann"]), "age": np.array([10], np.int8), "price": np.array([[1.0]])},
        {"user": np.array([b"ann"]), "age": np.array([10], np.uint64), "price": np.array([[1]], np.int64)},
        {"user": np.array(["ann"], object), "age": np.array([10]), "price": np.array([[1.0]], np.float16)},
    ],
)
def test_any_dtype_that_loses_nothing_will_do(connect, columns):
    np.testing.assert_allclose(connect(version=1).predict(columns)["click"], [[2.01]], rtol=1e-6)


def test_labels_versions_and_signatures(connect):
    stable = connect(label="stable").predict({"x": [[1.0, 2.0]]}, signature="single")
    assert stable["y"].tolist() == [3.0]
    assert connect(version=2).predict({"x": [[1.0, 2.0]]}, signature="single")["y"].tolist() == [6.0]
    assert connect().predict({"x": [[1.0, 2.0]]}, signature="single")["y"].tolist() == [6.0]


def test_strings_come_back_as_bytes(connect):
    values = [b"\xff\x00", "ü".encode()]
    columns = {"f64": [np.nan], "i32": [1], "i8": [1], "u8": [1], "u32": [1], "u64": [2**64 - 1], "flag": [True]}
    answer = connect().predict({**columns, "text": values}, signature="echo")
    assert answer["text_bytes"].tolist() == values
    assert answer["u64_out"].tolist() == [2**64 - 1] and np.isnan(answer["f64_out"][0])


def test_empty_columns(connect):
    columns = {"user": [], "age": [], "price": np.empty((0, 1))}
    assert connect().predict(columns)["click"].shape[0] == 0


def test_metadata_and_status(connect):
    client = connect()
    signature = client.metadata()["serving_default"]
    assert signature.inputs["price"] == TensorInfo("DT_FLOAT", (None, 1))
    assert signature.inputs["user"] == TensorInfo("DT_STRING", (None,))
    assert set(signature.outputs) == {"click", "buy"}
    assert client.metadata()["any_float"].inputs["x"].shape is None
    assert client.status() == {2: "AVAILABLE", 1: "AVAILABLE"}
    assert connect(version=1).status() == {1: "AVAILABLE"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"price": [1.0, 2.0]}, r"'price' must have the shape \(None, 1\). Received: shape \(2,\)"),
        ({"age": [1.5, 2.0]}, "'age' must hold DT_INT64: Received: float64"),
        ({"age": ["a", "b"]}, "'age' must hold DT_INT64"),
        ({"age": np.array([2**63], np.uint64)}, "'age' must hold DT_INT64"),
        ({"user": [1, 2]}, "'user' must hold DT_STRING"),
        ({"user": ["a", None]}, "'user' must hold DT_STRING: .*text or bytes"),
        ({"user": np.array([1, 2])}, "'user' must hold DT_STRING: Received: int64"),
        ({"price": [[1.0], [2.0, 3.0]]}, "'price' must hold DT_FLOAT: .*inhomogeneous"),
        ({"size": [1]}, r"unknown columns \['size'\]"),
    ],
)
def test_columns_that_do_not_fit_are_refused_before_they_are_sent(connect, changed, message):
    with pytest.raises(ValueError, match=message):
        connect().predict({**COLUMNS, **changed})


def test_a_column_that_lacks(connect):
    with pytest.raises(RequestError, match=r"(INVALID_ARGUMENT|HTTP 400).*price"):
        connect().predict({"user": ["a"], "age": [1]})
    with pytest.raises(ValueError, match=r"`signature` must be one of .*'serving_default'"):
        connect().predict(COLUMNS, signature="rank")


def test_what_the_server_refuses(connect):
    columns = {**COLUMNS, "age": [1, 2, 3]}
    with pytest.raises(RequestError, match=r"INVALID_ARGUMENT|HTTP 400"):
        connect().predict(columns)
    with pytest.raises(RequestError, match=r"(NOT_FOUND|HTTP 404): .*Latest\(nobody\)"):
        connect(model="nobody").predict(COLUMNS)
    with pytest.raises(ValueError, match="not both"):
        connect(version=1, label="stable")


@pytest.mark.parametrize(("make", "address"), [(Client, "127.0.0.1:9"), (RestClient, "http://127.0.0.1:9")])
def test_a_server_that_is_not_there(make, address):
    with make(address, timeout=2) as client, pytest.raises(RequestError, match=r"UNAVAILABLE|DEADLINE_EXCEEDED"):
        client.status()


def test_outputs_may_be_chosen_over_grpc(served):
    with Client(served.address, model="ranker") as client:
        assert set(client.predict(COLUMNS, outputs=["buy"])) == {"buy"}
