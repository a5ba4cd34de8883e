"""Versions come and go while requests are answered."""

import contextlib
import shutil
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from conftest import talking
from google.protobuf import text_format
from tensorflow_serving.apis import get_model_status_pb2, model_management_pb2, model_pb2, predict_pb2

from tfmtl.serving.client import Client, RequestError, RestClient
from tfmtl.serving.protocol.tensors import from_proto, to_proto
from tfmtl.serving.server import LocalServer, ServerStartError, local_server

COLUMNS = {"user": ["eve"], "age": [0], "price": [[1.0]]}


def states(server, name="default"):
    return Client(server.grpc_address, model=name).status()


def clicked(server, **options):
    with Client(server.grpc_address, **options) as client:
        return float(client.predict(COLUMNS)["click"][0, 0])


def test_a_new_version_takes_over_and_the_old_one_ends(tmp_path, publish):
    publish(tmp_path / "m", 1)
    with LocalServer(tmp_path / "m", poll_interval=0) as server:
        assert clicked(server) == 1.0
        publish(tmp_path / "m", 2, scale=2)
        server.poll()
        assert clicked(server) == 2.0
        assert states(server) == {2: "AVAILABLE", 1: "END"}
        with pytest.raises(RequestError, match="NOT_FOUND"):
            clicked(server, version=1)


def test_the_clock_finds_new_versions(tmp_path, publish):
    publish(tmp_path / "m", 1)
    with LocalServer(tmp_path / "m", poll_interval=0.05) as server:
        publish(tmp_path / "m", 2, scale=2)
        deadline = time.monotonic() + 30
        while clicked(server) != 2.0:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_lower_number_is_not_taken(tmp_path, publish):
    publish(tmp_path / "m", 5)
    with LocalServer(tmp_path / "m", poll_interval=0) as server:
        publish(tmp_path / "m", 4, scale=2)
        server.poll()
        assert states(server) == {5: "AVAILABLE"}


def test_contents_of_a_loaded_version_are_never_read_again(tmp_path, publish):
    publish(tmp_path / "m", 1)
    with LocalServer(tmp_path / "m", poll_interval=0) as server:
        shutil.rmtree(tmp_path / "m" / "1")
        publish(tmp_path / "m", 1, scale=2)
        server.poll()
        assert clicked(server) == 1.0


def test_a_failed_version_changes_nothing_until_its_folder_goes(tmp_path, publish):
    base = tmp_path / "m"
    publish(base, 1)
    with LocalServer(base, poll_interval=0) as server:
        (base / "2").mkdir()
        server.poll()
        assert clicked(server) == 1.0
        assert states(server) == {2: "END", 1: "AVAILABLE"}
        with talking(server) as served:
            request = get_model_status_pb2.GetModelStatusRequest(model_spec=model_pb2.ModelSpec(name="default"))
            failed, _ = served.models.GetModelStatus(request).model_version_status
            assert failed.status.error_code != 0 and "saved_model.pb" in failed.status.error_message
        shutil.rmtree(base / "2")
        publish(base, "2.tmp", scale=2)
        (base / "2").mkdir()
        (base / "2").rmdir()
        (base / "2.tmp").rename(base / "2")
        server.poll()  # the number never left the disk between two looks: it stays given up
        assert clicked(server) == 1.0
        (base / "2").rename(base / "2.tmp")
        server.poll()
        (base / "2.tmp").rename(base / "2")
        server.poll()
        assert clicked(server) == 2.0


def test_a_version_without_variables_loads_and_answers_failed_precondition(tmp_path, publish):
    shutil.rmtree(publish(tmp_path / "m", 1) / "variables")
    with LocalServer(tmp_path / "m", poll_interval=0) as server, pytest.raises(RequestError) as caught:
        clicked(server)
    assert caught.value.code == "FAILED_PRECONDITION"


def test_a_failed_load_is_tried_again(tmp_path, publish):
    base = tmp_path / "m"
    publish(base, 1)
    with LocalServer(base, poll_interval=0, max_load_retries=50, load_retry_interval=0.1) as server:
        (base / "2").mkdir()
        poll = threading.Thread(target=server.poll)
        poll.start()
        time.sleep(0.3)
        assert states(server)[2] == "LOADING"
        (base / "2").rmdir()
        publish(base, 2, scale=2)
        poll.join(timeout=30)
        assert clicked(server) == 2.0


