"""Training that goes on where a process that died has left it."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from tfmtl import passes
from tfmtl.checks import check_count
from tfmtl.chief import is_chief, own_path
from tfmtl.keras_host import BACKEND, begin_at, keras, raw
from tfmtl.paths import local_path
from tfmtl.training.checkpoint_folder import CheckpointFolder
from tfmtl.training.model_files import WEIGHTS
from tfmtl.training.run_state import Arrays, clocks_of, gathered, restore, restore_history, restore_metrics

_log = logging.getLogger(__name__)
_WEIGHTS, _ARRAYS = f"model{WEIGHTS}", "arrays.npz"


class Resume(keras.callbacks.Callback):
    """Saves all that training consists of, and goes on from there when the same command runs again.

    A process that is killed at any moment and started again ends with the weights of one that ran through, on one device to the
    bit. What comes back: the weights; what the optimizer remembers, its learning rate and its steps, the clock of schedules and
    of weights that decay; the state of a balancer; the epoch, the batches of it that were trained on, and the shuffle; the
    random state of layers (on Keras 3 alone: that of tf_keras lies in TensorFlow's operations); the metrics of the epoch so
    far, the logs of the epochs before, and what other callbacks remember.

    It is the last callback, and is told those before it. Batches that were trained on are read again and passed over: other
    callbacks see them once more, with the logs that the checkpoint holds, and the data have to come in the order that they
    had. Those of `read` do, shuffled or not, if `seed` is given or `keras.utils.set_random_seed` was called; a
    `tf.data.Dataset.shuffle` of your own does so with `reshuffle_each_iteration=False`.

    Data that do not say how many batches they have, as CSV and TFRecord files, end in the middle of a step. tfmtl's optimizers
    neither count it nor let weights decay by it. Of Keras's own the count is taken back, but a `weight_decay` has been applied
    once more, by each process that comes to the end of an epoch; with `steps_per_epoch` and repeated data there is no such step.

    A run that ended is not trained again: the same command loads its weights. To begin anew, delete the folder.

    Under several workers all call `fit` with it, the chief writes, and the folder must be one that all of them see. Parameter
    servers go on with the epoch that the checkpoint holds from its beginning: which rows their workers have read is not known.

    Args:
        folder: of this machine, or mounted, where checkpoints lie, `checkpoint-00000001` and so on, the last two. Each holds
            `model.weights.h5`, which `model.load_weights` reads too. A damaged one is passed over with a warning.
        callbacks: the others of this `fit`. Their attributes that are numbers, texts, arrays, and lists, tuples and dicts of
            these come back: the patience of `EarlyStopping` and its best weights, what `BestCheckpoint` has kept.
        save_freq: `"epoch"`, or the number of batches after which a checkpoint is written, beside those at ends of epochs.
        steps_per_epoch: as in `fit`, where `fit` is given one. Epochs then go on in the same stream, and all of it up to the
            checkpoint is read again.

    Attributes:
        initial_epoch: the epoch, from 0, with which the next `fit` begins.

    Raises:
        ValueError: a backend other than TensorFlow, a `save_freq` or `steps_per_epoch` that is none; from `fit`, data that
            end before the checkpoint, come in another order, or go on over epochs without `steps_per_epoch` here, and workers
            that see different checkpoints.

    Example:

    ```python
    callbacks = [Validation(valid, schema), keras.callbacks.EarlyStopping("val_buy_auc", mode="max", patience=2)]
    model.fit(train, epochs=20, callbacks=[*callbacks, Resume("run", callbacks, save_freq=1000)])
    ```
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        callbacks: Iterable[Any] = (),
        *,
        save_freq: int | Literal["epoch"] = "epoch",
        steps_per_epoch: int | None = None,
    ):
        super().__init__()
        self._supports_tf_logs = True  # asked by tf_keras, which under parameter servers refuses batch hooks without
        if BACKEND != "tensorflow":
            raise ValueError(f"`Resume` needs the TensorFlow backend. Received: backend={BACKEND!r}")
        self.folder = CheckpointFolder(local_path(folder, "folder"))
        self.callbacks = tuple(callbacks)
        self.save_freq = None if save_freq == "epoch" else check_count("save_freq", save_freq)
        self.steps_per_epoch = None if steps_per_epoch is None else check_count("steps_per_epoch", steps_per_epoch)
        self._number = 0  # of the last checkpoint
        self._found: dict[str, Any] | None = None  # its state, until the first epoch has begun with it
        self._arrays: Arrays = {}
        self._logs: dict[str, tf.Tensor] = {}
        self._epoch = self._batch = 0  # where `fit` stands
        self._passed = 0  # batches of this epoch that the checkpoint had trained on
        self._behind = 0  # batches of epochs before it in the same stream
        self._begins = False  # until the first step of an epoch
        self._iterator: Any = None  # of that step
        self._clocks: list[tuple[Any, int]] = []  # the optimizer's, with what they would have shown before the epoch
        self._told: list[list[int]] = []  # passes over the data when this epoch's began

    @property
    def initial_epoch(self) -> int:
        """The epoch of the last checkpoint, 0 without one."""
        found = self.folder.last()
        return 0 if found is None else int(found[1]["epoch"])

    @property
    def _knows_position(self) -> bool:
        """Whether batches come one after the other, from one iterator."""
        return not isinstance(self.model.distribute_strategy, tf.distribute.ParameterServerStrategy)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._number, self._found = self.folder.last() or (0, None)
        _check_agreed(self.model.distribute_strategy, self._number)
        self._iterator, self._told = None, passes.tell()
        self.model.train_function = _Steps(self.model.train_function, self.step)
        if self._found is None:
            return
        epoch, batch = self._found["epoch"], self._found["batch"]
        _log.info("Going on from %s: epoch %d, %d batches into it", self.folder.path_of(self._number), epoch + 1, batch)
        begin_at(self.model, int(self.params["epochs"]) if self._found["stopped"] else epoch)
        if not batch:  # before Keras begins the epoch, which it does as after the epoch before
            self._load(self._found)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        found, self._found = self._found, None
        self._epoch, self._batch, self._passed, self._behind = epoch, 0, 0, 0
        self._begins, self._clocks = True, []
        if found is not None:
            begin_at(self.model, None)
            if epoch != found["epoch"]:
                raise RuntimeError(
                    f"`fit` began with epoch {epoch} instead of {found['epoch']}: pass `initial_epoch=resume.initial_epoch`. "
                    f"Received: Keras {keras.__version__}"
                )
            if found["batch"]:  # after Keras has set all metrics to 0
                self._load(found)
            restore_history(self.model, found, self._arrays)
            passes.seek(found["passes"])
            if self._knows_position:
                self._passed = found["batch"]
                self._behind = epoch * (self.steps_per_epoch or 0)
        if found is not None or self.steps_per_epoch is None:
            self._told = passes.tell()

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._batch = batch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        before, self._batch = self._batch, batch + 1
        every = self.save_freq
        if every is not None and self._batch > self._passed and before // every != self._batch // every:
            self._save(self._epoch, self._batch, logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.steps_per_epoch is None:
            self._told = passes.tell()
        self._save(epoch + 1, 0, logs)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        begin_at(self.model, None)
        self.model.train_function = _original(self.model.train_function)
        if self._found is not None:  # there was no epoch left
            restore_history(self.model, self._found, self._arrays)
        self._found, self._iterator, self._arrays = None, None, {}

    def step(self, train: Callable[[Any], Any], iterator: Any) -> Any:
        """What Keras calls for a step of training: passes over batches that were trained on, and calls `train` for others."""
        if self._begins:
            self._begins = False
            self._check_data(iterator)
            _skip(iterator, self._behind)
        if self._batch >= self._passed:
            return self._trained(train, iterator)
        if self._batch == 0:
            # A step that evaluates takes as many batches as one that trains does, and makes the variables of the metrics.
            self.model.make_test_function()
            self.model.test_function(iterator)
            _skip(iterator, self._passed - int(self.model.get_compile_config().get("steps_per_execution") or 1))
            restore_metrics(self.model, self._arrays)
            self._arrays = {}
        return self._logs

    def _trained(self, train: Callable[[Any], Any], iterator: Any) -> Any:
        """A step of training.

        Data that do not say how many batches they have end in the middle of a step. In a graph the optimizer has counted it by
        then, and would count one more for each process that comes to the end of an epoch.
        """
        if not self._knows_position:
            return train(iterator)
        if not self._clocks:
            self._clocks = [(clock, _count(clock) - self._batch) for clock in clocks_of(self.model.optimizer)]
        try:
            return train(iterator)
        except (tf.errors.OutOfRangeError, StopIteration):
            for clock, before in self._clocks:
                if _count(clock) == before + self._batch + 1:
                    clock.assign(before + self._batch)
            raise

    def _check_data(self, iterator: Any) -> None:
        if self._knows_position and iterator is self._iterator and self.steps_per_epoch is None:
            raise ValueError(
                "This epoch goes on in the stream of the one before: give `Resume` the `steps_per_epoch` of `fit`. "
                "Received: steps_per_epoch=None"
            )
        self._iterator = iterator

    def _load(self, found: dict[str, Any]) -> None:
        folder = self.folder.path_of(self._number)
        with self.model.distribute_strategy.scope():
            self.model.optimizer.build(self.model.trainable_variables)
        self.model.load_weights(str(folder / _WEIGHTS))
        with np.load(folder / _ARRAYS) as arrays:
            self._arrays = dict(arrays)
        restore(self.model, self.callbacks, found, self._arrays)
        self._logs = {name: tf.constant(value) for name, value in found["logs"].items()}

    def _save(self, epoch: int, batch: int, logs: dict[str, Any] | None) -> None:
        """Writes a checkpoint. Under several workers all call it, since some variables are summed over them when read."""
        numbers = {name: float(np.mean(np.asarray(value))) for name, value in (logs or {}).items()}
        ended = None if batch else (epoch - 1, numbers)
        state, arrays = gathered(self.model, self.callbacks, ended, metrics=batch > 0)
        state |= {"epoch": epoch, "batch": batch, "stopped": bool(self.model.stop_training) and not batch}
        state |= {"passes": self._told, "logs": numbers}
        self._number += 1
        with self._place(state) as folder:
            self.model.save_weights(str(folder / _WEIGHTS))
            np.savez(folder / _ARRAYS, **arrays)

    @contextmanager
    def _place(self, state: dict[str, Any]) -> Iterator[Path]:
        """The folder to write to: of a worker that is not the chief, one that is thrown away."""
        if is_chief(self.model):
            with self.folder.writing(self._number, state) as folder:
                yield folder
        else:
            folder = Path(own_path(self.model, "checkpoint"))
            folder.mkdir(exist_ok=True)
            yield folder


class _Steps:
    """Keras's function for a step of training, with another that decides whether it is called."""

    def __init__(self, train: Any, step: Callable[[Callable[[Any], Any], Any], Any]):
        self.train = _original(train)
        self.step = step

    def __call__(self, iterator: Any) -> Any:
        return self.step(self.train, iterator)


def _original(train: Any) -> Any:
    """Keras's function: a `fit` that raised an error leaves another in its place."""
    return train.train if isinstance(train, _Steps) else train


def _count(clock: Any) -> int:
    return int(tf.convert_to_tensor(raw(clock)))


def _skip(iterator: Any, batches: int) -> None:
    for seen in range(batches):
        try:
            next(iterator)
        except StopIteration:
            raise ValueError(
                f"The data end before the place where training stopped: they are not those of before. Received: {seen} of "
                f"{batches} batches"
            ) from None


def _check_agreed(strategy: tf.distribute.Strategy, number: int) -> None:
    """Raises ValueError unless all workers have found the same checkpoint."""
    count = strategy.num_replicas_in_sync
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return

    @tf.function(autograph=False)
    def summed() -> tf.Tensor:
        own = strategy.run(lambda: tf.constant([number, number**2], tf.int64))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, own, axis=None)

    total, squared = summed().numpy().tolist()
    if squared * count != total**2:
        raise ValueError(
            f"Workers see different checkpoints: `folder` must be one that all of them see. Received: {number} here, "
            f"{total / count} in the mean"
        )
