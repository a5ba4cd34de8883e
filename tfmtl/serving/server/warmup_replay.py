"""Replays a version's warm-up requests before the version is announced."""

import os
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from tfmtl.serving.protocol.contract import MAX_WARMUP_RECORDS, WARMUP_FILE
from tfmtl.serving.server.example_requests import classify, multi_inference, regress
from tfmtl.serving.server.predict_requests import predict
from tfmtl.serving.server.servable import Servable
from tfmtl.serving.server.server_metrics import ServerMetrics
from tfmtl.serving.server.serving_error import Code, ServingError, invalid

THREADS = min(4, os.cpu_count() or 1)
"""Requests replayed at the same time: the first of each signature has its graph prepared, which takes one core."""


def replay_warmup(servable: Servable, path: Path, metrics: ServerMetrics, cancelled: threading.Event) -> None:
    """Runs every request of `<version>/assets.extra/tf_serving_warmup_requests`, if there is that file.

    Args:
        servable: the version.
        path: its folder.
        metrics: take the time.
        cancelled: ends the replay.

    Raises:
        ServingError: a record that is no PredictionLog, that the model refuses, or that is one too many; CANCELLED.
        tf.errors.DataLossError: the file is cut off, compressed or no TFRecord.
    """
    file = path / WARMUP_FILE
    if not file.exists():
        return
    with metrics.warm_up(str(path)):

        def replay(record: bytes) -> None:
            if cancelled.is_set():
                raise ServingError(Code.CANCELLED, "The server stops")
            _replay(servable, record)

        waiting: deque[Future[None]] = deque()
        with ThreadPoolExecutor(THREADS, thread_name_prefix="tfmtl-warm-up") as pool:
            try:
                for count, record in enumerate(tf.data.TFRecordDataset(str(file)).as_numpy_iterator(), start=1):
                    if count > MAX_WARMUP_RECORDS:
                        raise invalid(f"Number of warmup records exceeds the maximum ({MAX_WARMUP_RECORDS}) at {file}")
                    waiting.append(pool.submit(replay, record))
                    if len(waiting) > THREADS:  # as many as are under way, not the whole file
                        waiting.popleft().result()
                for future in waiting:
                    future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _replay(servable: Servable, record: bytes) -> None:
    try:
        log = prediction_log_pb2.PredictionLog.FromString(record)
    except DecodeError as error:
        raise invalid(f"Failed to parse warmup record: {error}") from error
    match log.WhichOneof("log_type"):
        case "predict_log":
            predict(servable, log.predict_log.request)
        case "classify_log":
            classify(servable, log.classify_log.request)
        case "regress_log":
            regress(servable, log.regress_log.request)
        case "multi_inference_log":
            request = log.multi_inference_log.request
            for task in request.tasks:
                task.model_spec.name = servable.name  # the name in a record is not looked at
            multi_inference(servable, request)
        case kind:
            raise ServingError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")
