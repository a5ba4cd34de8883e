"""The exported graph must answer as the model in memory does."""

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfmtl.exporting.compared_batches import ComparedBatch
from tfmtl.exporting.example_rows import RawRows
from tfmtl.exporting.graph.traced_function import Tensors, taking_a_dict
from tfmtl.exporting.served_signature import ServedSignature
from tfmtl.exporting.warmup_requests import first_requests
from tfmtl.typing import Predictions

WRONG = 10.0
"""A difference of so many times what rounding explains is none of rounding."""


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


@contextmanager
def _as_written() -> Iterator[None]:
    """Functions that are called for the first time meanwhile run as they are written, in the whole process.

    TensorFlow would optimise each for itself, which takes most of the time of its first call: with fifty tasks longer than all
    comparisons.
    """
    option = "disable_meta_optimizer"
    before = tf.config.optimizer.get_experimental_options().get(option, False)
    tf.config.optimizer.set_experimental_options({option: True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({option: before})


class AnsweredBatch(NamedTuple):
    """Rows to ask about, and what the model answers.

    Args:
        rows: the rows.
        tolerance: how far answers may differ.
        meant: what each signature means by them, by name.
        answers: the model's, for these.
    """

    rows: RawRows
    tolerance: float
    meant: Mapping[str, RawRows]
    answers: Mapping[str, Predictions]


@_as_written()
@_full_float32()
def answered_batches(
    batches: Iterable[ComparedBatch],
    signatures: Mapping[str, ServedSignature],
    predict: Callable[[RawRows], Predictions],
) -> list[AnsweredBatch]:
    """What the model in memory, `predict`, answers: asked for each batch once, and again where a signature means other rows by it."""
    answered = []
    for rows, tolerance in batches:
        as_they_are = predict(rows)
        meant = {name: signature.rows_meant(rows) for name, signature in signatures.items()}
        answers = {name: as_they_are if asked is rows else predict(asked) for name, asked in meant.items()}
        answered.append(AnsweredBatch(rows, tolerance, meant, answers))
    return answered


@_as_written()
@_full_float32()
def check_parity(
    folder: Path,
    signatures: Mapping[str, ServedSignature],
    batches: Iterable[AnsweredBatch],
    rounding: Callable[[], Callable[[RawRows], Mapping[str, np.ndarray]]] | None = None,
) -> dict[str, float]:
    """Asks the SavedModel in `folder` about every batch, and compares with the model's answers.

    Answers that differ by more than a batch's tolerance are held against what `rounding` may do to the model's: a regression in
    seconds, or large terms that cancel, move by more than any number fixed beforehand, although the graph is right.

    Both multiply float32 in full. By default a GPU may round factors to TensorFloat-32, 10 bits of 23, for some
    shapes and not for others: `rank` multiplies the user's share apart, and would differ by about 1e-3 although it is right.

    The graph is asked as it was written: what a server fuses as it prepares a graph is the server's. The first of the requests
    that a server replays to warm up a signature is asked too. What TensorFlow prepares to run a signature is freed before the next
    one is asked, and the graph before rounding is measured, so that many tasks do not add up.

    Args:
        folder: the SavedModel.
        signatures: those that it holds, by name.
        batches: what to ask about, and the model's answers.
        rounding: gives what tells how far rounding may move the prediction of each task and row; called only where a tolerance
            is exceeded.

    Returns:
        For each signature the largest difference found, in the same units.

    Raises:
        ParityError: a signature fails, or answers with a different number; or the model's own answer is not finite.
    """
    worst = dict.fromkeys(signatures, 0.0)
    doubtful: list[tuple[AnsweredBatch, _Comparison]] = []
    failed: ParityError | None = None
    try:
        for batch, found in _comparisons(folder, signatures, batches):
            worst[found.signature] = max(worst[found.signature], found.largest)
            if found.largest > batch.tolerance:
                doubtful.append((batch, found))
    except ParityError as error:
        failed = error.with_traceback(None)  # whose frames would keep the graph
    if doubtful:  # which came first
        gc.collect()
        _check_rounding(doubtful, rounding)
    if failed is not None:
        raise failed
    return worst


def _comparisons(
    folder: Path, signatures: Mapping[str, ServedSignature], batches: Iterable[AnsweredBatch]
) -> Iterator[tuple[AnsweredBatch, "_Comparison"]]:
    """What the signatures of the SavedModel in `folder` answer, task by task, beside the model's answers."""
    loaded = tf.saved_model.load(str(folder))
    try:
        requests = first_requests(folder)
        for name, signature in signatures.items():
            # What was prepared for a loaded signature is freed with all of them; for a function that calls it, with that.
            asked = taking_a_dict(loaded.signatures[name])
            if name in requests:
                asked(requests[name])
            for batch in batches:
                for task, answer in _answer(name, asked, signature, batch.rows).items():
                    yield batch, _Comparison(name, task, np.asarray(answer), np.asarray(batch.answers[name][task]))
    finally:
        _free(loaded)


def _check_rounding(
    doubtful: Iterable[tuple[AnsweredBatch, "_Comparison"]],
    rounding: Callable[[], Callable[[RawRows], Mapping[str, np.ndarray]]] | None,
) -> None:
    """Raises ParityError where a difference is more than rounding explains, which is measured once for rows that are the same."""
    measure = None if rounding is None else rounding()
    explained: dict[int, Mapping[str, np.ndarray]] = {}
    for batch, found in doubtful:
        meant = batch.meant[found.signature]
        if measure is not None and id(meant) not in explained:
            explained[id(meant)] = measure(meant)
        found.check_rounding(batch.tolerance, explained[id(meant)][found.task] if measure is not None else None)


def _free(loaded: Any) -> None:
    """Frees what a SavedModel holds that nobody will ask again. TensorFlow keeps vocabularies until the process ends."""
    for signature in loaded.signatures.values():
        for tensor in signature.captured_inputs:
            if tensor.dtype == tf.resource:
                tf.raw_ops.DestroyResourceOp(resource=tensor, ignore_lookup_error=True)


def _answer(name: str, asked: Callable[[Tensors], Tensors], signature: ServedSignature, rows: RawRows) -> Predictions:
    """What the loaded function of `signature` predicts for `rows`."""
    try:
        return signature.read_predictions(asked(signature.inputs_for(rows)))
    except tf.errors.OpError as error:
        raise ParityError(f"Signature {name!r} fails on rows that the model answers: {error.message}") from error


class _Comparison:
    """The predictions of one task through one signature beside the model's.

    Raises:
        ParityError: they have another shape, or the model's are not finite.
    """

    def __init__(self, signature: str, task: str, received: np.ndarray, expected: np.ndarray):
        if received.shape != expected.shape:
            raise ParityError(
                f"Signature {signature!r} gives {task!r} the shape {received.shape}, the model {expected.shape}."
            )
        finite = np.isfinite(expected)
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            raise ParityError(f"The model answers {expected[row, column]} for task {task!r}, row {row} of those tried.")
        self.signature, self.task = signature, task
        self.received, self.expected = received, expected
        self.difference = np.nan_to_num(np.abs(received.astype(np.float64) - expected), nan=np.inf)
        self.shares = self.difference / np.maximum(1.0, np.abs(expected))

    @property
    def largest(self) -> float:
        """The largest difference, in units of `max(1, |prediction|)`."""
        return float(self.shares.max(initial=0.0))

    def check_rounding(self, tolerance: float, explained: np.ndarray | None) -> None:
        """Raises ParityError where a difference is above both the tolerance and what rounding explains, if that is known."""
        allowed = np.zeros(self.difference.shape) if explained is None else explained
        excess = np.where(
            self.shares > tolerance, self.difference / np.maximum(allowed, np.finfo(np.float64).tiny), 0.0
        )
        if excess.max() <= 1.0:
            return
        row, column = np.unravel_index(np.argmax(excess), excess.shape)
        difference, needed = self.difference[row, column], self.largest
        reason = "" if explained is None else _reason(difference, float(allowed[row, column]), needed)
        raise ParityError(
            f"Signature {self.signature!r} differs from the model on task {self.task!r} by {difference:.3g}, "
            f"tolerance {tolerance:.0e}: {self.received[row, column]} instead of {self.expected[row, column]} in row {row} of those "
            f"tried.{reason}"
        )


def _reason(difference: float, explained: float, needed: float) -> str:
    """What a difference beyond rounding tells."""
    share = f"Rounding explains {explained:.1g} there."
    if difference > WRONG * explained:
        return f" {share} The graph computes something else than the model."
    return (
        f" {share} {difference / explained:.1f} times that may still be rounding, of a model that magnifies it: compare the "
        f"answers, and if they serve, export with `tolerance={needed * 1.5:.1g}`."
    )
