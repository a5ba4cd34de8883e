"""Asks a TensorFlow Serving over gRPC: python client_grpc.py 127.0.0.1:8500 ranker rows.json

`rows.json` is `{"instances": [{"user_id": "u1", "price": 9.5}, ...]}`: every column of the signature, one object a row.
Needs numpy and tensorflow-serving-api. On Kubernetes the address is `dns:///ranker-grpc:8500`.
"""

import json
import sys

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

TIMEOUT = 10  # seconds

OPTIONS = [
    ("grpc.max_receive_message_length", -1),  # the default of 4 MiB is small for large batches
    ("grpc.max_send_message_length", -1),
    # Spread over all pods of a headless service, and ask again while one of them is being replaced.
    (
        "grpc.service_config",
        json.dumps(
            {
                "loadBalancingConfig": [{"round_robin": {}}],
                "methodConfig": [
                    {
                        "name": [{"service": "tensorflow.serving.PredictionService"}],
                        "retryPolicy": {
                            "maxAttempts": 3,
                            "initialBackoff": "0.05s",
                            "maxBackoff": "1s",
                            "backoffMultiplier": 2,
                            "retryableStatusCodes": ["UNAVAILABLE"],
                        },
                    }
                ],
            }
        ),
    ),
]


def predict(address: str, model: str, rows: list[dict]) -> dict[str, np.ndarray]:
    """`{task: array}`, one row for each of `rows`.

    Raises:
        ValueError: rows that do not hold what the model takes.
        grpc.RpcError: the server refused, or does not answer.
    """
    local = address.rpartition(":")[0] in ("127.0.0.1", "localhost", "[::1]")
    options = [*OPTIONS, ("grpc.enable_http_proxy", int(not local))]  # a proxy is for other machines only
    with grpc.insecure_channel(address, options=options) as channel:
        service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = predict_pb2.PredictRequest()
        request.model_spec.name = model
        for name, info in signature(service, model).inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(column(name, info.dtype, rows), info.dtype))
        response = service.Predict(request, timeout=TIMEOUT)
    return {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}


def column(name: str, dtype: int, rows: list[dict]) -> np.ndarray:
    """A column of `rows` as the model takes it: the server casts nothing, not even float64 to float32."""
    lacking = [number for number, row in enumerate(rows) if name not in row]
    if lacking:
        raise ValueError(f"column {name!r} is missing in rows {lacking}")
    try:
        return tf.constant([row[name] for row in rows], tf.dtypes.as_dtype(dtype)).numpy()
    except (TypeError, ValueError) as error:
        raise ValueError(f"column {name!r} must hold {tf.dtypes.as_dtype(dtype).name}: {error}") from error


def signature(service, model: str):
    """What the model takes and gives. It changes only with the export, so a service asks once."""
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = model
    signatures = get_model_metadata_pb2.SignatureDefMap()
    service.GetModelMetadata(request, timeout=TIMEOUT).metadata["signature_def"].Unpack(signatures)
    return signatures.signature_def["serving_default"]


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    with open(sys.argv[3], encoding="utf-8") as file:
        instances = json.load(file)["instances"]
    try:
        answer = predict(sys.argv[1], sys.argv[2], instances)
    except ValueError as error:
        raise SystemExit(str(error)) from error
    except grpc.RpcError as error:
        raise SystemExit(f"{error.code().name}: {error.details()}") from error
    print(json.dumps({name: array.tolist() for name, array in answer.items()}, indent=1))
