"""The gRPC contract: Predict, metadata and status, with the real server's codes and form of answers."""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2, predict_pb2

from tfmtl.serving.protocol.tensors import from_proto, to_proto

Code = grpc.StatusCode

USERS, AGES, PRICES = np.array([b"ann", b"eve"], object), np.array([10, 20]), np.array([[1.0], [2.0]], np.float32)
CLICKS = np.array([[2.01], [2.02]], np.float32)  # scale 1


def spec(name="ranker", *, version=None, label=None, signature=""):
    found = model_pb2.ModelSpec(name=name, signature_name=signature)
    if version is not None:
        found.version.value = version
    if label is not None:
        found.version_label = label
    return found


def predict_request(model_spec=None, outputs=(), **inputs):
    inputs = inputs or {"user": USERS, "age": AGES, "price": PRICES}
    request = predict_pb2.PredictRequest(model_spec=model_spec or spec(), output_filter=outputs)
    for name, value in inputs.items():
        proto = value if isinstance(value, tensor_pb2.TensorProto) else to_proto(value)
        request.inputs[name].CopyFrom(proto)
    return request


def refusal(call, request):
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=30)
    return caught.value


def test_predict_answers_in_typed_fields_and_says_what_answered(served):
    response = served.prediction.Predict(predict_request(spec(version=1)))
    assert response.model_spec.name == "ranker"
    assert response.model_spec.signature_name == "serving_default"
    assert response.model_spec.version.value == 1
    assert set(response.outputs) == {"click", "buy"}
    click = response.outputs["click"]
    assert click.tensor_content == b""
    assert click.dtype == types_pb2.DT_FLOAT
    assert [dim.size for dim in click.tensor_shape.dim] == [2, 1]
    np.testing.assert_allclose(click.float_val, CLICKS.ravel(), rtol=1e-6)
    np.testing.assert_allclose(response.outputs["buy"].float_val, 2 * CLICKS.ravel(), rtol=1e-6)


def test_one_value_fills_its_field(served):
    request = predict_request(
        spec(version=1), user=np.array([b"ann"], object), age=np.array([10]), price=np.array([[1.0]], np.float32)
    )
    click = served.prediction.Predict(request).outputs["click"]
    assert len(click.float_val) == 1 and click.tensor_content == b""


@pytest.mark.parametrize(
    ("asked", "answered"),
    [({}, 2), ({"version": 1}, 1), ({"version": 2}, 2), ({"label": "stable"}, 1), ({"label": "canary"}, 2)],
)
def test_versions_and_labels(served, asked, answered):
    response = served.prediction.Predict(predict_request(spec(**asked)))
    assert response.model_spec.version.value == answered
    click = from_proto(response.outputs["click"])
    np.testing.assert_allclose(click, (answered - 1) * PRICES + CLICKS, rtol=1e-6)


@pytest.mark.parametrize(
    "proto",
    [
        tf.make_tensor_proto([[1.0], [2.0]]),  # tensor_content
        tensor_pb2.TensorProto(dtype=1, tensor_shape=tf.TensorShape([2, 1]).as_proto(), float_val=[1.0, 2.0]),
        tensor_pb2.TensorProto(dtype=1, tensor_shape=tf.TensorShape([2, 1]).as_proto(), float_val=[1.0, 2.0, 3.0]),
    ],
)
def test_inputs_come_in_either_form(served, proto):
    response = served.prediction.Predict(predict_request(spec(version=1), user=USERS, age=AGES, price=proto))
    np.testing.assert_allclose(from_proto(response.outputs["click"]), CLICKS, rtol=1e-6)


@pytest.mark.parametrize(("values", "total"), [([3.0], 6.0), ([], 0.0)])
def test_the_last_value_repeats_and_none_is_zero(served, values, total):
    short = tensor_pb2.TensorProto(dtype=1, tensor_shape=tf.TensorShape([1, 2]).as_proto(), float_val=values)
    response = served.prediction.Predict(predict_request(spec(version=1, signature="single"), x=short))
    np.testing.assert_allclose(response.outputs["y"].float_val, [total])


