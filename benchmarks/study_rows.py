"""What the studies of label density and of selection share: encoded rows in memory, a training with early stopping, kept runs."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from scipy import stats

import tfmtl
from tfmtl.data import Preprocessor
from tfmtl.keras_host import inputs_by_name, keras
from tfmtl.metrics import exact
from tfmtl.schema import Schema


class Rows(NamedTuple):
    """Encoded columns and labels of a part."""

    x: dict[str, np.ndarray]
    y: dict[str, np.ndarray]

    def where(self, kept: np.ndarray) -> "Rows":
        """The rows of a mask."""
        return Rows(*({name: column[kept] for name, column in part.items()} for part in self))


def encoded(table: pa.Table, schema: Schema, *, counted: bool) -> Rows:
    """All rows of `table`; `counted` are those that the schema was adapted to."""
    preprocessor = Preprocessor(schema.features, out_of_fold=counted)
    parts: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for x, y in tfmtl.read(table, schema, batch_size=8192).map(preprocessor).as_numpy_iterator():
        parts.append((x, y))
    joined = ({name: np.concatenate([part[i][name] for part in parts]) for name in parts[0][i]} for i in (0, 1))
    return Rows(*joined)


def trained(
    model: keras.Model,
    schema: Schema,
    train: Rows,
    score: Callable[[dict[str, np.ndarray]], float],
    valid: Rows,
    test: Rows,
    *,
    normalize: bool,
    rate: float,
    batch: int,
    epochs: int,
    patience: int,
) -> tuple[int, dict[str, np.ndarray]]:
    """The best epoch by `score(predictions of valid)`, and what the model predicts for `test` after it."""
    columns = list(inputs_by_name(model))
    train, valid, test = (Rows({name: part.x[name] for name in columns}, part.y) for part in (train, valid, test))
    labels = {task: train.y[task] for task in schema.task_names}
    goals = tfmtl.objectives(schema.tasks, normalize=normalize)
    model.compile(tfmtl.LazyAdam(rate), loss=goals["loss"], loss_weights=goals["loss_weights"])
    best, best_epoch, kept = -np.inf, 0, {}
    for epoch in range(1, epochs + 1):
        model.fit(train.x, labels, batch_size=batch, epochs=1, verbose=0)
        reached = score(model.predict(valid.x, batch_size=8192, verbose=0))
        if reached > best:
            best, best_epoch = reached, epoch
            kept = model.predict(test.x, batch_size=8192, verbose=0)
        elif epoch - best_epoch >= patience:
            break
    return best_epoch, {task: np.asarray(values, "float64").reshape(-1) for task, values in kept.items()}


def figures(labels: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """AUC, log loss and calibration (mean prediction over mean label) of the labelled rows."""
    rows = ~np.isnan(labels)
    known, predicted = labels[rows].astype("float64"), predictions[rows]
    return {
        "auc": float(exact.auc(known, predicted)),
        "logloss": float(exact.log_loss(known, predicted)),
        "calibration": float(exact.calibration(known, predicted)),
    }


class Kept:
    """Finished runs in a JSON file, by what they are called."""

    def __init__(self, path: Path, settings: Mapping[str, Any]):
        self.path = path
        self.found: dict[str, Any] = {"settings": dict(settings), "runs": {}}
        if path.exists():
            self.found = json.loads(path.read_text())
            if self.found["settings"] != self.found["settings"] | dict(settings):
                raise SystemExit(f"{path} holds another study: {self.found['settings']}")

    def run(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The run called `name`, made now unless it is there."""
        if name not in self.found["runs"]:
            self.found["runs"][name] = make()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps(self.found, indent=1) + "\n")
            print(name, self.found["runs"][name], flush=True)
        return self.found["runs"][name]


def paired(ours: Iterable[float], theirs: Iterable[float]) -> str:
    """Mean difference and its 95 % interval of Student over the seeds, as text."""
    differences = np.array(list(ours)) - np.array(list(theirs))
    mean, count = differences.mean(), len(differences)
    if count < 2:
        return f"{mean:+.4f}"
    half = stats.t.ppf(0.975, count - 1) * differences.std(ddof=1) / count**0.5
    return f"{mean:+.4f} [{mean - half:+.4f}, {mean + half:+.4f}]"
