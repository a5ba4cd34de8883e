"""The command line: `tfmtl serve` and its kin, each a thin layer over one call of the library."""

# This file stands beside the package and imports it only where a command needs it: Python would import `tfmtl`, and with it
# Keras and TensorFlow, before any module inside, and `tfmtl --help` would take seconds.

import argparse
import contextlib
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns the exit status of the process."""
    parser = argparse.ArgumentParser(prog="tfmtl", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serve(commands)
    _add_doctor(commands)
    options = parser.parse_args(arguments)
    return options.run(options)


def _add_serve(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    serve = commands.add_parser(
        "serve",
        help="serve SavedModels as TensorFlow Serving does",
        description="Serves SavedModels over gRPC and REST as TensorFlow Serving does: for notebooks, tests and small "
        "internal tools. There is no authentication. Production runs tensorflow/serving on the same folders.",
    )
    serve.add_argument("base_path", nargs="?", type=Path, help="the folder whose children are versions: 1, 2, ...")
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
        from tfmtl.serving.server import LocalServer, ServerStartError
    except ImportError as error:
        return _fail("serve", str(error))

    server = LocalServer(
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
    # A stop is a KeyboardInterrupt, whoever asks for it: both leave the block and close the server in order.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        try:
            with server:
                print(f"gRPC {server.grpc_address}\nREST {server.rest_url}", flush=True)
                threading.Event().wait()
        except ServerStartError as error:
            return _fail("serve", str(error))
    return 0


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


def _fail(command: str, message: str) -> int:
    print(f"tfmtl {command}: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
