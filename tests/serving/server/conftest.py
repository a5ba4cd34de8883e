"""Servers to talk to: the local one, and the real one where `tensorflow_model_server` is on PATH."""

import contextlib
import shutil
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

import grpc
import pytest
import requests
from server_models import write_ranker
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from tfmtl.serving.protocol.contract import UNLIMITED
from tfmtl.serving.server import LocalServer

REAL_BINARY = "tensorflow_model_server"


class Served:
    """A running server with its stubs; `post` and `get` speak REST to it."""

    def __init__(self, address: str, rest_url: str):
        self.address, self.rest_url = address, rest_url
        self._channel = grpc.insecure_channel(address, options=UNLIMITED)
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self._channel)
        self._http = requests.Session()

    def post(self, path, json=None, **options):
        return self._http.post(self.rest_url + path, json=json, timeout=30, **options)

    def get(self, path, **options):
        return self._http.get(self.rest_url + path, timeout=30, **options)

    def close(self):
        self._http.close()
        self._channel.close()


@contextlib.contextmanager
def talking(server: LocalServer):
    served = Served(server.grpc_address, server.rest_url)
    try:
        yield served
    finally:
        served.close()


@contextlib.contextmanager
def half_a_server(answer, reset=False):
    """Reads a request, sends `answer`, and is gone: closed, or reset."""

    def serve():
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(answer)
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


@pytest.fixture(scope="session")
def exports(tmp_path_factory) -> list[Path]:
    """Two finished versions with scales 1 and 2, to be copied wherever a test needs one."""
    folder = tmp_path_factory.mktemp("exports")
    return [write_ranker(folder / f"scale_{scale}", 1, scale=float(scale)) for scale in (1, 2)]


@pytest.fixture(scope="session")
def publish(exports):
    """`publish(base, version, scale=1)` puts a version under a base path by one rename."""

    def publish(base: Path, version: int | str, *, scale: int = 1) -> Path:
        staged = base.parent / f".{base.name}-{version}"
        shutil.copytree(exports[scale - 1], staged)
        base.mkdir(parents=True, exist_ok=True)
        return staged.rename(base / str(version))

    return publish


@pytest.fixture(scope="session")
def models_config(tmp_path_factory, publish) -> Path:
    """Model `ranker` with versions 1 and 2, labels and all; model `other` with version 7."""
    folder = tmp_path_factory.mktemp("served")
    publish(folder / "ranker", 1, scale=1)
    publish(folder / "ranker", 2, scale=2)
    publish(folder / "other", 7)
    file = folder / "models.config"
    file.write_text(
        f"""
        model_config_list {{
          config {{
            name: "ranker"  base_path: "{folder}/ranker"  model_platform: "tensorflow"  # two versions at once
            model_version_policy {{ all {{}} }}
            version_labels {{ key: "stable" value: 1 }}
            version_labels {{ key: "canary" value: 2 }}
          }}
          config {{ name: "other"  base_path: "{folder}/other"  model_platform: "tensorflow" }}
        }}
        """
    )
    return file


@pytest.fixture(scope="session", params=["local", REAL_BINARY])
def served(request, models_config):
    """The server under contract."""
    if request.param == "local":
        with (
            LocalServer(models_config=models_config, allow_version_labels_for_unavailable_models=True) as server,
            talking(server) as served,
        ):
            yield served
        return
    if shutil.which(REAL_BINARY) is None:
        pytest.skip(f"{REAL_BINARY} is not on PATH")
    with _real_server(models_config) as served:
        yield served


@contextlib.contextmanager
def _real_server(models_config: Path):
    port, rest_port = _free_port(), _free_port()
    command = [
        REAL_BINARY,
        f"--port={port}",
        f"--rest_api_port={rest_port}",
        f"--model_config_file={models_config}",
        "--allow_version_labels_for_unavailable_models=true",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _await_port(rest_port)
            served = Served(f"127.0.0.1:{port}", f"http://127.0.0.1:{rest_port}")
            yield served
            served.close()
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _await_port(port: int, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.2)
    raise TimeoutError(f"nothing listens on port {port} after {seconds} s")
