"""What a request costs: in process, through the local server over gRPC and over REST; and `rank` against full rows.

    python benchmarks/serving.py                # exports a PLE model to a temporary folder
    python benchmarks/serving.py exports/ranker # an export of yours; requests come from its warm-up file

Contestants take turns, one call each, so that whatever else the machine does falls on all of them alike. Server and
client share this process. Writes `serving.md` beside this file.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import requests
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2, prediction_service_pb2_grpc

import tfmtl
from tfmtl.data.preprocessing import Preprocessor
from tfmtl.serving.bundle import write_bundle
from tfmtl.serving.server import LocalServer
from tfmtl.serving.server.versions import find_versions
from tfmtl.serving.server.warmup import WARMUP_FILE
from tfmtl.serving.tensors import from_proto, to_proto

CANDIDATES = 500
Call = Callable[[], Any]


def schema() -> tfmtl.Schema:
    """20 categorical columns, 10 numbers and a history, half of them the user's."""
    sides = ("user", "item")
    categorical = [
        tfmtl.Categorical(
            f"c{index}", num_ids=20_000, dim=16, side=sides[index % 2], table="items" if index == 1 else None
        )
        for index in range(20)
    ]
    numeric = [tfmtl.Numeric(f"n{index}", transform=None, side=sides[index % 2]) for index in range(10)]
    event = tfmtl.Categorical("item", num_ids=20_000, dim=16, table="items")
    history = tfmtl.Sequence("seen", (event,), length=20, side="user")
    return tfmtl.Schema([*categorical, *numeric, history], [tfmtl.Task("click"), tfmtl.Task("buy")])


def export_ple(folder: Path) -> None:
    """PLE of the training benchmark's size: 2 levels, 4 + 4 experts of 256, towers of 64."""
    described = schema()
    preprocessor = Preprocessor(described.features)
    model = tfmtl.ple(described, units=(256, 256), num_task_experts=4, num_shared_experts=4, tower_units=(64,))
    random = np.random.default_rng(0)
    rows: dict[str, np.ndarray] = {}
    for name, spec in preprocessor.raw_signature.items():
        shape = (64, 20) if len(spec.shape) > 1 else (64,)
        ids = spec.dtype == tf.int64
        rows[name] = random.integers(0, 20_000, shape) if ids else random.normal(size=shape).astype(np.float32)
    write_bundle(model, folder, described, preprocessor, examples=rows)


