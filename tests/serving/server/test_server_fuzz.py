"""Malformed requests by the thousand: the right status each, no crash, no hang, and a server that still answers."""

import gzip
import http.client
import json
import string
import threading
import urllib.parse

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import model_pb2, predict_pb2

from tfmtl.serving.protocol.tensors import to_proto

TIMEOUT = 30
PREDICT = "/v1/models/ranker:predict"
NAMES = {"ranker", "other"}
SIGNATURES = ["", "serving_default", "single", "classify", "any_float", "any_string", "half", "echo"]

SHORT = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
LONG = settings(SHORT, max_examples=2500)


def columns():
    return {
        "user": np.array([b"ann", b"eve"], object),
        "age": np.array([10, 20]),
        "price": np.array([[1.0], [2.0]], np.float32),
    }


def valid_request():
    request = predict_pb2.PredictRequest(model_spec=model_pb2.ModelSpec(name="ranker"))
    for name, value in columns().items():
        request.inputs[name].CopyFrom(to_proto(value))
    return request


def valid_body():
    rows = zip(["ann", "eve"], [10, 20], [[1.0], [2.0]], strict=True)
    return {"instances": [{"user": user, "age": age, "price": price} for user, age, price in rows]}


@pytest.fixture
def alive(served):
    """Checks afterwards that the server answers as before and has not gathered threads."""
    before = threading.active_count()
    yield
    assert set(served.prediction.Predict(valid_request(), timeout=TIMEOUT).outputs) == {"click", "buy"}
    assert len(served.post(PREDICT, valid_body()).json()["predictions"]) == 2
    assert threading.active_count() <= before + 140  # its pools, should they have been idle before


words = st.text(max_size=20).filter(lambda text: text not in NAMES and text not in SIGNATURES)
some_words = words.filter(bool)
inputs = st.sampled_from(["user", "age", "price"])
sizes = st.integers(-3, 5) | st.sampled_from([2**31, 2**40, 2**62, -(2**63)])


@st.composite
def bad_request(draw):
    """A PredictRequest with one thing wrong, and the codes that are right for it."""
    request = valid_request()
    expected = draw(st.sampled_from(MUTATIONS))(draw, request)
    return request, expected if isinstance(expected, set) else {getattr(grpc.StatusCode, expected)}


def _name(draw, request):
    request.model_spec.name = draw(words)
    return "NOT_FOUND" if request.model_spec.name else "INVALID_ARGUMENT"


def _no_spec(draw, request):
    request.ClearField("model_spec")
    return "INVALID_ARGUMENT"


def _version(draw, request):
    request.model_spec.version.value = draw(st.integers(-(2**63), 2**63 - 1).filter(lambda n: n not in (1, 2)))
    return "NOT_FOUND"


def _label(draw, request):
    request.model_spec.version_label = draw(words)
    return "INVALID_ARGUMENT"


def _signature(draw, request):
    request.model_spec.signature_name = draw(some_words)
    return "FAILED_PRECONDITION"


def _wrong_signature(draw, request):
    request.model_spec.signature_name = draw(st.sampled_from(SIGNATURES[2:]))
    return "INVALID_ARGUMENT"


def _missing(draw, request):
    for name in draw(st.sets(inputs, min_size=1)):
        del request.inputs[name]
    return "INVALID_ARGUMENT"


def _extra(draw, request):
    request.inputs[draw(words)].CopyFrom(to_proto(np.zeros(2)))
    return "INVALID_ARGUMENT"


def _filter(draw, request):
    request.output_filter.extend(draw(st.lists(words, min_size=1, max_size=3)))
    return "INVALID_ARGUMENT"


def _dtype(draw, request):
    tensor = request.inputs[draw(inputs)]
    other = draw((st.integers(-(2**31), 2**31 - 1) | st.integers(0, 40)).filter(lambda enum: enum != tensor.dtype))
    tensor.dtype = other
    return "INVALID_ARGUMENT"


