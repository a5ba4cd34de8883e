"""The gRPC client."""

from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tfmtl.serving.client.connection import Connection
from tfmtl.serving.client.request_error import RequestError
from tfmtl.serving.protocol.addresses import is_this_machine
from tfmtl.serving.protocol.contract import DEFAULT_SIGNATURE, UNLIMITED
from tfmtl.serving.protocol.tensors import from_proto, to_proto

_DIRECT = (("grpc.enable_http_proxy", 0),)


class Client(Connection):
    """Asks a server over gRPC: columns in, one array a task out.

    Args:
        address: str. `host:port`. A proxy of the environment (`http_proxy`) is passed by for this machine only.
        model: str. The name the server gives the model.
        version: int. A version; the newest that is loaded without it.
        label: str. A version label instead of a version.
        timeout: float. Seconds for each call.

    Example:

    ```python
    with Client("127.0.0.1:8500", model="ranker") as client:
        client.predict({"user_id": ["u1", "u2"], "price": [9.5, 3.0]})["click"]   # (2, 1)
    ```
    """

    def __init__(
        self,
        address: str,
        *,
        model: str = "default",
        version: int | None = None,
        label: str | None = None,
        timeout: float = 30.0,
    ) -> None:
        super().__init__(model=model, version=version, label=label, timeout=timeout)
        options = (*UNLIMITED, *_DIRECT) if is_this_machine(address) else UNLIMITED
        self._channel = grpc.insecure_channel(address, options=options)
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def predict(
        self,
        columns: Mapping[str, Any],
        *,
        signature: str = DEFAULT_SIGNATURE,
        outputs: Sequence[str] = (),
    ) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
            columns: mapping of input names to arrays or lists, or a DataFrame; each column becomes a tensor of the
                signature's dtype.
            signature: str.
            outputs: sequence of str. The outputs to send back, all without it. Saves bytes, not computation.

        Returns:
            `{output: array}`; strings are arrays of bytes.

        Raises:
            ValueError: columns that do not fit the signature.
            RequestError: the server refused.
        """
        spec = self._spec()
        spec.signature_name = signature

        def ask(inputs: Mapping[str, np.ndarray]) -> predict_pb2.PredictResponse:
            request = predict_pb2.PredictRequest(model_spec=spec, output_filter=outputs)
            for name, array in inputs.items():
                request.inputs[name].CopyFrom(to_proto(array))
            return self._call(self._prediction.Predict, request)

        _, response = self._asked(columns, signature, ask)
        return {name: from_proto(proto) for name, proto in response.outputs.items()}

    def status(self) -> dict[int, str]:
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=self._spec())
        response = self._call(self._models.GetModelStatus, request)
        name = get_model_status_pb2.ModelVersionStatus.State.Name
        return {entry.version: name(entry.state) for entry in response.model_version_status}

    def close(self) -> None:
        """Closes the channel; no call can be made afterwards."""
        self._channel.close()

    def _signatures(self) -> Mapping[str, meta_graph_pb2.SignatureDef]:
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=self._spec(), metadata_field=["signature_def"]
        )
        response = self._call(self._prediction.GetModelMetadata, request)
        found = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(found)
        return found.signature_def

    def _spec(self) -> model_pb2.ModelSpec:
        spec = model_pb2.ModelSpec(name=self.model)
        if self._version is not None:
            spec.version.value = self._version
        if self._label is not None:
            spec.version_label = self._label
        return spec

    def _call(self, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            raise RequestError(error.code().name, error.details()) from error
