"""The exported graph must answer as the model in memory does."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfmtl.exporting.compared_batches import ComparedBatch
from tfmtl.exporting.example_rows import RawRows
from tfmtl.exporting.served_signature import ServedSignature
from tfmtl.exporting.warmup_requests import check_warmup
from tfmtl.serving.protocol.contract import WARMUP_FILE
from tfmtl.typing import Predictions


class ParityError(ValueError):
    """An exported signature does not answer as the model does."""


@contextmanager
def _full_float32() -> Iterator[None]:
    """No TensorFloat-32 meanwhile, in the whole process."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


@_full_float32()
def check_parity(
    folder: Path,
    signatures: Mapping[str, ServedSignature],
    predict: Callable[[RawRows], Predictions],
    batches: Iterable[ComparedBatch],
) -> dict[str, float]:
    """Asks the SavedModel in `folder` and `predict` about every batch.

    Both multiply float32 in full meanwhile. By default a GPU may round factors to TensorFloat-32, 10 bits of 23, for some
    shapes and not for others: `rank` multiplies the user's share apart, and would differ by about 1e-3 although it is right.

    Args:
        folder: the SavedModel.
        signatures: those that it holds, by name.
        predict: the model in memory.
        batches: what to ask about.

    Returns:
        For each signature the largest difference found, in the same units.

    Raises:
        ParityError: a signature fails, or answers with a different number; or the model's own answer is not finite.
    """
    loaded = tf.saved_model.load(str(folder))
    if (folder / WARMUP_FILE).exists():
        check_warmup(folder, loaded.signatures)
    worst = dict.fromkeys(signatures, 0.0)
    for rows, tolerance in batches:
        for name, signature in signatures.items():
            received = _answer(name, loaded.signatures[name], signature, rows)
            expected = predict(signature.rows_meant(rows))
            for task, answer in received.items():
                difference = _difference(name, task, np.asarray(answer), np.asarray(expected[task]), tolerance)
                worst[name] = max(worst[name], difference)
    return worst


def _answer(name: str, loaded: Any, signature: ServedSignature, rows: RawRows) -> Predictions:
    """What the loaded function of `signature` predicts for `rows`."""
    try:
        return signature.read_predictions(loaded(**signature.inputs_for(rows)))
    except tf.errors.OpError as error:
        raise ParityError(f"Signature {name!r} fails on rows that the model answers: {error.message}") from error


def _difference(name: str, task: str, received: np.ndarray, expected: np.ndarray, tolerance: float) -> float:
    """The largest difference of one task's predictions, in units of `max(1, |prediction|)`."""
    if received.shape != expected.shape:
        raise ParityError(f"Signature {name!r} gives {task!r} the shape {received.shape}, the model {expected.shape}.")
    finite = np.isfinite(expected)
    if not finite.all():
        row = int(np.argmin(finite.all(axis=1)))
        raise ParityError(f"The model answers {expected[row, 0]} for task {task!r}, row {row} of those tried.")
    difference = np.abs(received.astype(np.float64) - expected)
    share = np.nan_to_num(difference, nan=np.inf) / np.maximum(1.0, np.abs(expected))
    if share.max(initial=0.0) > tolerance:
        row = int(np.argmax(share.max(axis=1)))
        raise ParityError(
            f"Signature {name!r} differs from the model on task {task!r} by {difference[row, 0]:.3g}, tolerance {tolerance:.0e}: "
            f"{received[row, 0]} instead of {expected[row, 0]} in row {row} of those tried."
        )
    return float(share.max(initial=0.0))
