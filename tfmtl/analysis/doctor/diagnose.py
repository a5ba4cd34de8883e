"""From a model and its data to what is wrong with them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tfmtl.analysis.doctor.checks import CHECKS
from tfmtl.analysis.doctor.diagnosis import Diagnosis
from tfmtl.analysis.doctor.examination import Examination
from tfmtl.analysis.doctor.examiner import Examiner
from tfmtl.analysis.doctor.finding import SEVERITIES
from tfmtl.analysis.doctor.measurements import measurements
from tfmtl.checks import check_count
from tfmtl.keras_host import BACKEND, keras
from tfmtl.schema import Schema


def diagnose(
    model: keras.Model,
    dataset: Any,
    schema: Schema,
    *,
    train: Any = None,
    history: Any = None,
    comparison: Any = None,
    initial: Sequence[np.ndarray] | None = None,
    preprocessor: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    steps: int = 100,
) -> Diagnosis:
    """Looks for what goes wrong when tasks are learned together: in labels and features, gradients, experts, gates, outputs.

    Each finding says what was seen, the numbers behind it, and what to do; `docs/diagnose.md` lists all of them with the
    thresholds and their reasons. A check speaks up if a difference matters *and* is none that chance makes: on rows without
    a fault less than one time in a thousand. Give rows that the model was not trained on as `dataset`, and those that it
    was as `train`.

    Any Keras model that returns a dict by task can be looked at. Gradients need a functional one; experts and gates need
    layers that show them (`tfmtl.typing.MixesExperts`), as those of tfmtl do. What could not be looked at is said in the
    remarks. The model is left as it is.

    Args:
        model: trained, in training or fresh: what only training can put right is not held against a fresh one.
        dataset: batches `(x, y)` or `(x, y, sample_weight)` of encoded columns and labels, such as a `tf.data.Dataset`.
        schema: features and tasks.
        train: batches of the training set: overfitting, ids that are new, gaps in the labels of an epoch; gradients are
            measured on them.
        history: what `fit` returned, or its `history`: overfitting of one task while another still improves.
        comparison: what `compare` returned: tasks that a single-task model serves better.
        initial: `model.get_weights()` from before training: tables that barely moved.
        preprocessor: encodes `x` of both datasets; None where they are encoded already.
        steps: int, how many batches of each dataset are read at most.

    Returns:
        The findings, to be printed, iterated, or written as HTML, JSON or a DataFrame.

    Raises:
        ValueError: a backend other than TensorFlow, a model that returns no dict or lacks a task of the schema, a dataset
            that can be read only once, or without batches, a column or a label, a label that its task cannot have, `initial` of another model, or
            `steps` below 1.

    Example:

    >>> import numpy as np
    >>> from tfmtl import Numeric, Schema, Task
    >>> from tfmtl.analysis import diagnose
    >>> from tfmtl.models import mmoe
    >>> schema = Schema([Numeric("age", transform=None, flag_missing=False)], [Task("click", mean=0.5), Task("buy", mean=0.1)])
    >>> age = np.linspace(-1, 1, 64, dtype="float32")
    >>> rows = [({"age": age}, {"click": (age > 0).astype("float32"), "buy": np.full(64, np.nan, "float32")})]
    >>> found = diagnose(mmoe(schema, units=(4,), num_experts=2), rows, schema)
    >>> [(each.severity, each.name, each.where) for each in found.at_least("error")]
    [('error', 'unlabelled_task', 'buy'), ('error', 'leaking_feature', 'age -> click')]
    """
    steps = check_count("steps", steps)
    check_backend("diagnose")
    examiner = Examiner(model, schema, preprocessor=preprocessor, steps=steps)
    curves = _history(history)
    return diagnosis_of(examiner(dataset, train=train, history=curves, comparison=comparison, initial=initial))


def diagnosis_of(examined: Examination) -> Diagnosis:
    """What the checks say of an examination."""
    if not examined.trained:
        examined.remarks.append(
            "The model has not taken a step: what training would put right was not held against it."
        )
    findings = [finding for check in CHECKS for finding in check(examined)]
    findings.sort(key=lambda each: SEVERITIES.index(each.severity))
    gradients = examined.gradients
    return Diagnosis(
        tuple(findings),
        measurements(examined),
        tuple(examined.remarks),
        examined.rows.count,
        examined.model.name,
        examined.schema.task_names,
        gradients.mean_cosines if gradients is not None and gradients.layers else None,
    )


def check_backend(name: str) -> None:
    """Raises ValueError unless gradients can be taken as `name` takes them."""
    if BACKEND != "tensorflow":
        raise ValueError(f"`{name}` needs the TensorFlow backend. Received: backend={BACKEND!r}")


def _history(history: Any) -> Mapping[str, Sequence[float]]:
    """`{name: figure of each epoch}` of what `fit` returns, or of its `history`."""
    if history is None:
        return {}
    curves = getattr(history, "history", history)
    if not isinstance(curves, Mapping):
        raise ValueError(
            f"`history` must be what `fit` returned, or its `history`, a dict. Received: {type(history).__name__}"
        )
    return curves
