"""What lies beside the graph: warm-up requests, server configs, the model card."""

import json
import locale
import shutil

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from harness import ROOT
from small_ranker import SCHEMA, as_tensors, random_rows, small_model
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

from tfmtl.exporting import publishing, server_files
from tfmtl.exporting.export import export
from tfmtl.exporting.exported_model import load_schema
from tfmtl.exporting.model_card import CARD_FILE, CARD_JSON
from tfmtl.exporting.parity import check_parity
from tfmtl.exporting.score import SCORE
from tfmtl.exporting.served_signature import ServedSignature
from tfmtl.exporting.server_files import BATCH_SIZES, batch_sizes, named_versions, write_server_files
from tfmtl.exporting.warmup_requests import write_warmup
from tfmtl.serving.client import Client
from tfmtl.serving.protocol.config_protos import BatchingParameters, MonitoringConfig
from tfmtl.serving.protocol.contract import MAX_WARMUP_RECORDS, WARMUP_FILE
from tfmtl.serving.server import LocalServer
from tfmtl.typing import SERVED

EXPORT = ROOT / "export"
SIGNATURES = [*(name for name in SERVED if name != SCORE), "click", "buy", "watch"]


@pytest.fixture(scope="module")
def requests(exported):
    records = tf.data.TFRecordDataset(str(exported / WARMUP_FILE)).as_numpy_iterator()
    return [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]


def test_every_signature_is_warmed_up_in_every_batch_size(requests):
    sizes = {name: [] for name in SIGNATURES}
    for request in requests:
        first = next(iter(request.inputs.values()))
        sizes[request.model_spec.signature_name].append(first.tensor_shape.dim[0].size)
    assert sizes.pop("rank") == [1]
    assert all(found == list(BATCH_SIZES) for found in sizes.values())


def test_warm_up_sends_the_examples(requests, rows):
    request = next(
        r
        for r in requests
        if r.model_spec.signature_name == "serving_default" and tf.make_ndarray(r.inputs["city"]).size == 64
    )
    assert [city.decode() for city in tf.make_ndarray(request.inputs["city"])] == rows["city"].tolist()
    np.testing.assert_array_equal(tf.make_ndarray(request.inputs["price"]), rows["price"])


@pytest.mark.parametrize("batching", [None, "its own", "that of the repository"])
def test_a_server_loads_it_with_the_configs(exported, batching):
    """The server replays the warm-up file first, through its batcher where it has one, and would refuse the version."""
    base = exported.parent
    files = {None: None, "its own": base / "batching.config", "that of the repository": EXPORT / "batching.config"}
    options = {"batching_parameters": files[batching], "monitoring_config": base / "monitoring.config"}
    with LocalServer(base, name="ranker", **options) as server:
        answer = Client(server.grpc_address, model="ranker").predict(random_rows(3))
    assert {task: y.shape for task, y in answer.items()} == dict.fromkeys(["click", "buy", "watch", "score"], (3, 1))


def test_a_request_that_fails_is_found_before_a_server_finds_it(exported, tmp_path):
    request = prediction_log_pb2.PredictionLog()
    request.predict_log.request.model_spec.signature_name = "click"
    request.predict_log.request.inputs["inputs"].CopyFrom(tf.make_tensor_proto(["no such input"]))
    version = shutil.copytree(exported, tmp_path / "1")
    with tf.io.TFRecordWriter(str(version / WARMUP_FILE)) as writer:
        writer.write(request.SerializeToString())
    with pytest.raises(TypeError):
        check_parity(version, {"click": ServedSignature(as_tensors)}, [])


def test_never_more_requests_than_a_server_reads(tmp_path):
    anything = ServedSignature(lambda rows: {"x": tf.constant(0)})
    signatures = dict.fromkeys(map(str, range(600)), anything)
    assert write_warmup(tmp_path, signatures, {"x": np.zeros(1)}, BATCH_SIZES) == MAX_WARMUP_RECORDS


CONFIGS = {
    "models.config": model_server_config_pb2.ModelServerConfig,
    "batching.config": BatchingParameters,
    "monitoring.config": MonitoringConfig,
}