def test_packed_strings_are_read(served):
    users = tensor_pb2.TensorProto(
        dtype=types_pb2.DT_STRING, tensor_shape=tf.TensorShape([2]).as_proto(), tensor_content=b"\x03\x03annbob"
    )
    response = served.prediction.Predict(predict_request(spec(version=1), user=users, age=AGES, price=PRICES))
    np.testing.assert_allclose(response.outputs["click"].float_val, [2.01, 4.02], rtol=1e-6)


def test_output_filter(served):
    response = served.prediction.Predict(predict_request(outputs=["buy"]))
    assert list(response.outputs) == ["buy"]


def test_a_default_stands_for_an_absent_input(served):
    request = predict_pb2.PredictRequest(model_spec=spec(version=1, signature="single"))
    np.testing.assert_allclose(served.prediction.Predict(request).outputs["y"].float_val, [3.0])


def test_zero_rows_give_zero_rows(served):
    request = predict_request(user=np.empty(0, object), age=np.empty(0, np.int64), price=np.empty((0, 1), np.float32))
    click = served.prediction.Predict(request).outputs["click"]
    assert [dim.size for dim in click.tensor_shape.dim] == [0, 1]


def test_broadcasting_is_the_graphs_business(served):
    request = predict_request(spec(version=1), user=USERS, age=AGES, price=np.array([[1.0]], np.float32))
    click = from_proto(served.prediction.Predict(request).outputs["click"])
    np.testing.assert_allclose(click, [[2.01], [1.02]], rtol=1e-6)


def test_every_dtype_comes_back_as_it_went(served):
    columns = {
        "f64": np.array([0.1, np.nan]),
        "i32": np.array([[1, -2]], np.int32),
        "i8": np.array(-128, np.int8),
        "u8": np.array([255], np.uint8),
        "u32": np.array([2**32 - 1], np.uint32),
        "u64": np.array([2**64 - 1], np.uint64),
        "flag": np.array([True, False]),
        "text": np.array([b"\xff\x00", "ü".encode()], object),
    }
    response = served.prediction.Predict(predict_request(spec(signature="echo"), **columns))
    for name, sent in columns.items():
        received = from_proto(response.outputs[f"{name}_out"])
        assert received.dtype == sent.dtype and received.shape == sent.shape
        np.testing.assert_array_equal(received, sent)
    half = np.array([0.5, -2.0], np.float16)
    response = served.prediction.Predict(predict_request(spec(signature="half"), h=half))
    np.testing.assert_array_equal(from_proto(response.outputs["h_out"]), half)


def test_messages_have_no_limit_of_four_mebibytes(served):
    rows = 1_500_000  # 6 MB each way
    x = np.arange(rows, dtype=np.float32)
    response = served.prediction.Predict(predict_request(spec(signature="any_float"), x=x), timeout=60)
    np.testing.assert_array_equal(from_proto(response.outputs["x_out"]), x)


BAD_SHAPE = tensor_pb2.TensorProto(dtype=1, tensor_shape=tf.TensorShape([2, 1]).as_proto(), tensor_content=b"123")
NO_DTYPE = tensor_pb2.TensorProto(tensor_shape=tf.TensorShape([2, 1]).as_proto(), float_val=[1.0, 2.0])
UNKNOWN_SHAPE = tensor_pb2.TensorProto(dtype=1, tensor_shape=tf.TensorShape(None).as_proto(), float_val=[1.0])
HUGE = tensor_pb2.TensorProto(dtype=1, tensor_shape=tf.TensorShape([2**40, 2**20]).as_proto(), float_val=[1.0])

