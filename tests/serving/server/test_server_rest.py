"""The REST contract: URLs, both formats, values, status codes, the text of floats."""

import base64
import gzip
import http.client
import json
import math
import urllib.parse

import numpy as np
import pytest

PREDICT = "/v1/models/ranker/versions/1:predict"
ROWS = [{"user": "ann", "age": 10, "price": [1.0]}, {"user": "eve", "age": 20, "price": [2]}]
COLUMNS = {"user": ["ann", "eve"], "age": [10, 20], "price": [[1.0], [2]]}


def loads(response):
    """The answer as JSON, after a look at what every answer has."""
    assert response.headers["Content-Type"].startswith("application/json"), response.text
    return response.json()


def assert_error(response, status, part=""):
    body = loads(response)
    assert response.status_code == status, response.text
    assert list(body) == ["error"], body
    assert part in body["error"], body


def echo_columns(**changed):
    columns = {
        "f64": [0.5],
        "i32": [1],
        "i8": [1],
        "u8": [1],
        "u32": [1],
        "u64": [1],
        "flag": [True],
        "text": ["a"],
    }
    return {"signature_name": "echo", "inputs": {**columns, **changed}}


def test_rows(served):
    body = loads(served.post(PREDICT, {"instances": ROWS}))
    assert list(body) == ["predictions"]
    np.testing.assert_allclose([row["click"] for row in body["predictions"]], [[2.01], [2.02]], rtol=1e-6)
    np.testing.assert_allclose([row["buy"] for row in body["predictions"]], [[4.02], [4.04]], rtol=1e-6)


def test_columns(served):
    body = loads(served.post(PREDICT, {"inputs": COLUMNS}))
    assert list(body) == ["outputs"] and set(body["outputs"]) == {"click", "buy"}
    np.testing.assert_allclose(body["outputs"]["click"], [[2.01], [2.02]], rtol=1e-6)


def test_a_single_output_loses_its_name(served):
    rows = loads(served.post(PREDICT, {"signature_name": "single", "instances": [[1.0, 2.0], [3.0, 4.0]]}))
    assert rows == {"predictions": [3.0, 7.0]}
    named = loads(served.post(PREDICT, {"signature_name": "single", "instances": [{"x": [1.0, 2.0]}]}))
    assert named == {"predictions": [3.0]}
    columns = loads(served.post(PREDICT, {"signature_name": "single", "inputs": [[1.0, 2.0]]}))
    assert columns == {"outputs": [3.0]}
    keyed = loads(served.post(PREDICT, {"signature_name": "single", "inputs": {"x": [[1.0, 2.0]]}}))
    assert keyed == {"outputs": [3.0]}


@pytest.mark.parametrize(
    ("value", "shape"), [(2, ()), ([2], (1,)), ([[2], [3]], (2, 1)), ([], (0,)), ([[], []], (2, 0))]
)
def test_shapes_come_from_the_nesting(served, value, shape):
    body = loads(served.post(PREDICT, {"signature_name": "any_float", "inputs": {"x": value}}))
    assert np.array(body["outputs"]).shape == shape


def test_a_bare_value_in_a_row_makes_rank_one(served):
    body = loads(served.post(PREDICT, {"signature_name": "any_float", "instances": [{"x": 3}, {"x": 4}]}))
    assert body == {"predictions": [3.0, 4.0]}


def test_extra_names_are_ignored_in_columns_only(served):
    assert served.post(PREDICT, {"inputs": {**COLUMNS, "size": [1]}}).status_code == 200
    assert_error(served.post(PREDICT, {"instances": [{**row, "size": 1} for row in ROWS]}), 400)


def test_other_keys_and_text_after_the_object_are_ignored(served):
    text = json.dumps({"instances": ROWS, "note": 1}) + " and then some"
    assert served.post(PREDICT, data=text).status_code == 200


def test_content_type_gzip_and_chunks(served):
    body = json.dumps({"instances": ROWS}).encode()
    plain = served.post(PREDICT, data=body, headers={"Content-Type": "application/x-www-form-urlencoded"})
    zipped = served.post(PREDICT, data=gzip.compress(body), headers={"Content-Encoding": "gzip"})
    chunked = served.post(PREDICT, data=iter([body[:20], body[20:]]))
    assert plain.status_code == zipped.status_code == chunked.status_code == 200
    assert plain.json() == zipped.json() == chunked.json()
    assert_error(served.post(PREDICT, data=b"no gzip", headers={"Content-Encoding": "gzip"}), 400)