def parsed(folder, name):
    return text_format.Parse((folder / name).read_text(encoding="utf-8"), CONFIGS[name]())


def test_configs_are_what_a_server_parses(exported):
    base = exported.parent
    models = parsed(base, "models.config")
    (config,) = models.model_config_list.config
    assert (config.name, config.base_path, config.model_platform) == ("ranker", "/models/ranker", "tensorflow")
    batching = parsed(base, "batching.config")
    assert list(batching.allowed_batch_sizes) == sorted(batching.allowed_batch_sizes)
    assert batching.allowed_batch_sizes[-1] == batching.max_batch_size.value == BATCH_SIZES[-1]
    monitoring = parsed(base, "monitoring.config")
    assert monitoring.prometheus_config.enable and monitoring.prometheus_config.path.startswith("/")


def test_the_repositorys_configs_hold_the_same_options(exported):
    for name in CONFIGS:
        ours = parsed(EXPORT, name)
        if name == "batching.config":
            ours.ClearField("num_batch_threads")  # the container's CPUs, which an export does not know
        assert ours == parsed(exported.parent, name)


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("", BATCH_SIZES),
        ("max_batch_size { value: 100 }", (1, 8, 64)),
        ("max_batch_size { value: 32 } allowed_batch_sizes: 4 allowed_batch_sizes: 32", (4, 32)),
    ],
)
def test_warm_up_follows_an_edited_batching_config(tmp_path, text, sizes):
    assert batch_sizes(tmp_path) == BATCH_SIZES
    (tmp_path / "batching.config").write_text(text)
    assert batch_sizes(tmp_path) == sizes


def test_an_export_loads_with_the_smaller_batches_of_an_edited_config(tmp_path, rows):
    file = tmp_path / "ranker" / "batching.config"
    file.parent.mkdir()
    file.write_text("max_batch_size { value: 16 } allowed_batch_sizes: 4 allowed_batch_sizes: 16")
    export(small_model(), tmp_path / "ranker", SCHEMA, examples=rows, tasks=["click"])
    with LocalServer(tmp_path / "ranker", batching_parameters=file) as server, Client(server.grpc_address) as client:
        assert client.predict(random_rows(3))["click"].shape == (3, 1)


def test_a_batching_config_that_cannot_be_read(tmp_path):
    (tmp_path / "batching.config").write_text("max_batch_size: 128")
    with pytest.raises(ValueError, match=r"batching.config must be a BatchingParameters. Received: .*max_batch_size"):
        batch_sizes(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "max_batch_size { value: 512 } allowed_batch_sizes: 1 allowed_batch_sizes: 8",
            "last entry was 8; expected 512",
        ),
        (
            "max_batch_size { value: 8 } allowed_batch_sizes: -4 allowed_batch_sizes: 8",
            r"must increase. Received: \[-4, 8\]",
        ),
        ("max_batch_size { value: -1 }", "max_batch_size must be >= 1"),
    ],
)
def test_a_batching_config_that_a_server_refuses(tmp_path, text, message):
    (tmp_path / "batching.config").write_text(text)
    with pytest.raises(ValueError, match=f"batching.config: .*{message}"):
        batch_sizes(tmp_path)


def test_versions_that_a_config_names(tmp_path):
    assert named_versions(tmp_path) == set()
    write_server_files(tmp_path)
    assert named_versions(tmp_path) == set()
    config = model_server_config_pb2.ModelServerConfig()
    for labels, specific in (({"stable": 2, "canary": 5}, [2, 4]), ({}, [7])):
        model = config.model_config_list.config.add(
            name="ranker", base_path="/models/ranker", model_platform="tensorflow"
        )
        model.model_version_policy.specific.versions.extend(specific)
        model.version_labels.update(labels)
    (tmp_path / "models.config").write_text(text_format.MessageToString(config))
    assert named_versions(tmp_path) == {2, 4, 5, 7}
    (tmp_path / "models.config").write_text((EXPORT / "models-canary.config").read_text())
    assert named_versions(tmp_path) == {1, 2}
    (tmp_path / "models.config").write_text("model_config_list { config [")
    with pytest.raises(ValueError, match=r"models.config must be a ModelServerConfig. Received: "):
        named_versions(tmp_path)


