"""What a request costs: in process, through the local server over gRPC and over REST; and `rank` against full rows.

    python benchmarks/serving.py                # exports three models to a temporary folder; about 4 minutes
    python benchmarks/serving.py exports/ranker # an export of yours; requests come from its warm-up file

Contestants take turns, one call each, so that whatever else the machine does falls on all of them alike. Server and
client share this process. Without an export of yours the page is also written to `serving.md` beside this file.
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
from serving_flops import ranking_flops
from serving_models import Workload, workloads
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2, prediction_service_pb2_grpc

from tfmtl.exporting import export
from tfmtl.serving.protocol.contract import UNLIMITED, WARMUP_FILE
from tfmtl.serving.protocol.tensors import from_proto, to_proto
from tfmtl.serving.protocol.version_folders import find_versions
from tfmtl.serving.server import LocalServer

CANDIDATES = 500
AIM = 3.0
"""How many times as fast as full rows `rank` is to be."""

NOTES = """\
"Matmuls" is how many times fewer floating-point operations all matmuls take for `rank`, counted in both graphs. What is left
is the candidates' own: no way of computing the user's share goes below it. A model can beat that ratio by what is no
matmul (strings looked up, tables read, softmax over histories, bytes parsed) and falls short of it by what neither
saves. The local server parses requests in Python; "in process" has no server and no parsing.