def test_a_zipped_body_holds_ten_mebibytes_at_most(served):
    body, headers = json.dumps({"instances": ROWS}).encode(), {"Content-Encoding": "gzip"}
    largest = body.ljust(10 << 20)
    assert served.post(PREDICT, data=gzip.compress(largest), headers=headers).status_code == 200
    assert_error(served.post(PREDICT, data=gzip.compress(largest + b" "), headers=headers), 400)
    assert served.post(PREDICT, data=largest + b" ").status_code == 200


def test_bodies_have_no_limit_of_a_mebibyte(served):
    rows = 200_000
    body = loads(served.post(PREDICT, {"signature_name": "any_float", "inputs": {"x": [0.5] * rows}}))
    assert body["outputs"] == [0.5] * rows


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("2", "2.0"),
        ("0.2", "0.2"),
        ("9e-5", "9e-05"),
        ("9000000", "9e+06"),
        ("1234567", "1234567.0"),
        ("0.1234567", "0.123456702"),
        ("-0.0", "-0.0"),
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("-Infinity", "-Infinity"),
        ("1e39", "Infinity"),
    ],
)
def test_the_text_of_floats(served, value, text):
    body = f'{{"signature_name": "any_float", "inputs": {{"x": [{value}]}}}}'
    response = served.post(PREDICT, data=body)
    printed = response.text.split("[")[1].split("]")[0].strip()
    assert printed == text


def test_float64_keeps_seventeen_digits(served):
    body = loads(served.post(PREDICT, echo_columns(f64=[0.1, 1 / 3, 2.0])))
    assert body["outputs"]["f64_out"] == [0.1, 1 / 3, 2.0]


def test_strings_and_bytes(served):
    binary = base64.b64encode(b"\xff\x00").decode()
    body = loads(served.post(PREDICT, echo_columns(text=["ü\n", {"b64": binary}, {"b64": "YQ"}])))
    assert body["outputs"]["text_bytes"] == [
        {"b64": base64.b64encode("ü\n".encode()).decode()},
        {"b64": binary},
        {"b64": "YQ=="},
    ]


def test_plain_strings_come_back_plain(served):
    rows = loads(served.post(PREDICT, {"signature_name": "any_string", "instances": [{"b64": "YW5u"}, "bob"]}))
    assert rows == {"predictions": ["ann", "bob"]}
    column = loads(served.post(PREDICT, {"signature_name": "any_string", "inputs": {"b64": "YW5u"}}))
    assert column == {"outputs": "ann"}


def test_nan_is_a_value(served):
    body = served.post(PREDICT, data='{"signature_name": "any_float", "instances": [NaN, 1]}').text
    values = json.loads(body)["predictions"]
    assert math.isnan(values[0]) and values[1] == 1.0


def test_small_integers_keep_their_low_bits(served):
    body = loads(served.post(PREDICT, echo_columns(i8=[300], u8=[-1])))
    assert (body["outputs"]["i8_out"], body["outputs"]["u8_out"]) == ([44], [255])


@pytest.mark.parametrize(
    "changed",
    [
        {"i32": [1.0]},
        {"i32": [1.5]},
        {"i32": [True]},
        {"i32": ["1"]},
        {"i32": [2**31]},
        {"i32": [None]},
        {"u32": [-1]},
        {"u64": [2**64]},
        {"flag": [1]},
        {"flag": ["true"]},
        {"f64": [True]},
        {"f64": ["1.0"]},
        {"f64": [None]},
        {"f64": [{"b64": "YQ=="}]},
        {"text": [1]},
        {"text": [None]},
        {"text": [{"b64": "not base64!"}]},
        {"text": [{"b64": "YQ==", "more": 1}]},
        {"text": [{"b64": 1}]},
        {"text": [{"bytes": "YQ=="}]},
        {"i32": [[1, 2], [3]]},
        {"i32": [1, [2]]},
        {"i32": [[1], 2]},
    ],
    ids=str,
)
def test_values_are_strict(served, changed):
    assert_error(served.post(PREDICT, echo_columns(**changed)), 400)


