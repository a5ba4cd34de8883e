"""The clients: the same answers over both doors, columns that take the model's dtypes, errors that say what is wrong."""

import contextlib
import os
import socket
import urllib.error
import urllib.request

import numpy as np
import pytest
import tensorflow as tf
from conftest import half_a_server

from tfmtl.serving.client import Client, RequestError, RestClient, TensorInfo
from tfmtl.serving.server import LocalServer

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
    assert connect().predict(columns)["click"].shape == (0, 1)


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
        ({"age": [1.5, 2.0]}, "'age' must hold DT_INT64: Received: 1.5 of type float"),
        ({"age": ["a", "b"]}, "'age' must hold DT_INT64"),
        ({"age": np.array([2**63], np.uint64)}, "'age' must hold DT_INT64: Received: 9223372036854775808"),
        ({"user": [1, 2]}, "'user' must hold DT_STRING"),
        ({"user": ["a", None]}, "'user' must hold DT_STRING: Received: None .*\"\" stands for a missing id"),
        ({"user": np.array([1, 2])}, "'user' must hold DT_STRING: Received: 1 of type int"),
        (
            {"price": [[1.0], [2.0, 3.0]]},
            "'price' must hold DT_FLOAT: Received: lists of unequal length, which must be padded",
        ),
        ({"size": [1]}, r"unknown columns \['size'\]"),
    ],
)
def test_columns_that_do_not_fit_are_refused_before_they_are_sent(connect, changed, message):
    with pytest.raises(ValueError, match=message):
        connect().predict({**COLUMNS, **changed})


def test_a_column_that_lacks(connect):
    with pytest.raises(RequestError, match=r"(INVALID_ARGUMENT|HTTP 400).*price"):
        connect().predict({"user": ["a"], "age": [1]})
    with pytest.raises(ValueError, match=r"must be one of \['[a-z].*'serving_default'"):
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


def save_version(base, version, inputs, outputs, dtype=tf.float32):
    """A model that gives the sum of its `inputs` under each of the `outputs`."""
    specs = {name: tf.TensorSpec((None,), dtype, name=name) for name in inputs}
    function = tf.function(lambda **x: dict.fromkeys(outputs, tf.add_n(list(x.values()))))
    root = tf.Module()
    tf.saved_model.save(root, str(base.parent / "staged"), signatures=function.get_concrete_function(**specs))
    base.mkdir(exist_ok=True)
    os.rename(base.parent / "staged", base / str(version))


@contextlib.contextmanager
def served_to(kind, base):
    """A server of a first version in `base`, from x to click, and a client of that kind."""
    save_version(base, 1, ["x"], ["click"])
    with (
        LocalServer(base, poll_interval=0) as server,
        kind(server.grpc_address if kind is Client else server.rest_url) as client,
    ):
        yield server, client


@pytest.mark.parametrize("kind", [Client, RestClient])
def test_a_client_follows_a_new_version_with_other_columns_and_heads(tmp_path, kind):
    base = tmp_path / "m"
    with served_to(kind, base) as (server, client):
        assert client.predict({"x": [1.0]})["click"].tolist() == [1.0]
        save_version(base, 2, ["x", "z"], ["click", "buy"])
        server.poll()
        answer = client.predict({"x": [1.0], "z": [2.0]})
        assert {name: y.tolist() for name, y in answer.items()} == {"click": [3.0], "buy": [3.0]}
        save_version(base, 3, ["x", "z"], ["click"])
        server.poll()
        assert list(client.predict({"x": [1.0], "z": [2.0]})) == ["click"]
        save_version(base, 4, ["x", "z"], ["click", "share"])
        server.poll()
        assert set(client.predict({"x": [1.0], "z": [2.0]})) == {"click", "share"}
        with pytest.raises(ValueError, match=r"unknown columns \['w'\]"):
            client.predict({"x": [1.0], "z": [2.0], "w": [0.0]})