def _content(draw, request):
    tensor = request.inputs[draw(st.sampled_from(["age", "price"]))]
    whole = 16 if tensor.dtype == 9 else 8
    tensor.tensor_content = draw(st.binary(min_size=1, max_size=40).filter(lambda content: len(content) != whole))
    return "INVALID_ARGUMENT"


def _string_content(draw, request):
    request.inputs["user"].tensor_content = draw(
        st.binary(min_size=1, max_size=30).filter(lambda c: c[:2] != b"\x01\x01")
    )
    return {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OK}  # any two lengths that add up are strings


def _shape(draw, request):
    shape = request.inputs[draw(inputs)].tensor_shape
    shape.ClearField("dim")
    for size in draw(st.lists(sizes, max_size=6)):
        shape.dim.add(size=size)
    shape.unknown_rank = draw(st.booleans())
    return {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OK}  # some shapes broadcast


MUTATIONS = [
    _name,
    _no_spec,
    _version,
    _label,
    _signature,
    _wrong_signature,
    _missing,
    _extra,
    _filter,
    _dtype,
    _content,
    _string_content,
    _shape,
]


def status_of(call, request):
    try:
        call(request, timeout=TIMEOUT)
    except grpc.RpcError as error:
        assert len(error.details()) <= 1024 + len("...TRUNCATED")
        return error.code()
    return grpc.StatusCode.OK


def fuzz_predict(served):
    @given(bad_request())
    def run(case):
        request, expected = case
        assert status_of(served.prediction.Predict, request) in expected

    return run


METHODS = [
    "PredictionService/Predict",
    "PredictionService/Classify",
    "PredictionService/Regress",
    "PredictionService/MultiInference",
    "PredictionService/GetModelMetadata",
    "ModelService/GetModelStatus",
]
NO_REQUEST = {
    grpc.StatusCode.INTERNAL,  # bytes that are no proto
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED,
}


def fuzz_bytes(served):
    channel = grpc.insecure_channel(served.address)
    calls = [channel.unary_unary(f"/tensorflow.serving.{method}") for method in METHODS]
    tensor = to_proto(np.zeros(3, np.float32)).SerializeToString()
    whole = valid_request().SerializeToString(deterministic=True)
    spec = predict_pb2.PredictRequest(model_spec=model_pb2.ModelSpec(name="ranker")).SerializeToString()
    cut = st.integers(0, len(whole) - 1).map(lambda end: whole[:end])

    @given(st.sampled_from(calls), st.binary(max_size=60) | cut | st.just(tensor))
    def run(call, data):
        # A cut may leave a whole model_spec, and that is a whole request for the model's status.
        expected = NO_REQUEST | {grpc.StatusCode.OK} if data.startswith(spec) else NO_REQUEST
        assert status_of(call, data) in expected

    return run


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3))
WRONG = {
    "user": st.none() | st.booleans() | st.integers() | st.floats() | st.dictionaries(words, scalars, max_size=2),
    "age": st.none() | st.booleans() | st.floats() | st.text(max_size=8) | st.integers(min_value=2**63),
    "price": st.none() | st.booleans() | st.text(max_size=8) | st.dictionaries(words, scalars, max_size=2),
}


@st.composite
def bad_body(draw):
    """The bytes of a predict body with one thing wrong; all of them are 400."""
    body = valid_body()
    row = body["instances"][draw(st.integers(0, 1))]
    name = draw(inputs)
    match draw(st.integers(0, 9)):
        case 0:
            row[name] = [draw(WRONG[name])] if name == "price" else draw(WRONG[name])
        case 1:
            del row[name]
        case 2:
            row[draw(words)] = 1
        case 3:
            row[name] = [row[name], [row[name]]]
        case 4:
            body["instances"] = draw(anything)
        case 5:
            body["signature_name"] = draw(anything.filter(lambda value: value not in ("", "serving_default")))
        case 6:
            body["inputs"] = draw(anything)
        case 7:
            body = draw(anything)
        case 8:
            return draw(st.binary(max_size=60))
        case 9:
            text = json.dumps(body).encode()
            return text[: draw(st.integers(0, len(text) - 1))]
    return json.dumps(body).encode()


