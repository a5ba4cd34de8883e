"""What both doors, gRPC and REST, lead to: a request proto in, a response proto out, a ServingError otherwise."""

from collections.abc import Callable
from typing import Any

from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from tfmtl.serving.server.example_requests import classify, multi_inference, regress
from tfmtl.serving.server.model_config import model_configs
from tfmtl.serving.server.model_manager import ModelManager, VersionStatus
from tfmtl.serving.server.predict_requests import predict
from tfmtl.serving.server.servable import Servable
from tfmtl.serving.server.serving_error import Code, ServingError, invalid

SIGNATURE_DEF = "signature_def"


class Handlers:
    """TensorFlow Serving's calls on the models of a manager.

    Args:
        models: ModelManager.
        reload_timeout: float. Seconds that a reload waits for a new model's first version.
    """

    def __init__(self, models: ModelManager, *, reload_timeout: float) -> None:
        self.models = models
        self._reload_timeout = reload_timeout

    def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        """Runs a signature on named tensors."""
        return self._with_servable(predict, request)

    def classify(self, request: classification_pb2.ClassificationRequest) -> classification_pb2.ClassificationResponse:
        """Runs a signature of the classify form on tf.Examples."""
        return self._with_servable(classify, request)

    def regress(self, request: regression_pb2.RegressionRequest) -> regression_pb2.RegressionResponse:
        """Runs a signature of the regress form on tf.Examples."""
        return self._with_servable(regress, request)

    def multi_inference(self, request: inference_pb2.MultiInferenceRequest) -> inference_pb2.MultiInferenceResponse:
        """Runs several signatures on the same tf.Examples."""
        if not request.tasks:
            raise invalid("Inference request must have at least one task")
        with self.models.servable(request.tasks[0].model_spec) as servable:
            return multi_inference(servable, request)

    def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """All signatures of a version."""
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for name in request.metadata_field:
            if name != SIGNATURE_DEF:
                raise invalid(f"Metadata field {name} is not supported")
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        with self.models.servable(request.model_spec) as servable:
            response.model_spec.name = servable.name
            response.model_spec.version.value = servable.version
            signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=servable.signatures)
        response.metadata[SIGNATURE_DEF].Pack(signatures)
        return response

    def status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """The state of one version, or of all of them, the newest first."""
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        spec = request.model_spec
        statuses = self.models.statuses(spec.name)
        if spec.HasField("version"):
            statuses = [status for status in statuses if status.version == spec.version.value]
            if not statuses:
                message = f"Could not find version {spec.version.value} of model {spec.name}"
                raise ServingError(Code.NOT_FOUND, message)
        if not statuses:
            raise ServingError(Code.NOT_FOUND, f"Could not find any versions of model {spec.name}")
        response = get_model_status_pb2.GetModelStatusResponse()
        for status in statuses:
            _add_status(response, status)
        return response

    def reload_config(
        self, request: model_management_pb2.ReloadConfigRequest
    ) -> model_management_pb2.ReloadConfigResponse:
        """Replaces all models by those of the request; returns once the new ones are available."""
        self.models.configure(model_configs(request.config), timeout=self._reload_timeout)
        response = model_management_pb2.ReloadConfigResponse()
        response.status.SetInParent()
        return response

    def _with_servable(self, answer: Callable[[Servable, Any], Any], request: Any) -> Any:
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        with self.models.servable(request.model_spec) as servable:
            return answer(servable, request)


def _add_status(response: get_model_status_pb2.GetModelStatusResponse, status: VersionStatus) -> None:
    entry = response.model_version_status.add(version=status.version, state=status.state)
    entry.status.SetInParent()
    if status.error is not None:
        entry.status.error_code = status.error.number
        entry.status.error_message = status.error.message
