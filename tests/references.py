"""A layer against its equations in NumPy: outputs, and gradients by differences of the equations, all in float64."""

from typing import Any

import numpy as np
from harness import gradients, ops

STEP = 1e-6


def assert_follows(layer: Any, call: Any, reference: Any) -> None:
    """`call(layer)` must give what `reference(value)` gives, and have its slopes.

    Args:
        layer: built; its weights are the ones to differentiate by.
        call: the layer -> a tensor, or a dict of them.
        reference: a function from a weight to its value -> an array, or a dict of them.
    """
    values = {id(variable): np.asarray(ops.convert_to_tensor(variable), "float64") for variable in layer.weights}

    def referred() -> dict[str, np.ndarray]:
        return _by_name(reference(lambda variable: values[id(variable)]))

    wanted = referred()
    found = {name: np.asarray(y) for name, y in _by_name(call(layer)).items()}
    assert set(found) == set(wanted)
    for name, y in wanted.items():
        np.testing.assert_allclose(found[name], y, rtol=2e-5, atol=2e-5, err_msg=name)

    random = np.random.default_rng(1)
    shares = {name: random.normal(size=y.shape) for name, y in wanted.items()}
    variables = layer.trainable_variables
    slopes = gradients(
        lambda: sum(
            ops.sum(ops.convert_to_tensor(shares[name], "float32") * y) for name, y in _by_name(call(layer)).items()
        ),
        variables,
    )
    for variable, slope in zip(variables, slopes, strict=True):
        assert slope is not None, f"no gradient reaches {variable.name}"
        start = values[id(variable)]
        way = random.normal(size=start.shape)
        ends = []
        for sign in (1, -1):
            values[id(variable)] = start + sign * STEP * way
            ends.append(sum(float((shares[name] * y).sum()) for name, y in referred().items()))
        values[id(variable)] = start
        expected = (ends[0] - ends[1]) / (2 * STEP)
        scale = max(1.0, float(np.abs(slope * way).sum()))
        assert abs(float((slope * way).sum()) - expected) <= 1e-4 * scale, f"the slope of {variable.name}"


def _by_name(outputs: Any) -> dict[str, Any]:
    return dict(outputs) if isinstance(outputs, dict) else {"y": outputs}


def shaken(layer: Any, seed: int = 0) -> Any:
    """`layer`, built, with weights that are nowhere 0 or 1."""
    random = np.random.default_rng(seed)
    layer.set_weights([w + random.uniform(0.05, 0.3, w.shape).astype("float32") for w in layer.get_weights()])
    return layer


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)