def test_no_folder_left_unloads_the_model_and_it_comes_back(tmp_path, publish):
    base = tmp_path / "m"
    version = publish(base, 1)
    with LocalServer(base, poll_interval=0) as server:
        version.rename(tmp_path / "aside")
        server.poll()
        assert states(server) == {1: "END"}
        with pytest.raises(RequestError, match="NOT_FOUND"):
            clicked(server)
        (tmp_path / "aside").rename(version)
        server.poll()
        assert clicked(server) == 1.0


def test_a_missing_base_path_stops_the_round_for_every_model(tmp_path, publish):
    publish(tmp_path / "a", 1)
    publish(tmp_path / "b", 1)
    with LocalServer({"a": tmp_path / "a", "b": tmp_path / "b"}, poll_interval=0) as server:
        publish(tmp_path / "a", 2, scale=2)
        (tmp_path / "b").rename(tmp_path / "away")
        server.poll()
        assert states(server, "a") == {1: "AVAILABLE"} and states(server, "b") == {1: "AVAILABLE"}
        (tmp_path / "away").rename(tmp_path / "b")
        server.poll()
        assert clicked(server, model="a") == 2.0


def test_policies_and_labels(tmp_path, publish):
    base = tmp_path / "m"
    for version in (1, 2, 3):
        publish(base, version, scale=1 if version == 1 else 2)
    file = tmp_path / "models.config"
    file.write_text(config(base, "model_version_policy { specific { versions: 1 versions: 3 } }"))
    with LocalServer(models_config=file, poll_interval=0) as server:
        assert states(server, "ranker") == {3: "AVAILABLE", 1: "AVAILABLE"}
        assert clicked(server, model="ranker") == 2.0
        assert clicked(server, model="ranker", version=1) == 1.0


def config(base, more="", name="ranker"):
    return (
        f'model_config_list {{ config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" {more} }} }}'
    )


LABEL = 'version_labels { key: "stable" value: 1 }'


def test_labels_at_the_start_need_the_flag(tmp_path, publish):
    publish(tmp_path / "m", 1)
    file = tmp_path / "models.config"
    file.write_text(config(tmp_path / "m", LABEL))
    with pytest.raises(ServerStartError, match=r"FAILED_PRECONDITION.*stable.*version 1"):
        LocalServer(models_config=file).start()
    with LocalServer(models_config=file, allow_version_labels_for_unavailable_models=True) as server:
        assert clicked(server, model="ranker", label="stable") == 1.0


def test_the_models_config_is_read_again_and_a_bad_one_is_not_followed(tmp_path, publish, caplog):
    publish(tmp_path / "m", 1)
    publish(tmp_path / "n", 1, scale=2)
    file = tmp_path / "models.config"
    file.write_text(config(tmp_path / "m"))
    with LocalServer(models_config=file, poll_interval=0, models_config_poll_interval=0.05) as server:
        file.write_text("model_config_list {")
        time.sleep(0.3)
        assert clicked(server, model="ranker") == 1.0
        assert "not followed" in caplog.text
        file.write_text(config(tmp_path / "n", name="other"))
        deadline = time.monotonic() + 30
        while states_or_none(server, "other") != {1: "AVAILABLE"} or states(server, "ranker") != {1: "END"}:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def states_or_none(server, name):
    try:
        return states(server, name)
    except RequestError:
        return None


def reload(served, text):
    request = model_management_pb2.ReloadConfigRequest()
    text_format.Parse(text, request.config)
    return served.models.HandleReloadConfigRequest(request, timeout=60)