@pytest.mark.parametrize("kind", [Client, RestClient])
def test_a_client_follows_a_new_version_with_another_dtype(tmp_path, kind):
    base = tmp_path / "m"
    with served_to(kind, base) as (server, client):
        assert client.predict({"x": [1]})["click"].tolist() == [1.0]
        save_version(base, 2, ["x"], ["click"], tf.int64)
        server.poll()
        for _ in range(2):
            answer = client.predict({"x": [2**53 + 1]})["click"]
            assert answer.dtype == np.int64 and answer.tolist() == [2**53 + 1]
        with pytest.raises(ValueError, match=r"'x' must hold DT_INT64: Received: 1.5"):
            client.predict({"x": [1.5]})


def test_a_refusal_for_another_reason_is_not_asked_again(connect, monkeypatch):
    client = connect()
    client.predict(COLUMNS)
    calls = []
    call = client._call
    monkeypatch.setattr(client, "_call", lambda *what: calls.append(what) or call(*what))
    with pytest.raises(RequestError, match=r"INVALID_ARGUMENT|HTTP 400"):
        client.predict({**COLUMNS, "age": [1, 2, 3]})
    assert len(calls) == 2  # the request, and what the signature is now


def test_no_proxy_is_asked_for_this_machine(connect, monkeypatch):
    monkeypatch.setattr(urllib.request, "_opener", None)  # it remembers the proxies of the first request of the process
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert connect(version=1, timeout=10).status() == {1: "AVAILABLE"}


def test_a_proxy_is_asked_for_other_machines(monkeypatch):
    monkeypatch.delenv("no_proxy", raising=False)
    with half_a_server(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno") as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        with pytest.raises(RequestError, match="HTTP 404: no"):
            RestClient("http://ranker.test", timeout=20).status()


def test_a_server_that_takes_too_long(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        for client in (Client(f"127.0.0.1:{port}", timeout=0.2), RestClient(f"http://127.0.0.1:{port}", timeout=0.2)):
            with client, pytest.raises(RequestError) as caught:
                client.status()
            assert caught.value.code == "DEADLINE_EXCEEDED"

    def connect(*_, **__):
        raise urllib.error.URLError(TimeoutError("timed out"))

    client = RestClient("http://127.0.0.1:9")
    monkeypatch.setattr(client._opener, "open", connect)
    with pytest.raises(RequestError, match="does not answer within 30"):
        client.status()


CUT = b"HTTP/1.1 %s\r\nContent-Length: 100\r\n\r\n{"


@pytest.mark.parametrize(
    ("answer", "reset"),
    [(b"", False), (b"", True), (b"SSH-2.0\r\n", False), (CUT % b"200 OK", False), (CUT % b"400 Bad Request", False)],
    ids=["nothing", "a reset", "no HTTP", "half an answer", "half an error"],
)
def test_a_server_that_goes_away_in_the_middle(answer, reset):
    with half_a_server(answer, reset) as url, pytest.raises(RequestError, match="does not answer") as caught:
        RestClient(url, timeout=20).status()
    assert caught.value.code == "UNAVAILABLE"


def test_outputs_may_be_chosen_over_grpc(served):
    with Client(served.address, model="ranker") as client:
        assert set(client.predict(COLUMNS, outputs=["buy"])) == {"buy"}


def test_no_rows_have_the_shape_of_the_signature(connect):
    for signature, name in (("scores_only", "scores"), ("classify", "classes"), ("regress", "outputs")):
        answer = connect().predict({"inputs": np.array([], object)}, signature=signature)[name]
        assert answer.shape == (0, 1) or (name == "classes" and answer.shape == (0, 2))
    assert connect().predict({"x": []}, signature="shorter")["head"].shape == (0,)


def test_scalars_stay_scalars(connect):
    answer = connect().predict({"x": np.array([1.0, 2.0])}, signature="rank_zero")["total"]
    assert answer.shape == () and answer == 3.0 and answer.dtype == np.float32
    assert connect().predict({"x": 2.5}, signature="any_float")["x_out"].shape == ()
    text = connect().predict({"s": b"\xff"}, signature="any_string")["s_out"]
    assert text.shape == () and text.item() == b"\xff" and text.dtype == object
