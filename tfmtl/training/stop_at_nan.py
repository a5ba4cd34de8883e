"""Training that ends where a loss is no number any more."""

import math
from typing import Any

from tfmtl.keras_host import keras


class StopAtNan(keras.callbacks.Callback):
    """Ends `fit` with an error at the first batch whose loss is NaN or infinite, and names the batch and the tasks.

    Keras's `TerminateOnNaN` ends it without an error and without a name, and every callback after it goes on with weights that are
    NaN: they may be saved over good ones. Put this one *before* those that save (`Resume`, `BestCheckpoint`): then what is on disk
    stays as it was. To go on instead, leave out the steps of such batches: wrap the optimizer in a `LossScaleOptimizer`, which
    applies no gradient that is not finite, and do without this callback.

    It reads the logs of every batch, so each step waits for its numbers.

    Raises:
        FloatingPointError: from `fit`.

    Example:

    ```python
    model.fit(train, callbacks=[StopAtNan(), Validation(valid, schema), Resume("run")])
    ```
    """

    def __init__(self) -> None:
        super().__init__()
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        # Over an epoch the logs hold means, which one such batch makes NaN for good: the first one is the one that did.
        losses = {name: float(value) for name, value in (logs or {}).items() if name.endswith("loss")}
        wrong = {name: value for name, value in losses.items() if not math.isfinite(value)}
        if wrong:
            tasks = [name.removesuffix("_loss") for name in wrong if name.endswith("_loss")]
            of = f"the loss of {', '.join(tasks)}" if tasks else "the loss"
            raise FloatingPointError(
                f"Epoch {self._epoch + 1}, batch {batch + 1}: {of} is no finite number. Received: {wrong}"
            )
