"""What `TF_CONFIG` says is read before TensorFlow reads it, and who is missing is said."""

import json
import socket
import time

import pytest
import tensorflow as tf

from tfmtl.training.cluster import cluster, joining


def named(monkeypatch, *addresses, **task):
    config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": 0, **task}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))


def test_gives_the_addresses_of_each_role(monkeypatch):
    named(monkeypatch, "a:1", "b:2", index="1")
    assert cluster() == {"worker": ["a:1", "b:2"]}
    named(monkeypatch, "a:1", type="evaluator")
    assert cluster() == {"worker": ["a:1"]}
    monkeypatch.setenv("TF_CONFIG", "")
    assert cluster() == {}


@pytest.mark.parametrize(
    "given", ['{"cluster": {"worker": ["a:1"', '["a:1"]', '{"cluster": ["a:1"]}', '{"cluster": {"worker": 2}}']
)
def test_refuses_what_has_another_form(given, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", given)
    with pytest.raises(ValueError, match=r"`TF_CONFIG` must be JSON like .* Received: TF_CONFIG="):
        cluster()


@pytest.mark.parametrize("task", [{"index": 2}, {"index": -1}, {"type": "chief"}, {"type": None}])
def test_refuses_a_place_that_is_none(task, monkeypatch):
    named(monkeypatch, "a:1", "b:2", **task)
    with pytest.raises(ValueError, match=r"with a `task` among \[\('worker', 0\), \('worker', 1\)\]"):
        cluster()


def test_refuses_one_address_for_two(monkeypatch):
    named(monkeypatch, "a:1", "a:1")
    with pytest.raises(ValueError, match="an address of its own"):
        cluster()


def test_says_who_is_missing_for_as_long_as_it_waits(monkeypatch, capfd):
    """TensorFlow waits with Python at a standstill, so another process says it."""
    with socket.create_server(("localhost", 0)) as there, socket.socket() as elsewhere:
        elsewhere.bind(("localhost", 0))  # and does not listen
        missing = f"localhost:{elsewhere.getsockname()[1]}"
        named(monkeypatch, f"localhost:{there.getsockname()[1]}", missing)
        said, deadline = "", time.monotonic() + 60
        with joining(seconds=0.01):
            while said.count("\n") < 2 and time.monotonic() < deadline:
                said += capfd.readouterr().err
    first, second, *_ = said.splitlines()
    assert first.endswith(f"seconds: nobody answers at {missing}") and second.endswith(missing)
    said = capfd.readouterr().err
    time.sleep(0.1)
    assert not capfd.readouterr().err


def test_says_where_it_cannot_listen(monkeypatch):
    named(monkeypatch, "a:1")
    with pytest.raises(OSError, match=r"cannot listen .* its port is taken.*a:1"), joining():
        raise tf.errors.UnknownError(None, None, "Could not start gRPC server")
    with pytest.raises(tf.errors.UnknownError, match="something else"), joining():
        raise tf.errors.UnknownError(None, None, "something else")