def test_reload_replaces_everything_and_moves_labels(tmp_path, publish):
    for version in (1, 2):
        publish(tmp_path / "m", version, scale=version)
    both = "model_version_policy { all {} }"
    with LocalServer({"old": tmp_path / "m"}, poll_interval=0) as server, talking(server) as served:
        response = reload(served, config(tmp_path / "m", both))
        assert response.status.error_code == 0
        assert states(server, "ranker") == {2: "AVAILABLE", 1: "AVAILABLE"}
        assert states(server, "old") == {2: "END"}
        reload(served, config(tmp_path / "m", both + LABEL))
        assert clicked(server, model="ranker", label="stable") == 1.0
        reload(served, config(tmp_path / "m", both + LABEL.replace("1", "2")))
        assert clicked(server, model="ranker", label="stable") == 2.0
        reload(served, "model_config_list { }")
        assert states(server, "ranker") == {2: "END", 1: "END"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", grpc.StatusCode.INVALID_ARGUMENT),
        ("custom_model_config { }", grpc.StatusCode.INVALID_ARGUMENT),
        (config("relative/path"), grpc.StatusCode.INVALID_ARGUMENT),
        (config("/m").replace('model_platform: "tensorflow"', ""), grpc.StatusCode.INVALID_ARGUMENT),
        (config("/m", LABEL), grpc.StatusCode.FAILED_PRECONDITION),
    ],
)
def test_a_reload_that_is_rejected_changes_nothing(tmp_path, publish, text, code):
    publish(tmp_path / "m", 1)
    with LocalServer(tmp_path / "m", poll_interval=0) as server, talking(server) as served:
        with pytest.raises(grpc.RpcError) as caught:
            reload(served, text)
        assert caught.value.code() == code
        assert clicked(server) == 1.0


def test_a_reload_waits_for_new_models_and_says_which_did_not_come(tmp_path, publish):
    publish(tmp_path / "m", 1)
    with (
        LocalServer(tmp_path / "m", poll_interval=0, start_timeout=0.3) as server,
        talking(server) as served,
        pytest.raises(grpc.RpcError, match=r"did not become available.*ranker"),
    ):
        reload(served, config(tmp_path / "nowhere"))


def test_a_start_that_fails_says_why(tmp_path):
    with pytest.raises(ServerStartError, match=r"default \(.*does not exist"):
        LocalServer(tmp_path / "nowhere", start_timeout=0).start()
    (tmp_path / "m" / "1").mkdir(parents=True)
    with pytest.raises(ServerStartError, match=r"default \(version 1: .*saved_model.pb"):
        LocalServer(tmp_path / "m").start()
    with pytest.raises(ValueError, match="one of them"):
        LocalServer()


def test_a_taken_port_is_an_error(tmp_path, publish):
    publish(tmp_path / "m", 1)
    with LocalServer(tmp_path / "m") as server:
        for taken in ({"grpc_port": port_of(server.grpc_address)}, {"rest_port": port_of(server.rest_url)}):
            with pytest.raises(ServerStartError, match="did not start"):
                LocalServer(tmp_path / "m", **taken).start()


@pytest.mark.parametrize("port", [-1, 65536, 70000])
@pytest.mark.parametrize("door", ["grpc_port", "rest_port"])
def test_a_port_that_there_is_not(tmp_path, door, port):
    with pytest.raises(ValueError, match=rf"`{door}` must be in 0..65535. Received: {door}={port}"):
        LocalServer(tmp_path / "m", **{door: port})


def has_ipv6():
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


@pytest.mark.skipif(not has_ipv6(), reason="needs IPv6")
@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_ipv6_address_stands_in_brackets(tmp_path, publish, host):
    publish(tmp_path / "m", 1)
    with LocalServer(tmp_path / "m", host=host) as server:
        assert server.grpc_address.startswith("[::1]:") and server.rest_url.startswith("http://[::1]:")
        assert clicked(server) == 1.0
        assert RestClient(server.rest_url).status() == {1: "AVAILABLE"}


def port_of(address):
    return int(address.rpartition(":")[2])


def test_rest_may_be_off(tmp_path, publish):
    publish(tmp_path / "m", 1)
    with LocalServer(tmp_path / "m", rest_port=None) as server:
        assert clicked(server) == 1.0


def test_a_stop_lets_requests_finish(tmp_path, publish):
    publish(tmp_path / "m", 1)
    server = LocalServer(tmp_path / "m").start()
    with talking(server) as served, ThreadPoolExecutor(1) as pool:
        request = predict_pb2.PredictRequest(model_spec=model_pb2.ModelSpec(name="default", signature_name="any_float"))
        request.inputs["x"].CopyFrom(to_proto(np.zeros(2_000_000, np.float32)))
        answer = pool.submit(served.prediction.Predict, request)
        time.sleep(0.05)
        server.stop()
        assert len(answer.result().outputs["x_out"].float_val) == 2_000_000
    with pytest.raises(RequestError, match="UNAVAILABLE"):
        clicked(server)