def fuzz_bodies(served):
    @given(bad_body(), st.sampled_from(["plain", "zipped", "not zipped"]))
    def run(body, coding):
        headers = {} if coding == "plain" else {"Content-Encoding": "gzip"}
        response = served.post(PREDICT, data=gzip.compress(body) if coding == "zipped" else body, headers=headers)
        assert response.status_code == 400, (body, response.text)
        assert list(response.json()) == ["error"]

    return run


paths = st.text(string.ascii_letters + string.digits + "/:%.-_~+&=;,@!$'()*", max_size=40)
VERBS = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]


@st.composite
def bad_url(draw):
    """A verb, a URL that no model answers, and the right status."""
    verb, method = draw(st.sampled_from(VERBS)), draw(st.sampled_from(["predict", "classify", "regress"]))
    match draw(st.integers(0, 3)):
        case 0:
            return verb, "/v1/" + draw(paths.filter(lambda path: not path.lower().startswith("models"))), 400
        case 1:
            return verb, "/" + draw(paths.filter(lambda path: not path.lower().startswith("v1/"))), 404
        case 2:
            name = urllib.parse.quote(draw(some_words), safe="")
            found = {"POST": f"/v1/models/{name}:{method}", "GET": f"/v1/models/{name}/metadata"}
            answer = 404 if verb == "GET" or (verb == "POST" and method == "predict") else 400
            return verb, found.get(verb, f"/v1/models/{name}"), answer
        case _:
            version = draw(st.integers(3, 10**25))
            known = version < 2**63 and verb == "POST" and method == "predict"
            return verb, f"/v1/models/ranker/versions/{version}:{method}", 404 if known else 400


def fuzz_urls(served):
    address = urllib.parse.urlparse(served.rest_url).netloc
    connection = http.client.HTTPConnection(address, timeout=TIMEOUT)

    @given(bad_url())
    def run(case):
        verb, path, expected = case
        connection.request(verb, path, body=None if verb in ("GET", "HEAD") else b"{}")
        response = connection.getresponse()
        body = response.read()
        assert response.status == expected, (verb, path, body)
        if verb not in ("HEAD", "OPTIONS") and path.lower().startswith("/v1/"):
            assert list(json.loads(body)) == ["error"]

    return run


FUZZERS = [fuzz_predict, fuzz_bytes, fuzz_bodies, fuzz_urls]


@pytest.mark.parametrize("fuzzer", FUZZERS)
def test_malformed_requests(served, alive, fuzzer):
    SHORT(fuzzer(served))()


@pytest.mark.slow
@pytest.mark.parametrize("fuzzer", FUZZERS)
def test_ten_thousand_malformed_requests(served, alive, fuzzer):
    LONG(fuzzer(served))()


def test_json_nested_too_deeply(served):
    for text in ("[" * 200_000, '{"instances": ' + "[" * 200_000 + "]" * 200_000 + "}"):
        assert served.post(PREDICT, data=text).status_code == 400


def test_a_request_may_lie_about_its_size(served):
    request = valid_request()
    request.inputs["price"].CopyFrom(tensor_pb2.TensorProto(dtype=1, float_val=[1.0]))
    for _ in range(254):
        request.inputs["price"].tensor_shape.dim.add(size=2)
    assert status_of(served.prediction.Predict, request) == grpc.StatusCode.INVALID_ARGUMENT


def test_a_client_that_goes_away_in_the_middle_of_a_body(served):
    address = urllib.parse.urlparse(served.rest_url).netloc
    connection = http.client.HTTPConnection(address, timeout=TIMEOUT)
    connection.putrequest("POST", PREDICT)
    connection.putheader("Content-Length", "1000")
    connection.endheaders(b'{"instances": [')
    connection.close()
    assert served.post(PREDICT, valid_body()).status_code == 200
