"""Loading: assets, text protos, broken folders; warm-up before a version is announced."""

import gzip
import shutil

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    input_pb2,
    model_pb2,
    predict_pb2,
    prediction_log_pb2,
    regression_pb2,
)

from tfmtl.keras_host import LEGACY, keras
from tfmtl.serving.client import Client
from tfmtl.serving.protocol.contract import WARMUP_FILE
from tfmtl.serving.protocol.tensors import to_proto
from tfmtl.serving.server import LocalServer, ServerStartError
from tfmtl.serving.server.graph_session import GraphSession
from tfmtl.serving.server.servable_loader import ServableLoader
from tfmtl.serving.server.server_metrics import ServerMetrics
from tfmtl.serving.server.serving_error import ServingError


def test_a_text_proto_loads(tmp_path, publish):
    path = publish(tmp_path / "m", 1)
    saved = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    (path / "saved_model.pbtxt").write_text(text_format.MessageToString(saved))
    (path / "saved_model.pb").unlink()
    session = GraphSession(path)
    signature = session.signatures["single"]
    answer = session.run({signature.inputs["x"].name: np.ones((1, 2), np.float32)}, [signature.outputs["y"].name])
    np.testing.assert_array_equal(answer, [[2.0]])
    session.close()


def test_assets_are_found(tmp_path):
    vocabulary = tmp_path / "users.txt"
    vocabulary.write_text("ann\nbob\n")

    class Lookup(tf.Module):
        def __init__(self):
            lines = tf.lookup.TextFileInitializer(
                str(vocabulary),
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            )
            self.table = tf.lookup.StaticHashTable(lines, -1)

        @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="user")])
        def row(self, user):
            return {"row": self.table.lookup(user)}

    model = Lookup()
    tf.saved_model.save(model, str(tmp_path / "m" / "1"), signatures={"serving_default": model.row})
    vocabulary.unlink()
    (tmp_path / "m").rename(tmp_path / "elsewhere")
    with LocalServer(tmp_path / "elsewhere", poll_interval=0) as server, Client(server.grpc_address) as client:
        np.testing.assert_array_equal(client.predict({"user": ["bob", "eve"]})["row"], [1, -1])


def test_a_keras_model_answers_as_it_predicts(tmp_path):
    inputs = {"user": keras.Input((), dtype="string", name="user"), "price": keras.Input((1,), name="price")}
    known = keras.layers.StringLookup(vocabulary=["ann", "bob"], output_mode="one_hot")(inputs["user"])
    joined = keras.layers.Concatenate()([known, inputs["price"]])
    tasks = {task: keras.layers.Dense(1, "sigmoid", name=task)(joined) for task in ("click", "buy")}
    model = keras.Model(inputs, tasks)
    model.export(str(tmp_path / "m" / "1"), **({} if LEGACY else {"verbose": False}))
    columns = {"user": np.array(["ann", "eve"], object), "price": np.array([[0.5], [2.0]], np.float32)}
    expected = model({name: tf.constant(value) for name, value in columns.items()})
    with LocalServer(tmp_path / "m", poll_interval=0) as server, Client(server.grpc_address) as client:
        answer = client.predict(columns)
    assert set(answer) == {"click", "buy"}
    for task, values in answer.items():
        np.testing.assert_allclose(values, np.asarray(expected[task]), rtol=1e-6)


def start_error(base):
    with pytest.raises(ServerStartError) as caught:
        LocalServer(base).start()
    return str(caught.value)


def test_a_broken_saved_model_is_named(tmp_path, publish):
    path = publish(tmp_path / "m", 1)
    whole = (path / "saved_model.pb").read_bytes()
    (path / "saved_model.pb").write_bytes(whole[: len(whole) // 2])
    assert "DATA_LOSS" in start_error(tmp_path / "m")
    saved = saved_model_pb2.SavedModel.FromString(whole)
    saved.meta_graphs[0].meta_info_def.tags[:] = ["train"]
    (path / "saved_model.pb").write_bytes(saved.SerializeToString())
    assert 'tag "serve"' in start_error(tmp_path / "m")


def test_variables_cut_off_fail_the_load(tmp_path, publish):
    path = publish(tmp_path / "m", 1)
    (path / "variables" / "variables.index").write_bytes(b"")
    assert "did not become available" in start_error(tmp_path / "m")


def example():
    found = tf.train.Example()
    found.features.feature["price"].float_list.value.append(0.5)
    return input_pb2.Input(example_list=input_pb2.ExampleList(examples=[found]))


def predict_log(name="whatever", signature="single", array=((1.0, 2.0),)):
    spec = model_pb2.ModelSpec(name=name, signature_name=signature)
    spec.version.value = 99
    request = predict_pb2.PredictRequest(model_spec=spec)
    request.inputs["x"].CopyFrom(to_proto(np.array(array, np.float32)))
    return prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))