Model a came first and misses the aim of 3; b and c, where the user is the heavy side, were added after that, to see where the aim
can be held."""

Call = Callable[[], Any]


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


def compare(calls: dict[str, Call], rounds: int, warm: int = 20) -> dict[str, np.ndarray]:
    """Milliseconds of each call, the calls taking turns."""
    for call in calls.values():
        for _ in range(warm):
            call()
    times = np.empty((rounds, len(calls)))
    for index in range(rounds):
        for column, call in enumerate(calls.values()):
            start = time.perf_counter()
            call()
            times[index, column] = time.perf_counter() - start
    return dict(zip(calls, 1e3 * times.T, strict=True))


def ranking_requests(
    columns: dict[str, np.ndarray], once: set[str]
) -> tuple[predict_pb2.PredictRequest, predict_pb2.PredictRequest]:
    """One user and many candidates: as full rows, and as `rank` takes them.

    Args:
        columns: a row for each candidate; of the user's columns the first row is taken.
        once: the user's columns.
    """
    full, short = predict_pb2.PredictRequest(), predict_pb2.PredictRequest()
    full.model_spec.name = short.model_spec.name = "default"
    full.model_spec.signature_name, short.model_spec.signature_name = "serving_default", "rank"
    for name, array in columns.items():
        one = array[:1]
        full.inputs[name].CopyFrom(to_proto(np.repeat(one, len(array), axis=0) if name in once else array))
        short.inputs[name].CopyFrom(to_proto(one if name in once else array))
    return full, short


def reading(request: predict_pb2.PredictRequest) -> Call:
    """From the bytes of a request to arrays, as the local server reads it."""
    data = request.SerializeToString()
    return lambda: arrays(predict_pb2.PredictRequest.FromString(data))


def measure_signatures(loaded: Any, stub: Any, rest_url: str, asked: dict[str, Any], rounds: int) -> list[str]:
    """A table of what one row costs through each signature."""
    lines = [
        "| signature, 1 row | in process p50 / p99 | gRPC p50 / p99 | REST p50 / p99 | 2 x in process + 1 ms | kept |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, request in asked.items():
        request.model_spec.name = "default"
        calls = {
            "in process": in_process(loaded.signatures[name], request),
            "gRPC": lambda request=request: stub.Predict(request),
        }
        rest = over_rest(rest_url, request)
        if rest is not None:
            calls["REST"] = rest
        times = compare(calls, rounds)
        bound = 2 * np.median(times["in process"]) + 1
        kept = "yes" if np.median(times["gRPC"]) < bound else "no"
        rest_text = shown(times["REST"]) if rest is not None else "-"
        lines.append(
            f"| {name} | {shown(times['in process'])} | {shown(times['gRPC'])} | {rest_text} | {bound:.2f} | {kept} |"
        )
    return lines


def measure_ranking(loaded: Any, stub: Any, columns: dict[str, np.ndarray], once: set[str], rounds: int) -> list[str]:
    """Cells of a table: full rows and `rank` over gRPC, then in process, then reading the request alone."""
    full, short = ranking_requests(columns, once)
    times = compare(
        {
            "full": lambda: stub.Predict(full),
            "rank": lambda: stub.Predict(short),
            "full here": in_process(loaded.signatures["serving_default"], full),
            "rank here": in_process(loaded.signatures["rank"], short),
            "read full": reading(full),
            "read rank": reading(short),
        },
        rounds,
        warm=3,
    )
    ratio = np.median(times["full"]) / np.median(times["rank"])
    here = np.median(times["full here"]) / np.median(times["rank here"])
    return [
        shown(times["full"]),
        shown(times["rank"]),
        f"**{ratio:.1f}**",
        shown(times["full here"]),
        shown(times["rank here"]),
        f"{here:.1f}",
        f"{np.median(times['read full']):.1f} / {np.median(times['read rank']):.1f}",
        f"{full.ByteSize() / 1e3:,.0f} / {short.ByteSize() / 1e3:,.0f}",
        "yes" if ratio >= AIM else "no",
    ]


RANKING_TABLE = (
    "| model | full rows, gRPC p50 / p99 | rank, gRPC | times as fast | full rows, in process | rank, in process "
    "| times as fast | reading full / rank | kB full / rank | 3 times over gRPC | matmuls, GFLOP full / rank | matmuls |"
)


def export_workload(workload: Workload, base: Path) -> str:
    """Exports the model; returns the cells on its matmuls."""
    model = workload.build(workload.schema)
    export(model, base, workload.schema, examples=workload.rows(16))
    full, rank = ranking_flops(workload, model, CANDIDATES)
    return f"{full / 1e9:.2f} / {rank / 1e9:.2f} | {full / rank:.1f}"


def measure(folder: Path, rounds: int) -> list[str]:
    """The report on the three models."""
    details: list[str] = []
    table = [RANKING_TABLE, "| --- " * 12 + "|"]
    chosen = workloads()
    for letter, workload in chosen.items():
        matmuls = export_workload(workload, folder / letter)
        loaded, asked = load(folder / letter)
        with LocalServer(folder / letter, poll_interval=0, start_timeout=600) as server, channel(server) as connection:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(connection)
            if letter == "a":
                details = measure_signatures(loaded, stub, server.rest_url, asked, rounds)
            cells = measure_ranking(
                loaded, stub, workload.rows(CANDIDATES), workload.user_columns, max(30, rounds // 10)
            )
            table.append(f"| {letter} | " + " | ".join([*cells, matmuls]) + " |")
    titles = [f"- {letter}: {workload.title}" for letter, workload in chosen.items()]
    return [
        f"## One user, {CANDIDATES} candidates",
        "",
        *titles,
        "",
        *table,
        "",
        NOTES,
        "",
        "## One row, model a",
        "",
        *details,
    ]


def measure_export(base: Path, rounds: int) -> list[str]:
    """The report on an export, asked what its warm-up file asks."""
    loaded, asked = load(base)
    with LocalServer(base, poll_interval=0, start_timeout=600) as server, channel(server) as connection:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(connection)
        lines = measure_signatures(loaded, stub, server.rest_url, asked, rounds)
        if "rank" in asked:
            shapes = loaded.signatures["rank"].structured_input_signature[1]
            columns = arrays(asked["serving_default"])
            once = {name for name in columns if shapes[name].shape[0] == 1}
            rows = {name: np.repeat(array[:1], CANDIDATES, axis=0) for name, array in columns.items()}
            cells = measure_ranking(loaded, stub, rows, once, max(30, rounds // 10))
            lines += [
                "",
                RANKING_TABLE,
                "| --- " * 12 + "|",
                f"| {base.name} | " + " | ".join([*cells, "-", "-"]) + " |",
            ]
    return lines


def load(base: Path) -> tuple[Any, dict[str, predict_pb2.PredictRequest]]:
    """The newest version of an export, and a request for each of its signatures."""
    versions = find_versions(base)
    version = versions[max(versions)]
    return tf.saved_model.load(str(version)), warmup_requests(version)


def channel(server: LocalServer) -> grpc.Channel:
    return grpc.insecure_channel(server.grpc_address, options=UNLIMITED)


def shown(times: np.ndarray) -> str:
    return f"{np.median(times):.2f} / {np.percentile(times, 99):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("base_path", nargs="?", type=Path, help="an export; three models are exported without it")
    parser.add_argument("--rounds", type=int, default=300, help="calls of each contestant")
    options = parser.parse_args()
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        lines = (
            measure(Path(folder), options.rounds)
            if options.base_path is None
            else measure_export(options.base_path, options.rounds)
        )
    cores = len(os.sched_getaffinity(0))
    where = f"{date.today()}, {cores} x {platform.processor() or platform.machine()}, load before {load_before:.1f}"
    rounds = (
        f"{options.rounds} calls of one row and {max(30, options.rounds // 10)} of {CANDIDATES} rows each, in turns"
    )
    page = "\n".join(["# Serving", "", f"Milliseconds, p50 / p99; {rounds}. {where}.", "", *lines, ""])
    if options.base_path is None:
        Path(__file__).with_name("serving.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
