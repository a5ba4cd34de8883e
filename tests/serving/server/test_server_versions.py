"""Which folders are versions, which of them are wanted, and what configuration files may say."""

from pathlib import Path

import pytest

from tfmtl.serving.protocol.batching_options import BatchingOptions
from tfmtl.serving.protocol.version_folders import describe_base_path, find_versions, parse_version
from tfmtl.serving.server.config_files import read_batching_options, read_metrics_path, read_models_config
from tfmtl.serving.server.model_config import ModelConfig
from tfmtl.serving.server.serving_error import Code, ServingError
from tfmtl.serving.server.version_policies import All, Latest, Specific


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("1", 1),
        ("00000123", 123),
        ("-1", -1),
        ("+5", 5),
        (str(2**63 - 1), 2**63 - 1),
        (str(2**63), None),
        ("20261126212400000000000", None),
        ("9" * 5000, None),
        ("v1", None),
        ("1.tmp", None),
        (".1", None),
        ("tmp-1", None),
        ("1_000", None),
        ("\uff11", None),
        ("", None),
    ],
)
def test_names_of_versions(name, version):
    assert parse_version(name) == version


def test_only_names_are_looked_at(tmp_path):
    (tmp_path / "3").touch()
    (tmp_path / "7").mkdir()
    (tmp_path / "staging-8").mkdir()
    assert find_versions(tmp_path) == {3: tmp_path / "3", 7: tmp_path / "7"}


def test_one_of_two_names_of_a_number_wins(tmp_path, caplog):
    (tmp_path / "1").mkdir()
    (tmp_path / "001").mkdir()
    assert find_versions(tmp_path) == {1: tmp_path / "001"}
    assert "both version 1" in caplog.text


def test_policies(tmp_path, caplog):
    found = {version: tmp_path / str(version) for version in (1, 2, 10)}
    assert list(Latest().select(found)) == [10]
    assert list(Latest(2).select(found)) == [2, 10]
    assert set(All().select(found)) == {1, 2, 10}
    assert set(Specific((2, 11)).select(found)) == {2}
    assert "[11]" in caplog.text


def test_describe_names_the_usual_mistakes(tmp_path):
    assert "does not exist" in describe_base_path(tmp_path / "nowhere")
    assert "holds nothing" in describe_base_path(tmp_path)
    (tmp_path / "v1").mkdir()
    assert "holds v1" in describe_base_path(tmp_path)
    (tmp_path / "saved_model.pb").touch()
    assert "is itself a version" in describe_base_path(tmp_path)


def models_config(tmp_path, text):
    file = tmp_path / "models.config"
    file.write_text(text)
    return file


def entry(more="", name="ranker", path="/models/ranker", platform='model_platform: "tensorflow"'):
    return f'config {{ name: "{name}" base_path: "{path}" {platform} {more} }}'


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("", Latest(1)),
        ("model_version_policy { latest { num_versions: 3 } }", Latest(3)),
        ("model_version_policy { latest { } }", Latest(1)),
        ("model_version_policy { all {} }", All()),
        ("model_version_policy { specific { versions: 42 versions: 43 } }", Specific((42, 43))),
    ],
)
def test_models_config(tmp_path, policy, expected):
    labels = 'version_labels { key: "stable" value: 42 }  # a comment\n'
    file = models_config(tmp_path, "model_config_list {\n" + entry(policy + labels) + "\n}")
    assert read_models_config(file) == [ModelConfig("ranker", Path("/models/ranker"), expected, {"stable": 42})]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("model_config_list { " + entry() + entry() + " }", "multiple times"),
        ("model_config_list { " + entry(path="models/ranker") + " }", "absolute"),
        ("model_config_list { " + entry(platform="") + " }", "model_platform"),
        ("model_config_list { " + entry(platform='model_platform: "pytorch"') + " }", "pytorch"),
        ("model_config_list { " + entry(name="") + " }", "name"),
        ("model_config_list { " + entry("colour: 1") + " }", "Invalid protobuf file"),
        ("{ model_config_list { } }", "Invalid protobuf file"),
        ("", "model_config_list"),
    ],
)
def test_models_config_refuses(tmp_path, text, part):
    with pytest.raises(ServingError, match=part) as caught:
        read_models_config(models_config(tmp_path, text))
    assert caught.value.code == Code.INVALID_ARGUMENT


def batching(tmp_path, text):
    file = tmp_path / "batching.config"
    file.write_text(text)
    return read_batching_options(file)


def test_batching_parameters(tmp_path):
    assert batching(tmp_path, "") == BatchingOptions()
    options = batching(
        tmp_path,
        """
        max_batch_size { value: 128 }  batch_timeout_micros { value: 2000 }  max_enqueued_batches { value: 4 }
        num_batch_threads { value: 3 }  thread_pool_name { value: "ranker" }
        enable_large_batch_splitting { value: true }  max_execution_batch_size { value: 64 }
        allowed_batch_sizes: 8  allowed_batch_sizes: 128  pad_variable_length_inputs: true
        """,
    )
    assert options == BatchingOptions(128, 0.002, 4, 3, "ranker", (8, 128), True, True, 64)
    assert [options.padded(rows) for rows in (0, 1, 8, 9, 128)] == [0, 8, 8, 128, 128]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("max_batch_size: 128", "Invalid protobuf file"),
        ("allowed_batch_sizes { value: 8 }", "Invalid protobuf file"),
        ("max_batch_size { value: 16 } allowed_batch_sizes: 8", "must match max_batch_size"),
        ("allowed_batch_sizes: 8", "expected 1000"),
        ("max_batch_size { value: 8 } allowed_batch_sizes: 8 allowed_batch_sizes: 8", "increase"),
        ("num_batch_threads { value: 0 }", "num_threads"),
        ("enable_large_batch_splitting { value: true }", "needs max_batch_size"),
        (
            "max_batch_size { value: 8 } enable_large_batch_splitting { value: true } "
            "max_execution_batch_size { value: 9 }",
            "<= max_batch_size",
        ),
    ],
)
def test_batching_parameters_refused(tmp_path, text, part):
    with pytest.raises(ServingError, match=part):
        batching(tmp_path, text)


def test_monitoring_config(tmp_path):
    file = tmp_path / "monitoring.config"
    file.write_text("prometheus_config { enable: true }")
    assert read_metrics_path(file) == "/monitoring/prometheus/metrics"
    file.write_text('prometheus_config { enable: true path: "/metrics" }')
    assert read_metrics_path(file) == "/metrics"
    file.write_text("")
    assert read_metrics_path(file) is None
    with pytest.raises(ServingError, match="cannot be read"):
        read_metrics_path(tmp_path / "nothing")
