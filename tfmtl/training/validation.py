"""Exact validation figures in the logs of `fit`."""

import copy
from collections.abc import Callable, Collection, Mapping
from typing import Any

import tensorflow as tf

from tfmtl.checks import check_count
from tfmtl.keras_host import keras
from tfmtl.schema import Schema
from tfmtl.training.evaluation import Evaluation, Slice
from tfmtl.training.figures import WATCHED


class Validation(keras.callbacks.Callback):
    """Evaluates after every epoch and adds the figures to the logs, under `val_` names.

    Callbacks run in the order of their list and share the logs: put this one *before* those that read it
    (`EarlyStopping`, `ModelCheckpoint`, `CSVLogger`). It takes the place of `validation_data`.

    Under several workers each one evaluates for itself. All must be given the whole, same `dataset`, not shards of it:
    figures that differ make `EarlyStopping` end one worker while the others wait for it forever.

    Args:
        dataset, schema, preprocessor, group, slices: as in `tfmtl.evaluate`.
        figures: as in `tfmtl.evaluate`; by default those that one watches, `auc`, `gauc`, `logloss`, `calibration`, `accuracy` and
            `rmse`, since the progress bar shows every figure of the logs. All of the first table: `tfmtl.training.FIGURES`.
        validation_freq: epochs from one evaluation to the next, as in `fit`: figures by group can cost more than an epoch.
            In between the logs hold no `val_` figures, and a `patience` counts evaluations.

    Raises:
        ValueError: a `validation_freq` below 1, or what `tfmtl.evaluate` refuses.

    Example:

    ```python
    callbacks = [
        Validation(valid, schema, group="user_id"),
        keras.callbacks.EarlyStopping(monitor="val_click_gauc", mode="max", patience=2, restore_best_weights=True),
    ]
    model.fit(train, epochs=20, callbacks=callbacks)
    ```
    """

    def __init__(
        self,
        dataset: tf.data.Dataset,
        schema: Schema,
        *,
        preprocessor: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        group: str | None = None,
        slices: Mapping[str, Slice] | None = None,
        figures: Collection[str] = WATCHED,
        validation_freq: int = 1,
    ):
        super().__init__()
        self.dataset = dataset
        self.schema = schema
        self.validation_freq = check_count("validation_freq", validation_freq)
        self.options: dict[str, Any] = {
            "preprocessor": preprocessor,
            "group": group,
            "slices": slices,
            "figures": figures,
        }

    def __deepcopy__(self, memo: dict[int, Any]) -> "Validation":
        """A callback of its own over the same data, as KerasTuner makes one for each trial: datasets have no copies."""
        return copy.copy(self)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.evaluation = Evaluation(self.model, self.schema, **self.options)
        self.evaluation.check(self.dataset)  # now rather than after an epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None and (epoch + 1) % self.validation_freq == 0:
            logs.update({f"val_{name}": value for name, value in self.evaluation(self.dataset).items()})
