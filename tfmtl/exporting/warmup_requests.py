"""Requests that TensorFlow Serving replays before it announces a version."""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfmtl.exporting.example_rows import RawRows, length, take
from tfmtl.exporting.graph.traced_function import Tensors
from tfmtl.exporting.served_signature import ServedSignature
from tfmtl.serving.protocol.contract import MAX_WARMUP_RECORDS, WARMUP_FILE


def write_warmup(folder: Path, signatures: Mapping[str, ServedSignature], rows: RawRows, sizes: Iterable[int]) -> int:
    """Writes requests for every signature in batches of `sizes`, which increase; returns how many.

    `rank` is asked about one candidate only, and only if no server pads that to more: a server that batches refuses inputs
    of unequal length, and a warm-up request that is refused keeps the version from loading.
    """
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError:
        warnings.warn("No warm-up requests are exported without `pip install 'tfmtl[serving]'`.", stacklevel=2)
        return 0
    count = 0
    file = folder / WARMUP_FILE
    file.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for name, inputs in islice(_requests(signatures, rows, sizes), MAX_WARMUP_RECORDS):
            request = predict_pb2.PredictRequest()
            request.model_spec.signature_name = name
            for alias, tensor in inputs.items():
                request.inputs[alias].CopyFrom(tf.make_tensor_proto(tensor))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())
            count += 1
    return count


def first_requests(folder: Path) -> dict[str, Tensors]:
    """What the file under `folder`, if there is one, asks each signature first; later requests differ in their number of rows alone."""
    if not (folder / WARMUP_FILE).exists():
        return {}
    from tensorflow_serving.apis import prediction_log_pb2

    asked: dict[str, Tensors] = {}
    for record in tf.data.TFRecordDataset(str(folder / WARMUP_FILE)):
        request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        if request.model_spec.signature_name not in asked:
            asked[request.model_spec.signature_name] = {
                alias: tf.io.parse_tensor(proto.SerializeToString(), tf.as_dtype(proto.dtype))
                for alias, proto in request.inputs.items()
            }
    return asked


def _requests(
    signatures: Mapping[str, ServedSignature], rows: RawRows, sizes: Iterable[int]
) -> Iterator[tuple[str, dict[str, tf.Tensor]]]:
    """Signature by signature within a batch size, so that a limit cuts off the largest batches."""
    for size in sizes:
        batch = take(rows, np.resize(np.arange(length(rows)), size))
        for name, signature in signatures.items():
            if name != "rank" or size == 1:
                yield name, signature.inputs_for(batch)