def test_a_name_with_quotes(tmp_path):
    base = tmp_path / r'o"brien\s'
    base.mkdir()
    write_server_files(base)
    (config,) = parsed(base, "models.config").model_config_list.config
    assert config.name == base.name


def test_a_version_behind_a_label_outlives_newer_ones(tmp_path):
    base = tmp_path / "ranker"
    model = small_model()
    for _ in range(2):
        export(model, base, SCHEMA, tasks=["click"])
    text = (EXPORT / "models-canary.config").read_text().replace("value: 2", "value: 1").replace("versions: 2", "")
    (base / "models.config").write_text(text)
    assert export(model, base, SCHEMA, tasks=["click"], keep=1).name == "3"
    assert sorted(child.name for child in base.iterdir() if child.is_dir()) == ["1", "3"]


def test_an_export_takes_the_next_number_if_somebody_else_was_faster(tmp_path, monkeypatch):
    base = tmp_path / "ranker"
    original = publishing.publish

    def late(folder, where, version):
        if version == 1:
            (where / "1").mkdir()
            (where / "1" / "saved_model.pb").write_text("of somebody else")
        return original(folder, where, version)

    monkeypatch.setattr(publishing, "publish", late)
    published = export(small_model(), base, SCHEMA, tasks=["click"])
    assert published.name == "2" and json.loads((published / CARD_JSON).read_text())["version"] == 2
    with pytest.raises(FileExistsError, match="Version 1 exists already"):
        export(small_model(), base, SCHEMA, tasks=["click"], version=1)


def test_nothing_is_published_where_the_configs_cannot_be(tmp_path, monkeypatch):
    monkeypatch.setattr(server_files, "replacing", lambda target: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space left"):
        export(small_model(), tmp_path / "ranker", SCHEMA, tasks=["click"])
    assert not [path for path in tmp_path.rglob("*") if path != tmp_path / "ranker"]


def test_files_are_utf_8_in_every_locale(exported, tmp_path):
    before = locale.setlocale(locale.LC_CTYPE)
    locale.setlocale(locale.LC_CTYPE, "C")
    try:
        (tmp_path / "vélo").mkdir()
        write_server_files(tmp_path / "vélo")
        assert load_schema(exported) == SCHEMA
    finally:
        locale.setlocale(locale.LC_CTYPE, before)
    (config,) = parsed(tmp_path / "vélo", "models.config").model_config_list.config
    assert config.name == "vélo"


def test_a_config_that_was_edited_stays(tmp_path):
    (tmp_path / "ranker").mkdir()
    (tmp_path / "ranker" / "batching.config").write_text("max_batch_size { value: 7 }")
    write_server_files(tmp_path / "ranker")
    assert (tmp_path / "ranker" / "batching.config").read_text() == "max_batch_size { value: 7 }"
    assert (tmp_path / "ranker" / "models.config").exists()


def test_the_card_says_what_was_served_and_how_it_was_checked(exported):
    card = json.loads((exported / CARD_JSON).read_text())
    assert (card["name"], card["version"], card["data"]) == ("ranker", 1, "64 made-up rows")
    assert [task["name"] for task in card["tasks"]] == list(SCHEMA.task_names)
    assert list(card["signatures"]) == SIGNATURES
    assert card["signatures"]["rank"]["inputs"]["city"] == {"dtype": "string", "shape": [1]}
    assert card["signatures"]["serving_default"]["outputs"]["buy"] == {"dtype": "float32", "shape": [None, 1]}
    assert card["parity"]["example_rows"] == 64
    assert 0 <= max(card["parity"]["largest_difference"].values()) < 1e-4
    assert card["metrics"] == {"click": {"auc": 0.75, "gauc": None}}
    assert card["libraries"]["tensorflow"] == tf.__version__


def test_the_card_is_readable(exported):
    text = (exported / CARD_FILE).read_text()
    assert text.startswith("# ranker, version 1\n")
    assert "| click / auc | 0.75 |" in text and "| seen | Sequence | user | seen_item, seen_city |" in text
