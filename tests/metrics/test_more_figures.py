"""Further figures, exact and streamed: against scikit-learn, and against loops over pairs and groups."""

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    log_loss,
    ndcg_score,
    roc_auc_score,
)

from tfmtl.keras_host import keras
from tfmtl.metrics import (
    MaskedAUC,
    MaskedAveragePrecision,
    MaskedCalibrationError,
    MaskedKerasMetric,
    MaskedLogLoss,
    MaskedNormalizedEntropy,
    MaskedRootMeanSquaredError,
    OneColumn,
    exact,
)
from tfmtl.schema import Task
from tfmtl.training.figures import task_figures

NAN = float("nan")
RNG = np.random.default_rng(0)
ROWS = 400
P = RNG.uniform(0.01, 0.99, ROWS).astype("float32").round(2)  # with ties
Y = (RNG.random(ROWS) < P**2).astype("float32")
W = RNG.uniform(0, 2, ROWS).astype("float32")
GROUPS = RNG.integers(-1, 40, ROWS).astype("int32")
CLASSES = RNG.integers(0, 3, ROWS).astype("float32")
SIMPLEX = RNG.dirichlet(np.ones(3), ROWS).astype("float32")


def calibration_error(y, p, w, by_width):
    """Each row alone: the mass below it and half of its ties, or its prediction, says which bin."""
    ties = np.array([w[p < each].sum() + w[p == each].sum() / 2 for each in p]) / w.sum()
    bins = np.minimum((p.astype("float32") * np.float32(10) if by_width else ties * 10).astype(int), 9)
    return sum(abs((w * (y - p))[bins == each].sum()) for each in range(10)) / w.sum()


def xauc(y, p, w):
    right = total = 0.0
    for i in range(len(y)):
        for j in range(len(y)):
            if y[i] > y[j]:
                total += w[i] * w[j]
                right += w[i] * w[j] * ((p[i] > p[j]) + 0.5 * (p[i] == p[j]))
    return right / total


@pytest.mark.parametrize("weighted", [False, True])
def test_of_single_rows(weighted):
    w, given = (W, W) if weighted else (np.ones_like(W), None)
    base = np.average(Y, weights=w)
    entropy = -base * np.log(base) - (1 - base) * np.log(1 - base)
    figures = task_figures(Task("t"), Y, P, None, given, names=("ap", "ne", "brier", "ece", "ece_width"))
    expected = {
        "ap": average_precision_score(Y, P, sample_weight=w),
        "ne": log_loss(Y, P, sample_weight=w) / entropy,
        "brier": brier_score_loss(Y, P, sample_weight=w),
        "ece": calibration_error(Y, P.astype("float64"), w, by_width=False),
        "ece_width": calibration_error(Y, P.astype("float64"), w, by_width=True),
    }
    assert figures == pytest.approx(expected, rel=1e-5)
    values = P[:120] * 10 // 3
    assert exact.xauc(values, P[120:240], None if given is None else w[:120]) == pytest.approx(
        xauc(values, P[120:240], w[:120].astype("float64")), rel=1e-9
    )
    classes = task_figures(Task("t", "multiclass", num_classes=3), CLASSES, SIMPLEX, None, given)
    one_hot = np.eye(3)[CLASSES.astype(int)]
    assert classes == pytest.approx(
        {
            "rows": ROWS,
            "auc": roc_auc_score(one_hot, SIMPLEX, average="macro", sample_weight=w),
            "logloss": log_loss(CLASSES, SIMPLEX.astype("float64"), sample_weight=w),
            "accuracy": accuracy_score(CLASSES, SIMPLEX.argmax(1), sample_weight=w),
        },
        rel=1e-5,
    )


def of_groups(weights):
    """Group by group: `{figure: mean}` over groups with a positive, by the mean weight of their rows."""
    found: dict[str, list[float]] = {}
    for group in range(40):
        rows = (group == GROUPS) & True
        y, p = Y[rows], P[rows] - 1e-6 * Y[rows]  # of equal predictions the negatives come first
        if not y.any():
            continue
        ranked = y[np.argsort(-p, kind="stable")]
        first = int(np.argmax(ranked))
        found.setdefault("weight", []).append(weights[rows].mean())
        found.setdefault("ndcg@3", []).append(ndcg_score(y[None], p[None], k=3) if len(y) > 1 else 1.0)
        found.setdefault("recall@3", []).append(ranked[:3].sum() / y.sum())
        found.setdefault("hit@1", []).append(float(first == 0))
        found.setdefault("mrr", []).append(1 / (first + 1))
    counts = found.pop("weight")
    return {name: np.average(values, weights=counts) for name, values in found.items()}


