"""The files of `export/`: configs against their protos, YAML against itself, clients and checks against a server."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import urllib.request

import numpy as np
import pytest
import yaml
from conftest import half_a_server, talking
from harness import ROOT

from tfmtl.serving.server import LocalServer
from tfmtl.serving.server.config_files import read_batching_options, read_metrics_path, read_models_config
from tfmtl.serving.server.version_policies import Latest, Specific

EXPORT = ROOT / "export"
ROWS = {"instances": [{"user": "ann", "age": 10, "price": [1.0]}, {"user": "eve", "age": 20, "price": [2.0]}]}
CLICKS = [[2.01], [2.02]]


@pytest.fixture
def ranker(tmp_path, publish):
    publish(tmp_path / "ranker", 1)
    with LocalServer({"ranker": tmp_path / "ranker"}, poll_interval=0) as server:
        yield server


@pytest.fixture
def rows_file(tmp_path):
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(ROWS))
    return file


def run(*command):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120, env=environment)


def compose():
    return yaml.safe_load((EXPORT / "docker-compose.yaml").read_text())["services"]["serving"]


def manifests():
    return {(item["kind"], item["metadata"]["name"]): item for item in yaml.safe_load_all(kubernetes_text())}


def kubernetes_text():
    return (EXPORT / "kubernetes.yaml").read_text()


def container():
    return manifests()["Deployment", "ranker-serving"]["spec"]["template"]["spec"]["containers"][0]


def flags(arguments):
    return dict(argument.lstrip("-").partition("=")[::2] for argument in arguments)


def test_configs_are_what_the_server_reads():
    (model,) = read_models_config(EXPORT / "models.config")
    assert (model.name, model.policy) == ("ranker", Latest(1))
    (canary,) = read_models_config(EXPORT / "models-canary.config")
    assert canary.policy == Specific((1, 2)) and canary.labels == {"stable": 1, "canary": 2}
    assert read_batching_options(EXPORT / "batching.config").num_threads == 2
    assert read_metrics_path(EXPORT / "monitoring.config") == "/monitoring/prometheus/metrics"


def test_the_config_map_holds_the_same_configs():
    held = manifests()["ConfigMap", "ranker-serving"]["data"]
    assert held == {name: (EXPORT / name).read_text() for name in ("models.config", "monitoring.config")}


def test_images_are_pinned_to_the_tensorflow_that_is_tested():
    (pinned,) = re.findall(r"^tensorflow==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert compose()["image"] == container()["image"] == f"tensorflow/serving:{pinned}"
    assert f"tensorflow/serving:{pinned}" in (EXPORT / "README.md").read_text()


def test_flags_name_files_that_are_there_and_threads_that_fit():
    for given, folder in ((flags(compose()["command"]), EXPORT), (flags(container()["args"]), None)):
        for flag in ("model_config_file", "monitoring_config_file"):
            name = given[flag].removeprefix("/config/")
            assert (folder / name).exists() if folder else name in manifests()["ConfigMap", "ranker-serving"]["data"]
        assert given["tensorflow_intra_op_parallelism"] == "2"
        assert int(given["model_config_file_poll_wait_seconds"]) > 0
        assert given["allow_version_labels_for_unavailable_models"] in ("", "true")  # labels survive a restart
        assert "enable_batching" not in given and "batching_parameters_file" not in given
    assert compose()["deploy"]["resources"]["limits"]["cpus"] == container()["resources"]["limits"]["cpu"] == "2"


def test_mounts_are_folders_and_cannot_be_written():
    mounts = {mount["name"]: mount for mount in container()["volumeMounts"]}
    assert all(mount["readOnly"] and "subPath" not in mount for mount in mounts.values())
    assert mounts["models"]["mountPath"] == "/models" and mounts["config"]["mountPath"] == "/config"
    assert all(volume.endswith(":ro") for volume in compose()["volumes"])


def test_services_select_the_pods_and_their_ports():
    deployment = manifests()["Deployment", "ranker-serving"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    assert deployment["selector"]["matchLabels"] == labels and ports == {"grpc": 8500, "rest": 8501}
    for name in ("ranker-grpc", "ranker-rest"):
        service = manifests()["Service", name]["spec"]
        assert service["selector"] == labels
        assert ports[service["ports"][0]["targetPort"]] == service["ports"][0]["port"]
    assert manifests()["Service", "ranker-grpc"]["spec"]["clusterIP"] == "None"  # headless
    assert manifests()["PodDisruptionBudget", "ranker-serving"]["spec"]["selector"]["matchLabels"] == labels


def test_a_start_has_minutes_and_a_stop_time_to_drain():
    probe = container()["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 300
    template = manifests()["Deployment", "ranker-serving"]["spec"]["template"]["spec"]
    assert template["terminationGracePeriodSeconds"] > int(container()["lifecycle"]["preStop"]["exec"]["command"][1])


def test_probes_tell_ready_from_not(ranker, tmp_path):
    path = container()["readinessProbe"]["httpGet"]["path"]
    assert container()["startupProbe"]["httpGet"]["path"] == path
    with talking(ranker) as served:
        assert served.get(path).status_code == 200
        (tmp_path / "ranker" / "1").rename(tmp_path / "gone")
        ranker.poll()
        assert served.get(path).status_code == 404


def test_the_compose_health_check_tells_ready_from_not(ranker, tmp_path):
    port = ranker.rest_url.rpartition(":")[2]
    kind, *command = compose()["healthcheck"]["test"]
    assert kind == "CMD"
    command = [part.replace("$$", "$").replace("8501", port) for part in command]
    assert run(*command).returncode == 0
    (tmp_path / "ranker" / "1").rename(tmp_path / "gone")
    ranker.poll()
    assert run(*command).returncode != 0
    assert run(*[part.replace(port, "9") for part in command]).returncode != 0


def test_the_smoke_test_passes_and_fails(ranker, tmp_path):
    done = run(sys.executable, EXPORT / "smoke_test.py", ranker.rest_url, "ranker", "--requests", 3)
    assert done.returncode == 0, done.stderr
    assert "ranker version 1 answers with buy, click" in done.stdout
    missing = run(sys.executable, EXPORT / "smoke_test.py", ranker.rest_url, "nobody")
    assert missing.returncode == 1 and "HTTP 404" in missing.stderr and "Traceback" not in missing.stderr
    away = run(sys.executable, EXPORT / "smoke_test.py", "http://127.0.0.1:9", "ranker")
    assert away.returncode == 1 and "does not answer" in away.stderr
    (tmp_path / "ranker" / "1").rename(tmp_path / "gone")
    ranker.poll()
    ended = run(sys.executable, EXPORT / "smoke_test.py", ranker.rest_url, "ranker")
    assert ended.returncode == 1 and "no version of ranker is available" in ended.stderr
    never = run(sys.executable, EXPORT / "smoke_test.py", ranker.rest_url, "ranker", "--requests", 0)
    assert never.returncode == 2 and "--requests must be >= 1. Received: 0" in never.stderr


def test_the_rest_client(ranker, rows_file):
    done = run(sys.executable, EXPORT / "client_rest.py", ranker.rest_url, "ranker", rows_file)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose([row["click"] for row in json.loads(done.stdout)], CLICKS, rtol=1e-6)
    refused = run(sys.executable, EXPORT / "client_rest.py", ranker.rest_url, "nobody", rows_file)
    assert refused.returncode == 1 and refused.stderr.startswith("HTTP 404: Servable not found")
    away = run(sys.executable, EXPORT / "client_rest.py", "http://127.0.0.1:9", "ranker", rows_file)
    assert away.returncode == 1 and away.stderr.startswith("http://127.0.0.1:9 does not answer: ")
    assert away.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"502 Bad Gateway\r\nContent-Length: 5\r\n\r\n<b>no", "HTTP 502: <b>no"),
        (b"200 OK\r\nContent-Length: 5\r\n\r\n<b>no", "is no TensorFlow Serving"),
        (b"200 OK\r\nContent-Length: 9\r\n\r\n<b>no", "does not answer"),
    ],
    ids=["an error", "an answer", "half an answer"],
)
def test_the_rest_client_meets_something_else(answer, told):
    client = runpy.run_path(str(EXPORT / "client_rest.py"))
    with half_a_server(b"HTTP/1.1 " + answer) as url, pytest.raises(client["RequestFailed"], match=told):
        client["predict"](url, "ranker", ROWS)


def test_the_grpc_client(ranker, rows_file, monkeypatch, capsys):
    def ask(model):
        # In this process: a new one would import TensorFlow first, which the stubs need.
        monkeypatch.setattr(sys, "argv", ["client_grpc.py", ranker.grpc_address, model, str(rows_file)])
        runpy.run_path(str(EXPORT / "client_grpc.py"), run_name="__main__")

    ask("ranker")
    np.testing.assert_allclose(json.loads(capsys.readouterr().out)["click"], CLICKS, rtol=1e-6)
    with pytest.raises(SystemExit, match="NOT_FOUND: Servable not found"):
        ask("nobody")
    for rows, told in [
        ([{"user": "ann", "age": 10}, ROWS["instances"][1]], r"column 'price' is missing in rows \[0\]"),
        ([{**ROWS["instances"][0], "age": "ten"}], "column 'age' must hold int64: "),
    ]:
        rows_file.write_text(json.dumps({"instances": rows}))
        with pytest.raises(SystemExit, match=told):
            ask("ranker")


@pytest.mark.parametrize("client", ["client_rest.py", "client_grpc.py"])
def test_the_clients_ask_no_proxy_for_this_machine(ranker, monkeypatch, client):
    monkeypatch.setattr(urllib.request, "_opener", None)  # it remembers the proxies of the first request of the process
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    predict = runpy.run_path(str(EXPORT / client))["predict"]
    if client == "client_rest.py":
        assert len(predict(ranker.rest_url, "ranker", ROWS)) == 2
    else:
        np.testing.assert_allclose(
            predict(ranker.grpc_address, "ranker", ROWS["instances"])["click"], CLICKS, rtol=1e-6
        )


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_curl_example(ranker, rows_file):
    done = run(EXPORT / "predict.sh", ranker.rest_url, "ranker", rows_file)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose([row["click"] for row in json.loads(done.stdout)["predictions"]], CLICKS, rtol=1e-6)
    refused = run(EXPORT / "predict.sh", ranker.rest_url, "nobody", rows_file)
    assert refused.returncode != 0 and "Servable not found" in refused.stdout
