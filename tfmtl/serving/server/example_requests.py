"""Classify, Regress and MultiInference: tf.Examples in, labelled scores or values out."""

from collections.abc import Sequence

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import classification_pb2, inference_pb2, input_pb2, regression_pb2

from tfmtl.serving.protocol.contract import DEFAULT_SIGNATURE
from tfmtl.serving.server.predict_requests import answered_by
from tfmtl.serving.server.servable import Servable
from tfmtl.serving.server.serving_error import Code, ServingError, invalid

CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"

_INPUT = "inputs"
_VALUES = "outputs"
_CLASSES = "classes"
_SCORES = "scores"


def classify(
    servable: Servable, request: classification_pb2.ClassificationRequest
) -> classification_pb2.ClassificationResponse:
    """Answers a ClassificationRequest."""
    name = request.model_spec.signature_name
    signature = _signature(servable, name)
    aliases = _classify_outputs(signature)
    examples = _examples(request.input)
    arrays = _run(
        servable, "Classify", [signature], examples, {alias: signature.outputs[alias].name for alias in aliases}
    )
    return classification_pb2.ClassificationResponse(
        model_spec=answered_by(servable, name), result=_classifications(arrays, len(examples))
    )


def regress(servable: Servable, request: regression_pb2.RegressionRequest) -> regression_pb2.RegressionResponse:
    """Answers a RegressionRequest."""
    name = request.model_spec.signature_name
    signature = _signature(servable, name)
    output = _regress_output(signature)
    examples = _examples(request.input)
    arrays = _run(servable, "Regress", [signature], examples, {_VALUES: output})
    return regression_pb2.RegressionResponse(
        model_spec=answered_by(servable, name), result=_regressions(arrays[_VALUES], len(examples))
    )


def multi_inference(
    servable: Servable, request: inference_pb2.MultiInferenceRequest
) -> inference_pb2.MultiInferenceResponse:
    """Answers a MultiInferenceRequest: one run of the graph for all its tasks."""
    wanted: dict[str, dict[str, str]] = {}  # signature -> alias -> graph tensor
    for task in request.tasks:
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        if task.model_spec.name != servable.name:
            raise invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        if name in wanted:
            raise invalid(f"Duplicate evaluation of signature: {name}")
        signature = _signature(servable, name)
        if task.method_name == CLASSIFY_METHOD:
            wanted[name] = {alias: signature.outputs[alias].name for alias in _classify_outputs(signature)}
        elif task.method_name == REGRESS_METHOD:
            wanted[name] = {_VALUES: _regress_output(signature)}
        else:
            raise ServingError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}")
    examples = _examples(request.input)
    tensors = {tensor: tensor for aliases in wanted.values() for tensor in aliases.values()}
    signatures = [servable.signatures[name] for name in wanted]
    arrays = _run(servable, "MultiInference", signatures, examples, tensors)
    response = inference_pb2.MultiInferenceResponse()
    for (name, aliases), task in zip(wanted.items(), request.tasks, strict=True):
        own = {alias: arrays[tensor] for alias, tensor in aliases.items()}
        result = response.results.add(model_spec=answered_by(servable, name))
        if task.method_name == CLASSIFY_METHOD:
            result.classification_result.CopyFrom(_classifications(own, len(examples)))
        else:
            result.regression_result.CopyFrom(_regressions(own[_VALUES], len(examples)))
    return response


def _signature(servable: Servable, name: str) -> meta_graph_pb2.SignatureDef:
    name = name or DEFAULT_SIGNATURE
    if name not in servable.signatures:
        raise invalid(f"No signature was found with the name: {name}")
    return servable.signatures[name]


def _check_input(signature: meta_graph_pb2.SignatureDef) -> None:
    if list(signature.inputs) != [_INPUT]:
        raise invalid(f'Expected one input Tensor, named "{_INPUT}". The signature has {sorted(signature.inputs)}')


def _classify_outputs(signature: meta_graph_pb2.SignatureDef) -> list[str]:
    _check_input(signature)
    aliases = [alias for alias in (_CLASSES, _SCORES) if alias in signature.outputs]
    if not aliases or len(signature.outputs) > 2:
        raise invalid(
            f'Expected classification signature outputs to be "{_CLASSES}", "{_SCORES}" or both. '
            f"The signature has {sorted(signature.outputs)}"
        )
    return aliases


def _regress_output(signature: meta_graph_pb2.SignatureDef) -> str:
    _check_input(signature)
    if list(signature.outputs) != [_VALUES]:
        raise invalid(f'Expected one output Tensor, named "{_VALUES}". The signature has {sorted(signature.outputs)}')
    return signature.outputs[_VALUES].name


def _examples(given: input_pb2.Input) -> np.ndarray:
    """Serialised examples; a context's bytes go first, which protobuf reads as a merge the example has the last word in."""
    context = b""
    examples: Sequence[bytes] = []
    match given.WhichOneof("kind"):
        case "example_list":
            examples = [example.SerializeToString() for example in given.example_list.examples]
        case "example_list_with_context":
            context = given.example_list_with_context.context.SerializeToString()
            examples = [example.SerializeToString() for example in given.example_list_with_context.examples]
    if not examples:
        raise invalid("Input is empty.")
    return np.array([context + example for example in examples], object)


def _run(
    servable: Servable,
    api: str,
    signatures: Sequence[meta_graph_pb2.SignatureDef],
    examples: np.ndarray,
    outputs: dict[str, str],
) -> dict[str, np.ndarray]:
    feeds = {signature.inputs[_INPUT].name: examples for signature in signatures}
    return dict(zip(outputs, servable.run(api, feeds, list(outputs.values())), strict=True))


def _classifications(arrays: dict[str, np.ndarray], count: int) -> classification_pb2.ClassificationResult:
    for alias, kind in ((_CLASSES, "O"), (_SCORES, "f")):
        array = arrays.get(alias)
        if array is not None and (array.ndim != 2 or len(array) != count or array.dtype.kind != kind):
            raise invalid(
                f"Expected {alias} of shape [{count}, num_classes] and type "
                f"{'DT_STRING' if kind == 'O' else 'DT_FLOAT'}. Got: {array.dtype} of shape {array.shape}"
            )
    classes, scores = arrays.get(_CLASSES), arrays.get(_SCORES)
    if classes is not None and scores is not None and classes.shape != scores.shape:
        raise invalid(f"Expected classes and scores of one shape. Got: {classes.shape} vs. {scores.shape}")
    result = classification_pb2.ClassificationResult()
    for row in range(count):
        entry = result.classifications.add()
        for column in range(next(iter(arrays.values())).shape[1]):
            found = entry.classes.add()
            if classes is not None:
                found.label = classes[row, column].decode("utf-8", "replace")
            if scores is not None:
                found.score = scores[row, column]
    return result


def _regressions(values: np.ndarray, count: int) -> regression_pb2.RegressionResult:
    if values.shape not in ((count,), (count, 1)):
        raise invalid(f"Expected output Tensor shape to be either [{count}] or [{count}, 1] but got {values.shape}")
    if values.dtype != np.float32:
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {values.dtype}")
    result = regression_pb2.RegressionResult()
    for value in values.reshape(-1).tolist():
        result.regressions.add(value=value)
    return result
