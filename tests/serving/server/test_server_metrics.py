"""The Prometheus page: TensorFlow Serving's names, counted as it counts."""

import re

import pytest
from conftest import talking

from tfmtl.serving.client import Client, RequestError
from tfmtl.serving.server import LocalServer
from tfmtl.serving.server.server_metrics import REQUEST_COUNT, REQUEST_LATENCY, ServerMetrics

LINE = re.compile(
    r'(# TYPE [a-zA-Z_:][\w:]* (counter|histogram))|([a-zA-Z_:][\w:]*\{([a-zA-Z_]\w*="[^"]*",?)*\} [-+.e\d]+)'
)
COLUMNS = {"user": ["ann"], "age": [1], "price": [[1.0]]}


@pytest.fixture
def monitored(tmp_path, publish):
    publish(tmp_path / "m", 1)
    file = tmp_path / "monitoring.config"
    file.write_text("prometheus_config { enable: true }")
    with LocalServer(tmp_path / "m", monitoring_config=file) as server, talking(server) as served:
        yield served


def test_requests_are_counted_by_status_and_timed_if_they_succeed(monitored):
    with Client(monitored.address) as client:
        for _ in range(3):
            client.predict(COLUMNS)
        with pytest.raises(RequestError):
            client.predict(COLUMNS, outputs=["share"])
    monitored.post("/v1/models/default:predict", {"inputs": {}})
    monitored.post("/v1/models/default:predict", {"instances": [{"user": "a", "age": 1, "price": [1.0]}]})
    monitored.get("/v1/nothing")
    response = monitored.get("/monitoring/prometheus/metrics")
    assert response.headers["Content-Type"].startswith("text/plain")
    lines = response.text.splitlines()
    assert response.text.endswith("\n") and all(LINE.fullmatch(line) for line in lines)
    assert "# TYPE :tensorflow:serving:request_count counter" in lines
    assert ':tensorflow:serving:request_count{model_name="default",status="OK"} 4' in lines
    assert ':tensorflow:serving:request_count{model_name="default",status="INVALID_ARGUMENT"} 2' in lines
    assert ':tensorflow:serving:request_count{model_name="",status="INVALID_ARGUMENT"} 1' in lines
    labels = 'model_name="default",API="Predict",entrypoint="GRPC"'
    assert f":tensorflow:serving:request_latency_count{{{labels}}} 3" in lines
    assert f':tensorflow:serving:request_latency_bucket{{{labels},le="+Inf"}} 3' in lines
    labels = 'model_name="default",API="Predict",runtime="TF1"'
    assert f":tensorflow:serving:runtime_latency_count{{{labels}}} 4" in lines


def test_the_path_is_exact_and_off_by_default(tmp_path, publish, monitored):
    assert monitored.get("/monitoring/prometheus/metrics/").status_code == 404
    publish(tmp_path / "n", 1)
    with LocalServer(tmp_path / "n") as server, talking(server) as served:
        assert served.get("/monitoring/prometheus/metrics").status_code == 404


def test_a_histogram_adds_up():
    metrics = ServerMetrics()
    for value in (1.0, 10.0, 11.0, 1e12):
        metrics.observe(REQUEST_LATENCY, value, "m", "Predict", "GRPC")
    lines = metrics.page().splitlines()
    counts = [int(line.split()[-1]) for line in lines if "_bucket" in line]
    assert len(counts) == 34 and counts == sorted(counts)
    assert counts[0] == 1 and counts[1] == 3 and counts[-2] == 3 and counts[-1] == 4
    assert lines[-2].endswith("} 1e+12") and lines[-1].endswith("} 4")


def test_labels_are_escaped():
    metrics = ServerMetrics()
    metrics.count(REQUEST_COUNT, 'a"b\\c\nd', "OK")
    assert metrics.page().splitlines()[1] == f'{REQUEST_COUNT.name}{{model_name="a\\"b\\\\c\\nd",status="OK"}} 1'