REFUSED = {
    "no body": ("", 400, ""),
    "no JSON": ("{", 400, ""),
    "no object": ("[1]", 400, ""),
    "neither key": ({}, 400, "instances"),
    "both keys": ({"instances": ROWS, "inputs": COLUMNS}, 400, "one of"),
    "instances is no list": ({"instances": ROWS[0]}, 400, "instances"),
    "instances is empty": ({"instances": []}, 400, "instances"),
    "missing name in a row": ({"instances": [{"user": "a", "age": 1}]}, 400, "price"),
    "missing name in a column": ({"inputs": {"user": ["a"], "age": [1]}}, 400, "price"),
    "objects and lists": ({"instances": [ROWS[0], [1]]}, 400, ""),
    "a list, then an object": ({"signature_name": "single", "instances": [[1, 2], {"x": [1, 2]}]}, 400, ""),
    "a plain list for several inputs": ({"instances": [1, 2]}, 400, ""),
    "a plain column for several inputs": ({"inputs": [1, 2]}, 400, ""),
    "b64 for several inputs": ({"instances": [{"b64": "YQ=="}]}, 400, ""),
    "rows of several shapes": ({"instances": [ROWS[0], {**ROWS[1], "price": [1.0, 2.0]}]}, 400, ""),
    "signature_name is no string": ({"signature_name": 1, "instances": ROWS}, 400, "signature_name"),
    "unknown signature": ({"signature_name": "rank", "instances": ROWS}, 400, "rank"),
    "a signature without inputs": ({"signature_name": "__saved_model_init_op", "inputs": {}}, 400, ""),
    "float16 in": ({"signature_name": "half", "inputs": {"h": [1.0]}}, 501, ""),
    "float16 out": ({"signature_name": "half_out", "inputs": {"x": [1.0]}}, 400, ""),
    "an output of rank 0 in rows": ({"signature_name": "rank_zero", "instances": [1.0]}, 400, ""),
    "a double too big": ('{"signature_name": "any_float", "inputs": [1e400]}', 400, ""),
    "a number of many digits": ('{"signature_name": "any_float", "inputs": [' + "9" * 5000 + "]}", 400, ""),
    "unequal batches": ({"inputs": {**COLUMNS, "age": [1, 2, 3]}}, 400, ""),
    "half a surrogate": ('{"signature_name": "any_string", "inputs": ["\\ud800"]}', 400, ""),
    "a control character": ('{"signature_name": "any_string", "inputs": ["\n"]}', 400, ""),
}


@pytest.mark.parametrize("case", REFUSED)
def test_predict_refuses(served, case):
    body, status, part = REFUSED[case]
    text = body if isinstance(body, str) else json.dumps(body)
    assert_error(served.post(PREDICT, data=text), status, part)


def test_an_output_of_rank_zero_is_fine_in_columns(served):
    body = loads(served.post(PREDICT, {"signature_name": "rank_zero", "inputs": [1.0, 2.0]}))
    assert body == {"outputs": {"total": 3.0, "x_out": [1.0, 2.0]}}


@pytest.mark.parametrize(
    ("model", "body", "status"),
    [
        ("nobody", "{", 400),
        ("nobody", '{"signature_name": 3}', 400),
        ("nobody", "{}", 404),
        ("ranker/versions/9", "{}", 404),
        ("ranker/versions/0", "{}", 404),
        ("ranker/labels/old", "{}", 400),
        ("ranker/labels/canary", json.dumps({"instances": ROWS}), 200),
        ("ranker/labels/c%61nary", json.dumps({"instances": ROWS}), 200),
        ("r%61nker", json.dumps({"instances": ROWS}), 200),
        ("Ranker", json.dumps({"instances": ROWS}), 404),
        ("ranker/versions/99999999999999999999", "{}", 400),
        ("ranker/versions/" + "9" * 5000, "{}", 400),
        ("ranker/versions/" + "0" * 5000 + "1", json.dumps({"instances": ROWS}), 200),
    ],
)
def test_the_model_is_looked_up_after_the_json(served, model, body, status):
    assert served.post(f"/v1/models/{model}:predict", data=body).status_code == status


@pytest.mark.parametrize(
    ("verb", "path", "status"),
    [
        ("GET", "/v1/models/ranker:predict", 400),
        ("PUT", "/v1/models/ranker:predict", 400),
        ("DELETE", "/v1/models/ranker", 400),
        ("PATCH", "/v1/models/ranker", 400),
        ("POST", "/v1/models/ranker", 400),
        ("POST", "/v1/models/ranker/metadata", 400),
        ("GET", "/v1/models/ranker/", 400),
        ("POST", "/v1/models/ranker:predict/", 400),
        ("POST", "/v1/models/ranker:explain", 400),
        ("GET", "/v1/models/ranker/versions/one", 400),
        ("GET", "/v1/models/ranker/versions/-1", 400),
        ("GET", "/v1/models/ranker/versions/1/labels/stable", 400),
        ("GET", "/v1/models/ranker/versions/99999999999999999999", 400),
        ("GET", "/v1/models", 400),
        ("GET", "/v1/nothing", 400),
        ("GET", "/v1/models/ranker?verbose=1", 200),
        ("GET", "/V1/MODELS/ranker", 200),
        ("GET", "/v1/models/ranker/METADATA", 200),
        ("GET", "/v1/models/nobody", 404),
        ("GET", "/v1/models/ranker/versions/9", 404),
        ("GET", "/v1/models/ranker/labels/old", 200),
        ("GET", "/v1/models/ranker/labels/old/metadata", 400),
        ("GET", "/v1/models/nobody/metadata", 404),
        ("GET", "/v1/models/ranker/versions/1/metadata", 200),
    ],
)
def test_urls(served, verb, path, status):
    address = urllib.parse.urlparse(served.rest_url).netloc
    connection = http.client.HTTPConnection(address, timeout=30)
    connection.request(verb, path, body=b"{}" if verb != "GET" else None)
    response = connection.getresponse()
    body = json.loads(response.read())
    assert response.status == status, body
    assert ("error" in body) == (status != 200)
    connection.close()


