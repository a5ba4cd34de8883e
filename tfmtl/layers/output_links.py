"""From the numbers of a tower's last layer to what a task predicts; one link for each form of `tfmtl.outputs.Output`."""

import math
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from tfmtl.keras_host import ops
from tfmtl.outputs import Output
from tfmtl.typing import Tensor

LARGEST_LOGIT = 16.0
"""How far training goes along a sigmoid. In float32 that is 1 from 17 on, without a slope; at 16 a probability still lies
inside of what cross-entropies clip to (`masked_rows.EPSILON`), so its slope and theirs multiply to 1."""

LARGEST_LOGARITHM = 60.0
"""How far an exponential goes: a float32 ends at e^88, and losses multiply."""

LEAST_DEVIATION = 1e-3
"""Of a logarithm, below which a likelihood would have no bound."""


def raw_width(output: Output) -> int:
    """How many numbers the last layer gives; of ordered classes one score, which thresholds of their own are compared with."""
    return 1 if output.form == "ordered" else output.width


def predict(output: Output, raw: Tensor, training: bool | None) -> Tensor:
    """`raw`, `(B, raw_width)` float32, as the prediction `(B, width)`; of ordered classes `(B, width - 1)` logits of `y <= k`."""
    if output.form == "probability":
        return ops.sigmoid(bounded(raw) if training else raw)
    if output.form == "positive":
        return ops.exp(bounded(raw, LARGEST_LOGARITHM))
    if output.form == "classes":
        return ops.softmax(_near_the_largest(raw) if training else raw, axis=-1)
    if output.form == "ordered":
        return _ordered_classes(raw, training)
    if output.form == "quantiles":
        return _rising(raw, output.point or 0)
    if output.form == "zero_inflated":
        return _zero_inflated(raw, training)
    return raw


def start_of(output: Output, mean: float | Sequence[float] | None) -> list[float]:
    """What the last layer's biases, of ordered classes the thresholds, start at, so that the prediction is what labels are on average."""
    if output.form == "ordered":
        rates = list(_rates(output, mean))
        return [_logit(below) for below in list(accumulate(rates))[:-1]]
    if output.form == "classes":
        return [math.log(rate) for rate in _rates(output, mean)]
    start = [0.0] * output.width
    if isinstance(mean, (int, float)):
        if output.form == "probability":
            start[0] = _logit(mean)
        elif output.form == "positive":
            start[0] = math.log(mean)
        elif output.form == "zero_inflated":
            start[1] = math.log(2 * mean) - 0.5  # with an even chance of a value, and a deviation of about 1
            start[2] = math.log(math.e - 1)
        else:
            start[output.point or 0] = float(mean)
    return start


def can_start_at(output: Output, mean: float | Sequence[float]) -> bool:
    """Whether a prediction can be `mean`."""
    if output.form in ("classes", "ordered"):
        rates = tuple(mean) if isinstance(mean, Sequence) else ()
        return len(rates) == output.width and min(rates) >= 0 and math.isclose(sum(rates), 1, abs_tol=1e-3)
    if not isinstance(mean, (int, float)) or not math.isfinite(mean):
        return False
    if output.form == "probability":
        return 0 < mean < 1
    return mean > 0 or output.form not in ("positive", "zero_inflated")


def bounded(raw: Tensor, largest: float = LARGEST_LOGIT) -> Tensor:
    """`raw` within `largest` of 0, with a slope of 1 everywhere."""
    within = ops.stop_gradient(ops.clip(raw, -largest, largest))
    return within + (raw - ops.stop_gradient(raw))  # + 0, by which the gradient passes


def _near_the_largest(logits: Tensor) -> Tensor:
    """Logits of classes, less their largest and at most `LARGEST_LOGIT` below it, with a slope of 1 everywhere."""
    relative = ops.stop_gradient(logits - ops.max(logits, axis=-1, keepdims=True))
    return ops.maximum(relative, -LARGEST_LOGIT) + (logits - ops.stop_gradient(logits))


def _ordered_classes(logits: Tensor, training: bool | None) -> Tensor:
    """`(B, C - 1)` rising logits of `y <= k` -> `(B, C)` probabilities.

    `sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a))`: a product of what is known to every digit, where the
    difference would be 0 far out. `1 - exp(-d)` is `tanh(d / 2) (1 + exp(-d))` here: ONNX has no `expm1`.
    """
    gaps = logits[:, 1:] - logits[:, :-1]
    apart = ops.tanh(gaps / 2) * (1 + ops.exp(-gaps))
    logits = bounded(logits) if training else logits
    below, above = ops.sigmoid(logits), ops.sigmoid(-logits)
    return ops.concatenate([below[:, :1], below[:, 1:] * above[:, :-1] * apart, above[:, -1:]], axis=-1)


def _rising(raw: Tensor, point: int) -> Tensor:
    """The column `point` as it is, those beside it apart by softplus of their own."""
    columns = ops.split(raw, raw.shape[-1], axis=-1)
    found = {point: columns[point]}
    for place in range(point + 1, len(columns)):
        found[place] = found[place - 1] + ops.softplus(columns[place])
    for place in range(point - 1, -1, -1):
        found[place] = found[place + 1] - ops.softplus(columns[place])
    return ops.concatenate([found[place] for place in range(len(columns))], axis=-1)


def _zero_inflated(raw: Tensor, training: bool | None) -> Tensor:
    """Logit of a value, mean and deviation of its logarithm -> mean, probability, deviation."""
    logit, mu, deviation = ops.split(raw, 3, axis=-1)
    logit = bounded(logit) if training else logit
    deviation = ops.softplus(deviation) + LEAST_DEVIATION
    log_mean = bounded(ops.log_sigmoid(logit) + mu + ops.square(deviation) / 2, LARGEST_LOGARITHM)
    return ops.concatenate([ops.exp(log_mean), ops.sigmoid(logit), deviation], axis=-1)


def _rates(output: Output, mean: float | Sequence[float] | None) -> np.ndarray:
    """The rates of the classes, none of them 0, even ones where they are not known."""
    rates = np.full(output.width, 1 / output.width) if mean is None else np.maximum(np.asarray(mean, "float64"), 1e-6)
    return rates / rates.sum()


def _logit(rate: float) -> float:
    return math.log(rate / (1 - rate))
