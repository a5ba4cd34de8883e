"""The command line: `tfmtl serve` and its kin, each a thin layer over one call of the library."""

# This file stands beside the package and imports it only where a command needs it: Python would import `tfmtl`, and with it
# Keras and TensorFlow, before any module inside, and `tfmtl --help` would take seconds.

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfmtl.serving.server import LocalServer

_MARGIN = 5.0  # seconds beyond the grace of requests, to unload


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns the exit status of the process."""
    parser = argparse.ArgumentParser(prog="tfmtl", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serve(commands)
    _add_doctor(commands)
    _add_compare(commands)
    options = parser.parse_args(arguments)
    return options.run(options)


def _add_serve(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    serve = commands.add_parser(
        "serve",
        help="serve SavedModels as TensorFlow Serving does",
        description="Serves SavedModels over gRPC and REST as TensorFlow Serving does: for notebooks, tests and small "
        "internal tools. There is no authentication. Production runs tensorflow/serving on the same folders.",
    )
    serve.add_argument("base_path", nargs="?", help="the folder whose children are versions: 1, 2, ...")
    serve.add_argument("--name", default="default", help="the model's name (default: %(default)s)")
    serve.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    serve.add_argument("--port", type=_port, default=8500, help="gRPC; 0 takes a free one (default: %(default)s)")
    serve.add_argument("--rest-port", type=_port, default=8501, help="REST; 0 takes a free one (default: %(default)s)")
    serve.add_argument("--models-config", type=Path, metavar="F", help="a models.config instead of BASE_PATH")
    serve.add_argument(
        "--allow-version-labels-for-unavailable-models",
        action="store_true",
        help="let new labels name versions that are not loaded yet, as they never are at the start",
    )
    serve.add_argument("--batching", type=Path, metavar="F", help="merge requests as this BatchingParameters file says")
    serve.add_argument("--monitoring", type=Path, metavar="F", help="metrics as this MonitoringConfig file says")
    serve.add_argument("--poll", type=float, default=1.0, help="seconds between two looks at the disk (%(default)s)")
    serve.add_argument("--wait", type=float, default=60.0, help="seconds to wait for a first version (%(default)s)")
    serve.set_defaults(run=_serve)


def _port(text: str) -> int:
    from tfmtl.serving.protocol.addresses import check_port

    try:
        return check_port("port", int(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _serve(options: argparse.Namespace) -> int:
    if (options.base_path is None) == (options.models_config is None):
        return _fail("serve", "give BASE_PATH or --models-config, one of them")
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("tfmtl").setLevel(logging.INFO)
    try:
        from tfmtl.serving.server import ServerStartError
    except ImportError as error:
        return _fail("serve", str(error))

    try:
        server = _server(options)
    except ValueError as error:
        return _fail("serve", str(error))
    stopping = _stops_on_signals(server.cancel, server.grace + _MARGIN)
    try:
        with server:
            print(f"gRPC {server.grpc_address}\nREST {server.rest_url}", flush=True)
            stopping.wait()
    except ServerStartError as error:
        return 0 if stopping.is_set() else _fail("serve", str(error))
    return 0


def _server(options: argparse.Namespace) -> "LocalServer":
    from tfmtl.serving.server import LocalServer

    return LocalServer(
        options.base_path,
        models_config=options.models_config,
        name=options.name,
        host=options.host,
        grpc_port=options.port,
        rest_port=options.rest_port,
        poll_interval=options.poll,
        start_timeout=options.wait,
        batching_parameters=options.batching,
        monitoring_config=options.monitoring,
        allow_version_labels_for_unavailable_models=options.allow_version_labels_for_unavailable_models,
    )


def _stops_on_signals(cancel: Callable[[], None], limit: float) -> threading.Event:
    """An event that SIGTERM and SIGINT set; `limit` seconds after the first of them the process is over, whatever it does.

    A handler that raised would break into whatever runs, the closing itself included: `timeout` and process groups send a
    second signal within a millisecond.
    """
    stopping = threading.Event()

    def stop(number: int, frame: object) -> None:
        if not stopping.is_set():
            stopping.set()
            cancel()
            last = threading.Timer(limit, os._exit, [1])
            last.daemon = True
            last.start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return stopping


def _add_doctor(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    doctor = commands.add_parser(
        "doctor",
        help="say what goes wrong when the tasks of a model are learned together",
        description="Looks at a trained model and raw rows, and prints what is wrong with either, by which numbers, and what to "
        "do (tfmtl.diagnose).",
    )
    doctor.add_argument("model", type=Path, help="a saved model, .keras")
    doctor.add_argument("schema", type=Path, help="its adapted schema, JSON")
    doctor.add_argument("data", help="rows that it was not trained on: Parquet, CSV or TFRecord")
    doctor.add_argument("--train", metavar="F", help="rows that it was trained on")
    doctor.add_argument("--batch-size", type=int, default=1024, metavar="N", help="rows of a batch (%(default)s)")
    doctor.add_argument("--steps", type=int, default=100, metavar="N", help="batches read at most (%(default)s)")
    doctor.add_argument("--out", type=Path, metavar="F", help="write the report as a page, .html, or as .json")
    doctor.add_argument(
        "--fail-on", choices=("error", "warning"), help="exit with status 1 if something as grave is found, or graver"
    )
    doctor.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    if options.out is not None and options.out.suffix not in (".html", ".json"):
        return _fail("doctor", f"--out must end in .html or .json. Received: {options.out}")
    from tfmtl import Schema, diagnose, read
    from tfmtl.keras_host import keras

    def rows(source: str | None) -> object:
        return None if source is None else read(source, schema, batch_size=options.batch_size, encode=True)

    try:
        schema = Schema.from_json(options.schema.read_text(encoding="utf-8"))
        model = keras.models.load_model(options.model)
        found = diagnose(model, rows(options.data), schema, train=rows(options.train), steps=options.steps)
    except (OSError, ValueError) as error:
        return _fail("doctor", str(error))
    print(found)
    if options.out is not None:
        (found.to_html if options.out.suffix == ".html" else found.to_json)(options.out)
    return 1 if options.fail_on and found.at_least(options.fail_on) else 0


def _add_compare(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    compare = commands.add_parser(
        "compare",
        help="say which tasks gain when a model learns them together",
        description="Trains models and a single-task twin for every task over several seeds, and writes which tasks gain and "
        "which pay, with intervals (tfmtl.compare).",
    )
    compare.add_argument("schema", type=Path, help="features and tasks, JSON; need not be adapted")
    compare.add_argument(
        "data", nargs="+", type=Path, help="one Parquet or CSV file to split, or three: train valid test"
    )
    compare.add_argument(
        "--model",
        action="append",
        required=True,
        metavar="NAME",
        help="a preset of tfmtl.models; can be given several times",
    )
    compare.add_argument("--twin", metavar="NAME", help="the preset of the twins (default: the first --model)")
    compare.add_argument("--split", default="0.8,0.1,0.1", metavar="A,B,C", help="shares of the parts (%(default)s)")
    compare.add_argument("--time-column", metavar="C", help="split by time, the latest rows to test on; else by chance")
    compare.add_argument(
        "--group", metavar="C", help="a column such as the user's: AUC within groups, intervals over them"
    )
    compare.add_argument("--seeds", type=int, default=5, metavar="N", help="trainings of each model (%(default)s)")
    compare.add_argument("--epochs", type=int, default=5, metavar="N", help="passes over the rows (%(default)s)")
    compare.add_argument("--patience", type=int, metavar="N", help="epochs without a better one that end a training")
    compare.add_argument("--batch-size", type=int, default=1024, metavar="N", help="rows of a step (%(default)s)")
    compare.add_argument(
        "--learning-rate", action="append", type=float, metavar="X", help="several make a grid for each model (0.001)"
    )
    compare.add_argument(
        "--normalize", action="store_true", help="measure each loss by that of always answering the mean"
    )
    compare.add_argument("--out", type=Path, metavar="F", help="write the report as a page, .html, or as .json")
    compare.add_argument(
        "--folder", type=Path, metavar="D", help="keep finished trainings here; a second call repeats none"
    )
    compare.set_defaults(run=_compare)


def _compare(options: argparse.Namespace) -> int:
    if options.out is not None and options.out.suffix not in (".html", ".json"):
        return _fail("compare", f"--out must end in .html or .json. Received: {options.out}")
    if len(options.data) not in (1, 3):
        return _fail("compare", f"give one file to split, or three: train valid test. Received: {len(options.data)}")
    from tfmtl import Schema, compare
    from tfmtl.analysis.comparing.split_rows import read_table, split_rows

    try:
        shares = [float(share) for share in options.split.split(",")]
        if len(shares) != 3:
            return _fail("compare", f"--split needs three shares: train, valid, test. Received: {options.split}")
        schema = Schema.from_json(options.schema.read_text(encoding="utf-8"))
        models = {name: _preset(name) for name in options.model}
        extra = [column for column in (options.time_column, options.group) if column is not None]
        columns = [*schema.feature_columns, *schema.label_columns, *extra]
        tables = [read_table(file, columns) for file in options.data]
        train, valid, test = split_rows(tables[0], shares, time=options.time_column) if len(tables) == 1 else tables
        report = compare(
            schema,
            models,
            train,
            valid,
            test,
            twin=None if options.twin is None else _preset(options.twin),
            seeds=options.seeds,
            epochs=options.epochs,
            patience=options.patience,
            batch_size=options.batch_size,
            learning_rates=options.learning_rate or (1e-3,),
            normalize=options.normalize,
            group=options.group,
            folder=options.folder,
        )
    except (OSError, ValueError) as error:
        return _fail("compare", str(error))
    except KeyboardInterrupt:
        kept = f"finished trainings are in {options.folder}" if options.folder else "nothing was kept: see --folder"
        return _fail("compare", f"interrupted; {kept}")
    print(f"\n{report}")
    if options.out is not None:
        report.to_html(options.out) if options.out.suffix == ".html" else report.to_json(options.out)
        print(f"\nThe report is in {options.out}.")
    return 0


def _preset(name: str) -> Callable[..., Any]:
    """The preset of `tfmtl.models` that is called so; ValueError with the known names for others."""
    from inspect import Parameter, signature

    from tfmtl import models
    from tfmtl.models import presets

    found = {each: getattr(models, each) for each in presets.__all__ if callable(getattr(models, each))}
    needed = {
        each: [p.name for p in signature(make).parameters.values() if p.default is Parameter.empty]
        for each, make in found.items()
    }
    known = sorted(each for each, names in needed.items() if names == ["schema"])
    if name not in known:
        raise ValueError(
            f"--model and --twin take presets that need no more than a schema. Received: {name!r}; known: {known}"
        )
    return found[name]


def _fail(command: str, message: str) -> int:
    print(f"tfmtl {command}: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