@pytest.mark.parametrize("path", ["/", "/metrics", "/v2/models/ranker", "/models/ranker"])
def test_outside_v1_there_is_nothing(served, path):
    response = served.get(path)
    assert response.status_code == 404
    assert "json" not in response.headers.get("Content-Type", "")


def test_a_connection_is_kept_open(served):
    connection = http.client.HTTPConnection(urllib.parse.urlparse(served.rest_url).netloc, timeout=30)
    for verb in ("PUT", "GET", "DELETE"):
        connection.request(verb, "/v1/models/ranker", body=b"{}")
        assert connection.getresponse().read()
    connection.close()


def test_status(served):
    entry = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert loads(served.get("/v1/models/ranker")) == {
        "model_version_status": [{"version": "2", **entry}, {"version": "1", **entry}]
    }
    assert loads(served.get("/v1/models/ranker/versions/1")) == {"model_version_status": [{"version": "1", **entry}]}


def test_metadata(served):
    body = loads(served.get("/v1/models/ranker/labels/stable/metadata"))
    assert body["model_spec"] == {"name": "ranker", "signature_name": "", "version": "1"}
    signatures = body["metadata"]["signature_def"]["signature_def"]
    assert "__saved_model_init_op" in signatures
    default = signatures["serving_default"]
    assert default["method_name"] == "tensorflow/serving/predict"
    assert default["inputs"]["price"] == {
        "dtype": "DT_FLOAT",
        "tensor_shape": {"dim": [{"size": "-1", "name": ""}, {"size": "1", "name": ""}], "unknown_rank": False},
        "name": "serving_default_price:0",
    }


def test_classify_and_regress(served):
    examples = {"examples": [{"price": 0.25, "age": 0}, {"price": [0.5]}]}
    classified = loads(served.post("/v1/models/ranker/versions/1:classify", {"signature_name": "classify", **examples}))
    assert classified == {"results": [[["no", 0.75], ["yes", 0.25]], [["no", 0.5], ["yes", 0.5]]]}
    regressed = loads(served.post("/v1/models/ranker/versions/1:regress", {"signature_name": "regress", **examples}))
    assert regressed == {"results": [0.25, 0.5]}
    body = {"signature_name": "regress", "context": {"age": 1000}, "examples": [{"price": 0.5}, {"age": [2000]}]}
    merged = loads(served.post("/v1/models/ranker/versions/1:regress", body))
    assert merged == {"results": [1.5, 2.0]}


@pytest.mark.parametrize(
    "examples",
    [
        {},
        {"examples": []},
        {"examples": {}},
        {"examples": [1]},
        {"examples": [{"price": None}]},
        {"examples": [{"price": [[1.0]]}]},
        {"examples": [{"price": [1.0, 2]}]},
        {"examples": [{"price": [1.0, "a"]}]},
        {"examples": [{"price": {"a": 1}}]},
        {"examples": [{"price": {"b64": "!"}}]},
        {"examples": [{"age": 2**63}]},
        {"examples": [{"age": 1}], "context": 1},
    ],
    ids=str,
)
def test_bad_examples_are_refused_before_the_model_is_looked_up(served, examples):
    assert_error(served.post("/v1/models/nobody:classify", examples), 400)
    assert_error(served.post("/v1/models/nobody:regress", examples), 400)


@pytest.mark.parametrize("method", ["predict", "classify", "regress"])
def test_a_signature_name_that_is_no_text(served, method):
    body = '{"signature_name": "\\ud800", "examples": [{"price": 1.0}], "instances": [1]}'
    assert_error(served.post(f"/v1/models/ranker:{method}", data=body), 400)


def test_good_examples_for_an_unknown_model(served):
    assert_error(served.post("/v1/models/nobody:regress", {"examples": [{"age": True}]}), 404)
