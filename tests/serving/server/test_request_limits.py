"""What a request may cost: sizes are checked before anything is made, and what is taken is given back."""

import gzip
import json
import logging
import resource
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
import tensorflow as tf
from conftest import talking
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import model_pb2, predict_pb2

from tfmtl.serving.protocol.tensors import from_proto
from tfmtl.serving.server import LocalServer
from tfmtl.serving.server.grpc_gate import GrpcGate
from tfmtl.serving.server.request_limits import BODY_BYTES, FILLED_BYTES
from tfmtl.serving.server.rest_body import BodyRefused, HeldBytes

PREDICT = "/v1/models/default:predict"


@pytest.fixture(scope="module")
def local(tmp_path_factory, publish):
    base = tmp_path_factory.mktemp("limits") / "ranker"
    publish(base, 1)
    with LocalServer(base, poll_interval=0) as server, talking(server) as served:
        yield served


def filled(**shapes):
    """One value for a whole tensor, for each name."""
    signature = "any_float" if set(shapes) == {"x"} else "echo"
    request = predict_pb2.PredictRequest(model_spec=model_pb2.ModelSpec(name="default", signature_name=signature))
    for name, (dtype, field, shape) in shapes.items():
        proto = tensor_pb2.TensorProto(dtype=dtype, tensor_shape=tf.TensorShape(shape).as_proto())
        getattr(proto, field).append(b"" if field == "string_val" else 1)
        request.inputs[name].CopyFrom(proto)
    return request


def refusal(call, request):
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=30)
    return caught.value


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize("shape", [[2**29 - 1], [2**15, 2**13], [FILLED_BYTES // 4 + 2]])
def test_a_shape_that_names_gigabytes_is_refused_before_they_are_made(local, shape):
    before = peak()
    error = refusal(local.prediction.Predict, filled(x=(1, "float_val", shape)))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT and "more than the request carries" in error.details()
    assert peak() - before < 100_000  # kilobytes


def test_the_inputs_of_a_request_count_together(local):
    third = [FILLED_BYTES // 8 // 3 + 2]
    kinds = {"f64": (2, "double_val"), "u64": (23, "uint64_val"), "text": (7, "string_val")}
    rest = {
        "i32": (3, "int_val"),
        "i8": (6, "int_val"),
        "u8": (4, "int_val"),
        "u32": (22, "uint32_val"),
        "flag": (10, "bool_val"),
    }
    shapes = {name: (*kind, third) for name, kind in kinds.items()} | {
        name: (*kind, [1]) for name, kind in rest.items()
    }
    assert "more than the request carries" in refusal(local.prediction.Predict, filled(**shapes)).details()


def test_one_value_fills_a_tensor_of_an_honest_size(local):
    response = local.prediction.Predict(filled(x=(1, "float_val", [1000, 100])), timeout=30)
    np.testing.assert_array_equal(from_proto(response.outputs["x_out"]), np.ones((1000, 100), np.float32))


def test_strings_need_a_length_each(local):
    request = predict_pb2.PredictRequest(model_spec=model_pb2.ModelSpec(name="default", signature_name="any_string"))
    shape = tf.TensorShape([2**27]).as_proto()
    request.inputs["s"].CopyFrom(tensor_pb2.TensorProto(dtype=7, tensor_shape=shape, tensor_content=b"\x00\x00"))
    assert "too few" in refusal(local.prediction.Predict, request).details()


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_has_a_largest_size(local, chunked):
    body = b'{"signature_name": "any_float", "inputs": [1.0]}'.ljust(BODY_BYTES + 1)
    answer = local.post(PREDICT, data=iter([body[:1000], body[1000:]]) if chunked else body)
    assert answer.status_code == 413 and str(BODY_BYTES) in answer.json()["error"]
    assert local.post(PREDICT, data=body[:-1]).json() == {"outputs": [1.0]}


def test_bodies_under_way_have_room_together():
    held = HeldBytes(10)
    held.take(6)
    with pytest.raises(BodyRefused, match="holds 6 bytes") as caught:
        held.take(5)
    assert caught.value.status == 503
    held.give(6)
    held.take(10)


@pytest.mark.slow
def test_memory_of_a_large_request_is_given_back(local):
    """As Python's numbers in lists of one, this takes half a gigabyte."""

    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()

    body = b'{"signature_name": "any_float", "inputs": [' + b",".join([b"[1]"] * 2_000_000) + b"]}"
    before = resident()
    for _ in range(2):
        assert local.post(PREDICT, data=body).status_code == 200
    assert resident() - before < 250e6


def test_examples_that_cannot_be_parsed_are_the_clients_fault(local):
    answer = local.post(PREDICT, {"signature_name": "classify", "instances": [{"b64": "pg=="}]})
    assert answer.status_code == 400 and "Could not parse example input" in answer.json()["error"]


def test_bytes_that_are_no_request_leave_no_traceback(local, caplog):
    with grpc.insecure_channel(local.address) as channel, caplog.at_level(logging.DEBUG):
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        assert refusal(call, b"\xff\xff\xff\xff").code() == grpc.StatusCode.INTERNAL
    assert not [record for record in caplog.records if record.exc_info]


def test_what_nobody_waits_for_is_not_computed():
    class Aborted(Exception):
        pass

    def abort(code, details):
        raise Aborted(code)

    def handle(request, context):
        return computed.append(request)

    computed = []
    handler = grpc.unary_unary_rpc_method_handler(handle)
    gate = GrpcGate().intercept_service(lambda details: handler, None)
    gate.unary_unary(1, SimpleNamespace(time_remaining=lambda: None, abort=abort))
    gate.unary_unary(2, SimpleNamespace(time_remaining=lambda: 0.5, abort=abort))
    with pytest.raises(Aborted, match="DEADLINE_EXCEEDED"):
        gate.unary_unary(3, SimpleNamespace(time_remaining=lambda: -0.1, abort=abort))
    assert computed == [1, 2]


def test_json_as_the_real_server_reads_it(local):
    text = '{"signature_name": "any_float", "inputs": [Inf, -Inf, -NaN, 1], "inputs": [2], "signature_name": "Inf"}'
    assert local.post(PREDICT, data=text).text == '{"outputs": [Infinity, -Infinity, NaN, 1.0]}'
    text = '{"signature_name": "any_string", "inputs": ["Inf \\" -NaN"]}'
    assert local.post(PREDICT, data=text).json() == {"outputs": ['Inf " -NaN']}
    assert local.post(PREDICT, data='{"signature_name": "any_float", "inputs": [Infi]}').status_code == 400


def test_a_browser_may_ask_first(local):
    answer = local._http.options(local.rest_url + PREDICT, headers={"Origin": "http://somewhere"})
    assert answer.status_code == 200 and not answer.content
    assert local._http.options(local.rest_url + PREDICT).status_code == 400


def test_gzip_has_an_old_name(local):
    body = json.dumps({"signature_name": "any_float", "inputs": [1.5]}).encode()
    answer = local.post(PREDICT, data=gzip.compress(body), headers={"Content-Encoding": "x-gzip"})
    assert answer.json() == {"outputs": [1.5]}