@pytest.mark.parametrize("weighted", [False, True])
def test_within_groups(weighted):
    given, w = (W, W) if weighted else (None, np.ones_like(W))
    names = ("ndcg@3", "recall@3", "hit@1", "mrr")
    assert task_figures(Task("t"), Y, P, GROUPS, given, names=names) == pytest.approx(of_groups(w), rel=1e-6)
    both = [g for g in range(40) if len(set(Y[g == GROUPS])) == 2]
    areas = [roc_auc_score(Y[g == GROUPS], P[g == GROUPS], sample_weight=w[g == GROUPS]) for g in both]
    figures = task_figures(Task("t"), Y, P, GROUPS, given, names=("gauc_groups", "gauc_positives"))
    positives = [(w * Y)[g == GROUPS].sum() for g in both]
    expected = {"gauc_groups": np.mean(areas), "gauc_positives": np.average(areas, weights=positives)}
    assert figures == pytest.approx(expected, rel=1e-6)


def test_an_even_model_finds_nothing_and_what_is_undefined_is_nan():
    y, groups = np.array([1.0, 0, 0, 0]), np.zeros(4, "int32")
    even = task_figures(Task("t"), y, np.full(4, 0.5), groups, names=("hit@3", "recall@1", "mrr", "ndcg@3"))
    assert even == {"hit@3": 0, "recall@1": 0, "mrr": 0.25, "ndcg@3": 0}
    names = ("hit@3", "mrr", "ap", "ne", "gauc_groups")
    none = task_figures(Task("t"), np.zeros(4), np.full(4, 0.5), groups, names=names)
    broken = task_figures(Task("t"), y, np.full(4, NAN), groups, names=(*names, "ece"))
    assert np.isnan([*none.values(), *broken.values()]).all()
    assert np.isnan(exact.xauc(np.ones(3), np.arange(3.0)))


def streamed(metric, labels, predictions, weights=None):
    missing = np.arange(ROWS) % 5 == 0
    labels = np.where(missing, NAN, labels).astype("float32")
    for start in range(0, ROWS, 64):
        part = slice(start, start + 64)
        metric.update_state(labels[part], predictions[part], None if weights is None else weights[part])
    return float(metric.result()), ~missing


STREAMED = {
    "ap": (MaskedAveragePrecision, exact.average_precision, 2e-3),
    "ne": (MaskedNormalizedEntropy, exact.normalized_entropy, 1e-5),
    "ece": (MaskedCalibrationError, exact.calibration_error, 2e-3),
    "ece_width": (
        lambda: MaskedCalibrationError(cut="width"),
        lambda *columns: exact.calibration_error(*columns, by_width=True),
        1e-5,
    ),
    "auc": (lambda: MaskedAUC(num_classes=3), exact.macro_auc, 2e-3),
    "logloss": (lambda: MaskedLogLoss(num_classes=3), exact.class_log_loss, 1e-5),
    "accuracy": (lambda: MaskedKerasMetric("accuracy", "multiclass", num_classes=3), exact.accuracy, 1e-5),
    "sparse": (
        lambda: MaskedKerasMetric(keras.metrics.SparseCategoricalAccuracy(), "multiclass", num_classes=3),
        exact.accuracy,
        1e-5,
    ),
}


@pytest.mark.parametrize("name", STREAMED)
def test_streamed_figures_are_near_the_exact_ones(name):
    make, figure, apart = STREAMED[name]
    labels, predictions = (Y, P[:, None]) if name in ("ap", "ne", "ece", "ece_width") else (CLASSES, SIMPLEX)
    columns = P if predictions.shape[1] == 1 else SIMPLEX
    for weights in (None, W):
        got, kept = streamed(make(), labels, predictions, weights)
        expected = figure(labels[kept], columns[kept], None if weights is None else weights[kept])
        assert got == pytest.approx(expected, rel=apart, abs=apart)
    again = type(make()).from_config(make().get_config())
    assert streamed(again, labels, predictions, W)[0] == pytest.approx(got, rel=1e-6)
    assert np.isnan(make().result()) or name in ("accuracy", "sparse")


def test_one_column_of_several():
    metric = OneColumn(MaskedRootMeanSquaredError(), column=1)
    metric = OneColumn.from_config(metric.get_config())
    metric.update_state(np.stack([Y, GROUPS], 1), np.stack([Y, P, Y], 1), W)
    assert float(metric.result()) == pytest.approx(exact.mean_squared_error(Y, P, W) ** 0.5, rel=1e-5)


def test_what_is_refused():
    with pytest.raises(ValueError, match="`cut` must be one of"):
        MaskedCalibrationError(cut="depth")
    with pytest.raises(ValueError, match="`num_classes` must be an integer >= 2"):
        MaskedKerasMetric("accuracy", "multiclass")
    with pytest.raises(ValueError, match=r"The labels of `auc` must be .* from 0 to 2"):
        MaskedAUC(num_classes=3).update_state(CLASSES + 2, SIMPLEX)