def warmup_requests(version: Path) -> dict[str, predict_pb2.PredictRequest]:
    """The first, and smallest, request of every signature."""
    found: dict[str, predict_pb2.PredictRequest] = {}
    for record in tf.data.TFRecordDataset(str(version / WARMUP_FILE)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        found.setdefault(request.model_spec.signature_name, request)
    return found


def arrays(request: predict_pb2.PredictRequest) -> dict[str, np.ndarray]:
    return {name: from_proto(proto) for name, proto in request.inputs.items()}


def in_process(signature: Any, request: predict_pb2.PredictRequest) -> Call:
    """What a program pays that loaded the SavedModel itself: arrays in, arrays out."""
    columns = arrays(request)

    def call() -> dict[str, np.ndarray]:
        outputs = signature(**{name: tf.constant(array) for name, array in columns.items()})
        return {name: output.numpy() for name, output in outputs.items()}

    return call


def over_rest(url: str, request: predict_pb2.PredictRequest) -> Call | None:
    """The same request in the column format; None for serialised examples, which are no text."""
    columns = arrays(request)
    if request.model_spec.signature_name in ("examples", "classify"):
        return None
    inputs = {
        name: [value.decode() for value in array.tolist()]
        if array.dtype == object and array.ndim == 1
        else array.tolist()
        for name, array in columns.items()
    }
    body = json.dumps({"signature_name": request.model_spec.signature_name, "inputs": inputs}, default=bytes.decode)
    session = requests.Session()

    def call() -> None:
        response = session.post(f"{url}/v1/models/default:predict", data=body)
        response.raise_for_status()

    return call


def compare(calls: dict[str, Call], rounds: int) -> dict[str, np.ndarray]:
    """Milliseconds of each call, the calls taking turns."""
    for call in calls.values():
        for _ in range(20):
            call()
    times = np.empty((rounds, len(calls)))
    for index in range(rounds):
        for column, call in enumerate(calls.values()):
            start = time.perf_counter()
            call()
            times[index, column] = time.perf_counter() - start
    return dict(zip(calls, 1e3 * times.T, strict=True))


def ranking_requests(
    whole: predict_pb2.PredictRequest, rank: predict_pb2.PredictRequest, once: set[str]
) -> dict[str, predict_pb2.PredictRequest]:
    """One user and many candidates: as full rows, and as `rank` takes them."""
    columns = {name: np.repeat(array, CANDIDATES, axis=0) for name, array in arrays(whole).items()}
    full, short = predict_pb2.PredictRequest(), predict_pb2.PredictRequest()
    full.model_spec.CopyFrom(whole.model_spec)
    short.model_spec.CopyFrom(rank.model_spec)
    for name, array in columns.items():
        full.inputs[name].CopyFrom(to_proto(array))
        short.inputs[name].CopyFrom(to_proto(array[:1] if name in once else array))
    return {"full rows": full, "rank": short}


def measure(base: Path, rounds: int) -> list[str]:
    """The report's lines."""
    version = max(find_versions(base).items())[1]
    loaded = tf.saved_model.load(str(version))
    asked = warmup_requests(version)
    lines = [
        "| signature, 1 row | in process p50 / p99 | gRPC p50 / p99 | REST p50 / p99 | 2 x in process + 1 ms | kept |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    with LocalServer(base, poll_interval=0) as server, grpc.insecure_channel(server.grpc_address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for name, request in asked.items():
            request.model_spec.name = "default"
            calls = {
                "in process": in_process(loaded.signatures[name], request),
                "gRPC": lambda request=request: stub.Predict(request),
            }
            rest = over_rest(server.rest_url, request)
            if rest is not None:
                calls["REST"] = rest
            times = compare(calls, rounds)
            bound = 2 * np.median(times["in process"]) + 1
            kept = "yes" if np.median(times["gRPC"]) < bound else "no"
            rest_text = shown(times["REST"]) if rest is not None else "-"
            lines.append(
                f"| {name} | {shown(times['in process'])} | {shown(times['gRPC'])} | {rest_text} | {bound:.2f} | {kept} |"
            )
        if "rank" in asked:
            shapes = loaded.signatures["rank"].structured_input_signature[1]
            once = {name for name, spec in shapes.items() if spec.shape.rank and spec.shape[0] == 1}
            both = ranking_requests(asked["serving_default"], asked["rank"], once)
            calls = {name: lambda request=request: stub.Predict(request) for name, request in both.items()}
            for name, request in both.items():
                signature = loaded.signatures[request.model_spec.signature_name or "serving_default"]
                calls[f"{name}, in process"] = in_process(signature, request)
            times = compare(calls, max(50, rounds // 10))
            sizes = {name: f", {request.ByteSize():,} bytes" for name, request in both.items()}
            ratio = np.median(times["full rows"]) / np.median(times["rank"])
            lines += ["", f"1 user x {CANDIDATES} candidates over gRPC, p50 / p99:"]
            lines += [f"- {name}{sizes.get(name, '')}: {shown(values)}" for name, values in times.items()]
            lines.append(f"- `rank` is {ratio:.1f} times as fast as full rows")
    return lines


def shown(times: np.ndarray) -> str:
    return f"{np.median(times):.2f} / {np.percentile(times, 99):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("base_path", nargs="?", type=Path, help="an export; a PLE model is exported without it")
    parser.add_argument("--rounds", type=int, default=1000, help="calls of each contestant")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        base = options.base_path or Path(folder) / "ranker"
        if options.base_path is None:
            export_ple(base)
        lines = measure(base, options.rounds)
    where = f"{date.today()}, {os.cpu_count()} x {platform.processor() or platform.machine()}, load before {load:.1f}"
    page = "\n".join(
        ["# Serving", "", f"Milliseconds; {options.rounds} calls each, in turns. {where}.", "", *lines, ""]
    )
    Path(__file__).with_name("serving.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
