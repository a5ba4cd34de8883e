"""The doctor's visits while `fit` runs."""

import copy
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from tfmtl.analysis.doctor.diagnose import check_backend, diagnosis_of
from tfmtl.analysis.doctor.diagnosis import Diagnosis
from tfmtl.analysis.doctor.examiner import Examiner
from tfmtl.analysis.doctor.finding import SEVERITIES
from tfmtl.checks import check_count
from tfmtl.keras_host import keras
from tfmtl.schema import Schema
from tfmtl.training.scalar_log import ScalarLog


class Checkup(keras.callbacks.Callback):
    """Runs `diagnose` after every `every`-th epoch and after the last one.

    `diagnoses` holds what was found, by epoch (from 0). With `log_dir`, TensorBoard shows every measurement and the number of
    findings of each severity under `diagnose/`; with `html`, the last report lies there as a page. Weights from before the
    first step are kept, so that tables that barely move are found; the logs of `fit` so far serve as its history.

    Under several workers, give it to the chief alone.

    Args:
        dataset, schema, train, preprocessor, steps: as in `diagnose`.
        every: int, epochs from one visit to the next: a visit reads `steps` batches and takes a backward pass a task.
        log_dir: a folder for TensorBoard (`pip install tfmtl[tensorboard]`).
        html: a file that every visit writes anew.

    Raises:
        ValueError: `every` or `steps` below 1, and what `diagnose` refuses.
        ImportError: `log_dir` without TensorBoard.

    Example:

    ```python
    checkup = Checkup(valid, schema, train=train, every=2, log_dir="logs", html="diagnosis.html")
    model.fit(train, epochs=10, callbacks=[Validation(valid, schema), checkup])
    print(checkup.last)
    ```
    """

    def __init__(
        self,
        dataset: Any,
        schema: Schema,
        *,
        train: Any = None,
        preprocessor: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        steps: int = 20,
        every: int = 1,
        log_dir: str | PathLike[str] | None = None,
        html: str | PathLike[str] | None = None,
    ):
        super().__init__()
        check_backend("Checkup")
        self.dataset = dataset
        self.schema = schema
        self.train = train
        self.options: dict[str, Any] = {"preprocessor": preprocessor, "steps": check_count("steps", steps)}
        self.every = check_count("every", every)
        self.html = None if html is None else Path(html)
        self.log = None if log_dir is None else ScalarLog(log_dir)
        self.diagnoses: dict[int, Diagnosis] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "Checkup":
        """A callback of its own over the same data: datasets have no copies."""
        copied = copy.copy(self)
        copied.diagnoses = {}
        return copied

    @property
    def last(self) -> Diagnosis | None:
        """What the last visit found; None before the first."""
        return self.diagnoses[max(self.diagnoses)] if self.diagnoses else None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._examiner = Examiner(self.model, self.schema, **self.options)
        self._initial: list[np.ndarray] = self.model.get_weights()
        self._history: dict[str, list[float]] = {}
        self._epoch: int | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch
        for name, value in (logs or {}).items():
            self._history.setdefault(name, []).append(float(value))
        if (epoch + 1) % self.every == 0:
            self._visit(epoch)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self._epoch is not None and self._epoch not in self.diagnoses:
            self._visit(self._epoch)

    def _visit(self, epoch: int) -> None:
        found = diagnosis_of(
            self._examiner(self.dataset, train=self.train, history=self._history, initial=self._initial)
        )
        self.diagnoses[epoch] = found
        if self.log is not None:
            counts = {f"findings/{level}": float(sum(each.severity == level for each in found)) for level in SEVERITIES}
            self.log.write(
                {f"diagnose/{name}": value for name, value in {**found.measurements, **counts}.items()}, epoch
            )
        if self.html is not None:
            found.to_html(self.html)
