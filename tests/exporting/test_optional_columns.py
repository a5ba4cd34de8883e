"""A raw column that a request leaves out is missing, whichever side of a rollout goes first."""

import numpy as np
import pytest
from small_ranker import SCHEMA

from tfmtl.serving.client import Client, RequestError, RestClient
from tfmtl.serving.server import LocalServer

MISSING = {"city": "", "device": "", "item": -1, "age": np.nan, "price": np.nan, "style": np.nan}
USER = {"city", "age", "seen_item", "seen_city"}


@pytest.fixture(scope="module")
def server(exported):
    with LocalServer(exported.parent, warm_up=False) as server:
        yield server


@pytest.fixture(scope="module")
def client(server):
    with Client(server.grpc_address) as client:
        yield client


def with_missing(rows, names):
    """`rows` with those columns missing in every row, as a client that knows of them would say it."""
    said = dict(rows)
    for name in names:
        said[name] = np.full_like(rows[name], MISSING[name]) if name in MISSING else rows[name][:, :0]
    return said


def without(rows, names):
    return {name: column for name, column in rows.items() if name not in names}


@pytest.mark.parametrize(
    "names",
    [{"age"}, {"device", "item"}, {"style"}, {"seen_item", "seen_city"}, set(MISSING) - {"price"}],
    ids=lambda names: "+".join(sorted(names)),
)
@pytest.mark.parametrize("signature", ["serving_default", "click"])
def test_left_out_is_missing(client, rows, names, signature):
    answer = client.predict(without(rows, names), signature=signature)
    expected = client.predict(with_missing(rows, names), signature=signature)
    for task, values in expected.items():
        assert values.shape == (64, 1)
        np.testing.assert_allclose(answer[task], values, atol=1e-6)


@pytest.mark.parametrize("names", [{"city"}, {"seen_item", "seen_city", "age"}, {"price", "device"}, {"city", "style"}])
def test_of_one_user_and_many_candidates_too(client, rows, names):
    ranked = {name: column[:1] if name in USER else column for name, column in rows.items()}
    answer = client.predict(without(ranked, names), signature="rank")
    expected = client.predict(with_missing(ranked, names), signature="rank")
    assert expected["buy"].shape == (64, 1)
    for task, values in expected.items():
        np.testing.assert_allclose(answer[task], values, atol=1e-6)


@pytest.mark.parametrize(
    ("names", "signature"),
    [({"device", "item", "style", "seen_item", "seen_city"}, "click"), ({"city", "price"}, "rank")],
)
def test_the_rest_client_sends_what_is_left_out(client, server, rows, names, signature):
    if signature == "rank":
        rows = {name: column[:1] if name in USER else column for name, column in rows.items()}
    with RestClient(server.rest_url) as rest:
        answer = rest.predict(without(rows, names), signature=signature)
    for task, values in client.predict(without(rows, names), signature=signature).items():
        np.testing.assert_allclose(answer[task], values, atol=1e-6)


def test_a_request_without_columns_has_no_rows(client):
    assert client.predict({})["click"].shape == (0, 1)


def test_columns_of_other_lengths_are_no_missing_ones(client, rows):
    with pytest.raises(RequestError):
        client.predict({**rows, "age": rows["age"][:1]})


def test_extra_columns_are_refused_with_their_names(client, rows):
    with pytest.raises(ValueError, match=r"unknown columns \['colour', 'size'\]"):
        client.predict({**rows, "size": [1], "colour": ["red"]})


def test_every_raw_column_may_be_left_out(exported):
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString((exported / "saved_model.pb").read_bytes())
    signatures = saved.meta_graphs[0].signature_def
    columns = {column for feature in SCHEMA.features for column in feature.columns}
    assert set(signatures["serving_default"].defaults) == set(signatures["click"].defaults) == columns
    assert set(signatures["rank"].defaults) == columns | {"click_weight", "buy_weight"}
    assert not signatures["serving_ids"].defaults and not signatures["examples"].defaults
