"""Classify, Regress and MultiInference: forms, answers and refusals."""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    input_pb2,
    model_pb2,
    regression_pb2,
)

Code = grpc.StatusCode
CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def example(price=None, age=None):
    found = tf.train.Example()
    if price is not None:
        found.features.feature["price"].float_list.value.append(price)
    if age is not None:
        found.features.feature["age"].int64_list.value.append(age)
    return found


EXAMPLES = [example(0.25), example(0.5, age=1000)]


def given(examples=EXAMPLES, context=None):
    if context is None:
        return input_pb2.Input(example_list=input_pb2.ExampleList(examples=examples))
    merged = input_pb2.ExampleListWithContext(examples=examples, context=context)
    return input_pb2.Input(example_list_with_context=merged)


def spec(signature, name="ranker", version=1):
    found = model_pb2.ModelSpec(name=name, signature_name=signature)
    found.version.value = version
    return found


def classification(signature, examples=None, **options):
    return classification_pb2.ClassificationRequest(
        model_spec=spec(signature, **options), input=given() if examples is None else examples
    )


def regression(signature, examples=None, **options):
    return regression_pb2.RegressionRequest(
        model_spec=spec(signature, **options), input=given() if examples is None else examples
    )


def refusal(call, request):
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=30)
    return caught.value


def test_classify_gives_labels_and_scores(served):
    response = served.prediction.Classify(classification("classify"))
    assert response.model_spec == spec("classify")
    rows = [[(found.label, found.score) for found in row.classes] for row in response.result.classifications]
    assert rows == [[("no", 0.75), ("yes", 0.25)], [("no", -0.5), ("yes", 1.5)]]


def test_classify_without_labels(served):
    response = served.prediction.Classify(classification("scores_only"))
    rows = [[(found.label, found.score) for found in row.classes] for row in response.result.classifications]
    assert rows == [[("", 0.25)], [("", 1.5)]]


def test_regress(served):
    response = served.prediction.Regress(regression("regress"))
    assert response.model_spec == spec("regress")
    np.testing.assert_allclose([entry.value for entry in response.result.regressions], [0.25, 1.5])


def test_a_context_is_merged_and_the_example_has_the_last_word(served):
    examples = given([example(0.25), example(0.5, age=2000)], context=example(age=1000))
    response = served.prediction.Regress(regression("regress", examples))
    np.testing.assert_allclose([entry.value for entry in response.result.regressions], [1.25, 2.5])


@pytest.mark.parametrize("api", ["Classify", "Regress"])
@pytest.mark.parametrize(
    ("options", "code", "part"),
    [
        ({"name": ""}, Code.INVALID_ARGUMENT, ""),
        ({"name": "nobody"}, Code.NOT_FOUND, "nobody"),
        ({"version": 9}, Code.NOT_FOUND, "9"),
        ({"signature": "rank"}, Code.INVALID_ARGUMENT, "rank"),
        ({"signature": ""}, Code.INVALID_ARGUMENT, ""),  # serving_default has another form
        ({"signature": "single"}, Code.INVALID_ARGUMENT, ""),
        ({"examples": given([])}, Code.INVALID_ARGUMENT, "Input is empty."),
        ({"examples": input_pb2.Input()}, Code.INVALID_ARGUMENT, "Input is empty."),
        ({"examples": given([], context=example(0.5))}, Code.INVALID_ARGUMENT, "Input is empty."),
    ],
    ids=str,
)
def test_refusals(served, api, options, code, part):
    make = classification if api == "Classify" else regression
    arguments = {"signature": "classify" if api == "Classify" else "regress", **options}
    error = refusal(getattr(served.prediction, api), make(**arguments))
    assert error.code() == code and part in error.details(), error.details()


def test_the_form_is_checked(served):
    assert refusal(served.prediction.Regress, regression("classify")).code() == Code.INVALID_ARGUMENT
    assert refusal(served.prediction.Classify, classification("regress")).code() == Code.INVALID_ARGUMENT
    assert refusal(served.prediction.Regress, regression("regress_wide")).code() == Code.INVALID_ARGUMENT


def test_no_model_spec(served):
    for call, request in (
        (served.prediction.Classify, classification_pb2.ClassificationRequest(input=given())),
        (served.prediction.Regress, regression_pb2.RegressionRequest(input=given())),
        (served.prediction.MultiInference, inference_pb2.MultiInferenceRequest(input=given())),
    ):
        assert refusal(call, request).code() == Code.INVALID_ARGUMENT


def multi(*tasks, examples=None):
    request = inference_pb2.MultiInferenceRequest(input=given() if examples is None else examples)
    for model_spec, method in tasks:
        request.tasks.add(model_spec=model_spec, method_name=method)
    return request


def test_multi_inference_answers_in_the_order_of_its_tasks(served):
    tasks = [(spec("regress"), REGRESS), (spec("classify"), CLASSIFY)]
    results = served.prediction.MultiInference(multi(*tasks)).results
    assert [result.model_spec for result in results] == [spec("regress"), spec("classify")]
    values = [entry.value for entry in results[0].regression_result.regressions]
    np.testing.assert_allclose(values, [0.25, 1.5])
    assert [row.classes[1].score for row in results[1].classification_result.classifications] == [0.25, 1.5]


@pytest.mark.parametrize(
    ("tasks", "code"),
    [
        ([(spec("regress"), REGRESS), (spec("regress"), REGRESS)], Code.INVALID_ARGUMENT),
        ([(spec("regress"), REGRESS), (spec("classify", "other", 7), CLASSIFY)], Code.INVALID_ARGUMENT),
        ([(spec("regress"), CLASSIFY)], Code.INVALID_ARGUMENT),
        ([(spec("rank"), REGRESS)], Code.INVALID_ARGUMENT),
        ([(spec("regress"), "tensorflow/serving/predict")], Code.UNIMPLEMENTED),
        ([(spec("regress", "nobody"), REGRESS)], Code.NOT_FOUND),
        ([(spec("regress", ""), REGRESS)], Code.INVALID_ARGUMENT),
    ],
)
def test_multi_inference_refuses(served, tasks, code):
    assert refusal(served.prediction.MultiInference, multi(*tasks)).code() == code


def test_multi_inference_needs_examples(served):
    error = refusal(served.prediction.MultiInference, multi((spec("regress"), REGRESS), examples=given([])))
    assert (error.code(), error.details()) == (Code.INVALID_ARGUMENT, "Input is empty.")