def all_kinds():
    classify = classification_pb2.ClassificationRequest(
        model_spec=model_pb2.ModelSpec(name="x", signature_name="classify"), input=example()
    )
    regress = regression_pb2.RegressionRequest(
        model_spec=model_pb2.ModelSpec(name="x", signature_name="regress"), input=example()
    )
    multi = inference_pb2.MultiInferenceRequest(input=example())
    multi.tasks.add(model_spec=regress.model_spec, method_name="tensorflow/serving/regress")
    log = prediction_log_pb2
    return [
        predict_log(),
        log.PredictionLog(classify_log=log.ClassifyLog(request=classify)),
        log.PredictionLog(regress_log=log.RegressLog(request=regress)),
        log.PredictionLog(multi_inference_log=log.MultiInferenceLog(request=multi)),
    ]


def write_warmup(path, records, compression=""):
    file = path / WARMUP_FILE
    file.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(file), compression) as writer:
        for record in records:
            writer.write(record if isinstance(record, bytes) else record.SerializeToString())
    return file


def test_every_kind_of_record_is_replayed_and_names_do_not_matter(tmp_path, publish):
    write_warmup(publish(tmp_path / "m", 1), all_kinds())
    monitoring = tmp_path / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    with LocalServer(tmp_path / "m", poll_interval=0, monitoring_config=monitoring) as server:
        page = server._metrics.page()
    for api in ("Predict", "Classify", "Regress", "MultiInference"):
        assert f'runtime_latency_count{{model_name="default",API="{api}",runtime="TF1"}} 1' in page
    assert 'model_warmup_latency_count{model_path="' in page


BAD_RECORDS = {
    "an unknown signature": ([predict_log(signature="rank")], "FAILED_PRECONDITION"),
    "a wrong shape": ([predict_log(array=(1.0, 2.0))], "INVALID_ARGUMENT"),
    "a missing input": ([predict_log(signature="serving_default")], "INVALID_ARGUMENT"),
    "garbage": ([b"\xff\xff\xff"], "INVALID_ARGUMENT"),
    "an empty record": ([b""], "UNIMPLEMENTED"),
    "a session run": (
        [prediction_log_pb2.PredictionLog(session_run_log=prediction_log_pb2.SessionRunLog())],
        "UNIMPLEMENTED",
    ),
}


@pytest.mark.parametrize("case", BAD_RECORDS)
def test_a_failing_record_fails_the_load(tmp_path, publish, case):
    records, code = BAD_RECORDS[case]
    write_warmup(publish(tmp_path / "m", 1), [predict_log(), *records])
    assert code in start_error(tmp_path / "m")
    with LocalServer(tmp_path / "m", warm_up=False):
        pass


def test_a_file_that_is_cut_off_or_compressed_fails_the_load(tmp_path, publish):
    path = publish(tmp_path / "m", 1)
    file = write_warmup(path, [predict_log()])
    whole = file.read_bytes()
    file.write_bytes(whole[:-3])
    assert "DATA_LOSS" in start_error(tmp_path / "m")
    file.write_bytes(gzip.compress(whole))
    assert "DATA_LOSS" in start_error(tmp_path / "m")


@pytest.mark.parametrize(("count", "loads"), [(1000, True), (1001, False)])
def test_at_most_a_thousand_records(tmp_path, publish, count, loads):
    write_warmup(publish(tmp_path / "m", 1), [predict_log()] * count)
    if loads:
        with LocalServer(tmp_path / "m", poll_interval=0):
            pass
    else:
        assert "1000" in start_error(tmp_path / "m")


def test_a_version_whose_warm_up_fails_leaves_the_old_one(tmp_path, publish):
    publish(tmp_path / "m", 1)
    with LocalServer(tmp_path / "m", poll_interval=0) as server, Client(server.grpc_address) as client:
        path = publish(tmp_path, 2)
        write_warmup(path, [predict_log(signature="rank")])
        shutil.move(path, tmp_path / "m" / "2")
        server.poll()
        assert client.status() == {2: "END", 1: "AVAILABLE"}


def test_warm_up_goes_through_the_batcher(tmp_path, publish):
    path = publish(tmp_path / "m", 1)
    write_warmup(path, [predict_log(array=np.ones((5, 2)))])
    file = tmp_path / "batching.config"
    file.write_text("max_batch_size { value: 4 }")
    with pytest.raises(ServerStartError, match="larger than maximum input batch size"):
        LocalServer(tmp_path / "m", batching_parameters=file).start()


def test_a_failed_warm_up_leaves_no_queues_behind(tmp_path, publish):
    path = publish(tmp_path / "m", 1)
    write_warmup(path, [predict_log(), predict_log(array=np.ones((5, 2)))])
    file = tmp_path / "batching.config"
    file.write_text("max_batch_size { value: 4 }")
    loader = ServableLoader(
        ServerMetrics(), warm_up=True, batching_parameters=file, per_model_batching_parameters=False
    )
    loader.start()
    with pytest.raises(ServingError, match="larger than maximum input batch size"):
        loader.load("m", 1, path)
    assert loader._threads._queues == []
    loader.close()