REFUSED = {
    "no model_spec": (lambda: predict_pb2.PredictRequest(), Code.INVALID_ARGUMENT, "ModelSpec"),
    "empty name": (lambda: predict_request(spec("")), Code.INVALID_ARGUMENT, "no name"),
    "unknown model": (
        lambda: predict_request(spec("nobody")),
        Code.NOT_FOUND,
        "Servable not found for request: Latest(nobody)",
    ),
    "names are case-sensitive": (lambda: predict_request(spec("Ranker")), Code.NOT_FOUND, "Latest(Ranker)"),
    "unknown version": (
        lambda: predict_request(spec(version=9)),
        Code.NOT_FOUND,
        "Servable not found for request: Specific(ranker, 9)",
    ),
    "version 0 is a version": (lambda: predict_request(spec(version=0)), Code.NOT_FOUND, "Specific(ranker, 0)"),
    "unknown label": (lambda: predict_request(spec(label="old")), Code.INVALID_ARGUMENT, "label: old"),
    "empty label": (lambda: predict_request(spec(label="")), Code.INVALID_ARGUMENT, "label"),
    "unknown signature": (lambda: predict_request(spec(signature="rank")), Code.FAILED_PRECONDITION, '"rank"'),
    "unknown model before unknown signature": (
        lambda: predict_request(spec("nobody", signature="rank")),
        Code.NOT_FOUND,
        "nobody",
    ),
    "missing input": (
        lambda: predict_request(user=USERS, age=AGES),
        Code.INVALID_ARGUMENT,
        "input size does not match signature",
    ),
    "extra input": (
        lambda: predict_request(user=USERS, age=AGES, price=PRICES, size=AGES),
        Code.INVALID_ARGUMENT,
        "input size does not match signature",
    ),
    "renamed input": (lambda: predict_request(user=USERS, age=AGES, cost=PRICES), Code.INVALID_ARGUMENT, "price"),
    "graph names are no aliases": (
        lambda: predict_request(user=USERS, age=AGES, **{"serving_default_price:0": PRICES}),
        Code.INVALID_ARGUMENT,
        "price",
    ),
    "unknown output": (lambda: predict_request(outputs=["share"]), Code.INVALID_ARGUMENT, "share"),
    "graph name as output": (
        lambda: predict_request(outputs=["StatefulPartitionedCall:0"]),
        Code.INVALID_ARGUMENT,
        "StatefulPartitionedCall:0",
    ),
    "duplicate output": (lambda: predict_request(outputs=["buy", "buy"]), Code.INVALID_ARGUMENT, "duplicate"),
    "int32 for int64": (
        lambda: predict_request(user=USERS, age=AGES.astype(np.int32), price=PRICES),
        Code.INVALID_ARGUMENT,
        "int32",
    ),
    "float64 for float32": (
        lambda: predict_request(user=USERS, age=AGES, price=PRICES.astype(np.float64)),
        Code.INVALID_ARGUMENT,
        "double",
    ),
    "text for numbers": (lambda: predict_request(user=USERS, age=USERS, price=PRICES), Code.INVALID_ARGUMENT, "string"),
    "wrong rank": (lambda: predict_request(user=USERS, age=AGES, price=AGES), Code.INVALID_ARGUMENT, ""),
    "unequal batches": (
        lambda: predict_request(user=USERS, age=np.array([1, 2, 3]), price=PRICES),
        Code.INVALID_ARGUMENT,
        "",
    ),
    "wrong length of tensor_content": (
        lambda: predict_request(user=USERS, age=AGES, price=BAD_SHAPE),
        Code.INVALID_ARGUMENT,
        "tensor parsing error",
    ),
    "no dtype": (
        lambda: predict_request(user=USERS, age=AGES, price=NO_DTYPE),
        Code.INVALID_ARGUMENT,
        "tensor parsing error",
    ),
    "no shape": (
        lambda: predict_request(user=USERS, age=AGES, price=UNKNOWN_SHAPE),
        Code.INVALID_ARGUMENT,
        "tensor parsing error",
    ),
    "a shape beyond memory": (
        lambda: predict_request(user=USERS, age=AGES, price=HUGE),
        Code.INVALID_ARGUMENT,
        "tensor parsing error",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_predict_refuses(served, case):
    request, code, message = REFUSED[case]
    error = refusal(served.prediction.Predict, request())
    assert (error.code(), message in error.details()) == (code, True), error.details()


def test_details_are_cut_between_characters(served):
    request = predict_request(user=USERS, age=AGES, price=PRICES)
    request.output_filter.append("😀" * 3000)
    with pytest.raises(grpc.RpcError) as caught:
        served.prediction.Predict(request)
    assert caught.value.code() == Code.INVALID_ARGUMENT
    assert len(caught.value.details().encode()) <= 1024 + len("...TRUNCATED")
    assert caught.value.details().endswith("😀...TRUNCATED")


def test_details_are_cut(served):
    request = predict_request(spec(signature="picky"), x=np.array([-1.0], np.float32))
    error = refusal(served.prediction.Predict, request)
    assert error.code() == Code.INVALID_ARGUMENT
    assert len(error.details()) == 1024 + len("...TRUNCATED")
    assert error.details().endswith("...TRUNCATED")


def metadata_request(model_spec, fields=("signature_def",)):
    return get_model_metadata_pb2.GetModelMetadataRequest(model_spec=model_spec, metadata_field=fields)


def test_metadata_holds_every_signature(served):
    response = served.prediction.GetModelMetadata(metadata_request(spec(label="stable")))
    assert (response.model_spec.name, response.model_spec.version.value) == ("ranker", 1)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert {"serving_default", "single", "__saved_model_init_op"} <= set(signatures.signature_def)
    default = signatures.signature_def["serving_default"]
    assert default.inputs["price"].name == "serving_default_price:0"
    assert default.inputs["price"].dtype == types_pb2.DT_FLOAT
    assert [dim.size for dim in default.inputs["price"].tensor_shape.dim] == [-1, 1]
    assert default.method_name == "tensorflow/serving/predict"


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"]), Code.INVALID_ARGUMENT),
        (metadata_request(spec("nobody"), ()), Code.INVALID_ARGUMENT),
        (metadata_request(spec("nobody"), ["signature_def", "graph"]), Code.INVALID_ARGUMENT),
        (metadata_request(spec("nobody")), Code.NOT_FOUND),
        (metadata_request(spec(version=9)), Code.NOT_FOUND),
        (metadata_request(spec(label="old")), Code.INVALID_ARGUMENT),
        (metadata_request(spec("")), Code.INVALID_ARGUMENT),
    ],
)
def test_metadata_refuses(served, request_, code):
    assert refusal(served.prediction.GetModelMetadata, request_).code() == code