def await_refusal(port, seconds=10):
    deadline = time.monotonic() + seconds
    with contextlib.suppress(ConnectionRefusedError):
        while time.monotonic() < deadline:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            time.sleep(0.02)
        raise TimeoutError(f"port {port} is still open")


def test_a_stop_closes_both_ports_before_it_waits(tmp_path, publish, monkeypatch):
    monkeypatch.setattr(local_server, "_GRACE", 30.0)
    publish(tmp_path / "m", 1)
    server = LocalServer(tmp_path / "m").start()
    entered, leave = threading.Semaphore(0), threading.Event()
    status = server._handlers.status

    def held(request):
        entered.release()
        assert leave.wait(60)
        return status(request)

    monkeypatch.setattr(server._handlers, "status", held)
    with talking(server) as served, ThreadPoolExecutor(3) as pool:
        rest = pool.submit(served.get, "/v1/models/default")
        assert entered.acquire(timeout=30)
        stopped = pool.submit(server.stop)
        await_refusal(port_of(server.rest_url))
        await_refusal(port_of(server.grpc_address))
        assert not rest.done() and not stopped.done()
        leave.set()
        assert rest.result(60).status_code == 200
        stopped.result(60)


def swap_under_load(tmp_path, publish, *, swaps, batching_parameters=None):
    """Clients ask, over both doors, while versions are published; returns what was answered by which version."""
    base = tmp_path / "m"
    publish(base, 1)
    stop = threading.Event()
    seen = set()

    def ask_grpc(server):
        request = predict_pb2.PredictRequest(model_spec=model_pb2.ModelSpec(name="default"))
        for name, value in {"user": np.array([b"eve"], object), "age": np.array([0]), "price": np.ones((1, 1))}.items():
            request.inputs[name].CopyFrom(to_proto(value.astype(np.float32) if name == "price" else value))
        answers = []
        with talking(server) as served:
            while not stop.is_set():
                response = served.prediction.Predict(request, timeout=60)
                click = float(from_proto(response.outputs["click"])[0, 0])
                answers.append((response.model_spec.version.value, click))
                seen.add(response.model_spec.version.value)
        return answers

    def ask_rest(server):
        client, answers = RestClient(server.rest_url, timeout=60), []
        while not stop.is_set():
            answers.append((None, float(client.predict(COLUMNS)["click"][0, 0])))
        return answers

    with (
        LocalServer(base, poll_interval=0.02, batching_parameters=batching_parameters) as server,
        ThreadPoolExecutor(8) as pool,
    ):
        clients = [pool.submit(ask, server) for ask in [ask_grpc] * 6 + [ask_rest] * 2]
        try:
            for version in range(2, swaps + 2):
                publish(base, version, scale=2 - version % 2)
                while version not in seen:
                    assert not any(client.done() for client in clients)
                    time.sleep(0.02)
                if version > 3:
                    shutil.rmtree(base / str(version - 2))
        finally:
            stop.set()
        answers = [answer for client in clients for answer in client.result(timeout=120)]
        assert set(states(server).values()) == {"AVAILABLE", "END"}
    return answers


def assert_no_answer_is_torn(answers, swaps):
    for version, click in answers:
        assert click in (1.0, 2.0)
        assert version is None or click == 2 - version % 2
    assert {version for version, _ in answers if version} >= set(range(2, swaps + 2))


def test_no_request_fails_while_versions_are_swapped(tmp_path, publish):
    assert_no_answer_is_torn(swap_under_load(tmp_path, publish, swaps=4), 4)


@pytest.mark.slow
@pytest.mark.parametrize("batching", [False, True])
def test_no_request_fails_while_twenty_versions_are_swapped(tmp_path, publish, batching):
    file = tmp_path / "batching.config"
    file.write_text("max_batch_size { value: 16 } batch_timeout_micros { value: 1000 }")
    answers = swap_under_load(tmp_path, publish, swaps=20, batching_parameters=file if batching else None)
    assert len(answers) > 1000
    assert_no_answer_is_torn(answers, 20)
