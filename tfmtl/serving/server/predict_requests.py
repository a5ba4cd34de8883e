"""Predict: any inputs, any outputs."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import model_pb2, predict_pb2

from tfmtl.serving.protocol.contract import DEFAULT_SIGNATURE
from tfmtl.serving.protocol.tensors import TensorError, filled_bytes, from_proto, to_proto
from tfmtl.serving.server.request_limits import FILLED_BYTES
from tfmtl.serving.server.servable import Servable
from tfmtl.serving.server.serving_error import Code, ServingError, invalid


def predict(servable: Servable, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
    """Answers a PredictRequest with the servable that its model_spec led to."""
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    signature = servable.signatures.get(name)
    if signature is None:
        raise ServingError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    inputs = {}
    check_inputs(request.inputs.keys(), signature)
    _check_filled(request.inputs)
    for alias, proto in request.inputs.items():
        inputs[alias] = _read(alias, proto)
    for alias in signature.defaults.keys() - inputs.keys():
        inputs[alias] = _read(alias, signature.defaults[alias])
    aliases = _outputs(request.output_filter, signature)
    response = predict_pb2.PredictResponse(model_spec=answered_by(servable, name))
    for alias, array in run(servable, signature, inputs, aliases).items():
        response.outputs[alias].CopyFrom(to_proto(array))
    return response


def run(
    servable: Servable,
    signature: meta_graph_pb2.SignatureDef,
    inputs: Mapping[str, np.ndarray],
    aliases: Sequence[str],
) -> dict[str, np.ndarray]:
    """Runs a signature on inputs that bear its names, for the outputs `aliases`."""
    feeds = {signature.inputs[alias].name: array for alias, array in inputs.items()}
    arrays = servable.run("Predict", feeds, [signature.outputs[alias].name for alias in aliases])
    return dict(zip(aliases, arrays, strict=True))


def answered_by(servable: Servable, signature_name: str) -> model_pb2.ModelSpec:
    """The model_spec of an answer: what was used, whatever was asked."""
    spec = model_pb2.ModelSpec(name=servable.name, signature_name=signature_name or DEFAULT_SIGNATURE)
    spec.version.value = servable.version
    return spec


def check_inputs(given: Sequence[str], signature: meta_graph_pb2.SignatureDef) -> None:
    """Refuses inputs that the signature has not, and the lack of one that has no default."""
    extra = sorted(given - signature.inputs.keys())
    missing = sorted(signature.inputs.keys() - given - signature.defaults.keys())
    if extra or missing:
        raise invalid(
            f"input size does not match signature: it has {_braces(signature.inputs)}, the request {_braces(given)}. "
            f"Sent extra: {_braces(extra)}. Missing but required: {_braces(missing)}."
        )


def _check_filled(inputs: Mapping[str, tensor_pb2.TensorProto]) -> None:
    """Refuses shapes that name far more than the request carries."""
    filled = 0
    for alias, proto in inputs.items():
        with _complaining_of(alias):
            filled += filled_bytes(proto)
    if filled > FILLED_BYTES:
        raise invalid(
            f"tensor parsing error: the shapes of the inputs name {filled} bytes more than the request carries; here at most "
            f"{FILLED_BYTES} are filled in"
        )


@contextlib.contextmanager
def _complaining_of(alias: str) -> Iterator[None]:
    try:
        yield
    except TensorError as error:
        raise invalid(f"tensor parsing error: {alias}: {error}") from error


def _read(alias: str, proto: tensor_pb2.TensorProto) -> np.ndarray:
    with _complaining_of(alias):
        return from_proto(proto)


def _outputs(wanted: Sequence[str], signature: meta_graph_pb2.SignatureDef) -> list[str]:
    seen: set[str] = set()
    for alias in wanted:
        if alias not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {alias} "
                f"Outputs expected to be in the set {_braces(signature.outputs)}."
            )
        if alias in seen:
            raise invalid(f"duplicate output tensor alias: {alias}")
        seen.add(alias)
    return list(wanted) or sorted(signature.outputs)


def _braces(names: Sequence[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"