def status_request(model_spec):
    return get_model_status_pb2.GetModelStatusRequest(model_spec=model_spec)


def test_status_lists_versions_newest_first(served):
    entries = served.models.GetModelStatus(status_request(spec())).model_version_status
    available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
    assert [(entry.version, entry.state) for entry in entries] == [(2, available), (1, available)]
    assert all(entry.HasField("status") and entry.status.error_code == 0 for entry in entries)
    assert all(entry.status.error_message == "" for entry in entries)


def test_status_of_one_version_and_a_label_that_is_ignored(served):
    assert [e.version for e in served.models.GetModelStatus(status_request(spec(version=1))).model_version_status] == [
        1
    ]
    labelled = served.models.GetModelStatus(status_request(spec(label="no such label")))
    assert [entry.version for entry in labelled.model_version_status] == [2, 1]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (get_model_status_pb2.GetModelStatusRequest(), Code.INVALID_ARGUMENT),
        (status_request(spec("")), Code.NOT_FOUND),
        (status_request(spec("nobody")), Code.NOT_FOUND),
        (status_request(spec(version=9)), Code.NOT_FOUND),
    ],
)
def test_status_refuses(served, request_, code):
    assert refusal(served.models.GetModelStatus, request_).code() == code


def test_bytes_that_are_no_request_are_refused(served):
    with grpc.insecure_channel(served.address) as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"\xff\xff\xff\xff", timeout=30)
    assert caught.value.code() == Code.INTERNAL


def test_the_session_service_is_not_exposed(served):
    with grpc.insecure_channel(served.address) as channel:
        call = channel.unary_unary("/tensorflow.serving.SessionService/SessionRun")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=30)
    assert caught.value.code() == Code.UNIMPLEMENTED
