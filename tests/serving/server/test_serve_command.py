"""`tfmtl serve`: starts, says where, stops in order, and fails with a sentence."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest
from harness import ROOT, run_fresh

from tfmtl.serving.client import Client, RestClient
from tfmtl_cli import main


@pytest.mark.parametrize("stop", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_serves_until_it_is_asked_to_stop(tmp_path, publish, stop):
    publish(tmp_path / "ranker", 1)
    command = [sys.executable, "-m", "tfmtl_cli", "serve", str(tmp_path / "ranker"), "--name", "ranker"]
    with subprocess.Popen(
        [*command, "--port", "0", "--rest-port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    ) as process:
        try:
            addresses = dict(process.stdout.readline().split() for _ in range(2))
            with Client(addresses["gRPC"], model="ranker") as client:
                assert client.status() == {1: "AVAILABLE"}
            assert RestClient(addresses["REST"], model="ranker").status() == {1: "AVAILABLE"}
            for _ in range(2):  # as `timeout` and process groups send them
                process.send_signal(stop)
            assert process.wait(timeout=60) == 0
            log = process.stderr.read()
            assert "INFO version 1 of model ranker is available" in log and "Traceback" not in log
        finally:
            process.kill()


def test_a_stop_that_hangs_ends_all_the_same():
    script = """
        import os, signal, threading, tfmtl_cli
        stopping = tfmtl_cli._stops_on_signals(lambda: None, 0.2)
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        assert stopping.is_set()
        threading.Thread(target=threading.Event().wait).start()  # which a process waits for when it ends
        threading.Event().wait()
        """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and not done.stderr


def test_a_start_that_fails_is_a_sentence_and_a_status(tmp_path, capsys):
    assert main(["serve", str(tmp_path / "nowhere"), "--wait", "0", "--port", "0", "--rest-port", "0"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("tfmtl serve: ") and "nowhere does not exist" in error and error.count("\n") == 1
    assert main(["serve"]) == 1
    assert "BASE_PATH or --models-config" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["70000", "-1"])
@pytest.mark.parametrize("option", ["--port", "--rest-port"])
def test_a_port_that_there_is_not_is_refused_before_anything_is_loaded(capsys, option, port):
    with pytest.raises(SystemExit) as ended:
        main(["serve", "nowhere", option, port])
    assert ended.value.code == 2
    assert f"argument {option}: `port` must be in 0..65535. Received: port={port}" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["gs://bucket/ranker", "models/ranker[v2]"])
def test_a_path_that_cannot_be_read_from_is_a_sentence(capsys, path):
    assert main(["serve", path, "--port", "0", "--rest-port", "0"]) == 1
    error = capsys.readouterr().err
    assert path in error and error.count("\n") == 1


def test_what_is_awaited_is_said_once(tmp_path, caplog):
    arguments = ["serve", str(tmp_path / "nowhere"), "--wait", "1", "--port", "0", "--rest-port", "0"]
    assert main(arguments) == 1
    assert caplog.text.count("cannot be listed") == caplog.text.count("waiting for default") == 1
    assert "nowhere does not exist" in caplog.text


def test_without_the_extra_it_is_named():
    told = run_fresh(
        """
        import contextlib, sys
        from tfmtl_cli import main
        sys.modules["tensorflow_serving"] = None  # not installed
        with contextlib.redirect_stderr(sys.stdout):
            assert main(["serve", "models/ranker"]) == 1
        """
    )
    assert told.startswith("tfmtl serve: The local server needs `pip install 'tfmtl[serving]'`: ")
    assert told.count("\n") == 1


def test_help_says_what_it_is_for(capsys):
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "Production runs tensorflow/serving" in text


def test_help_loads_nothing():
    """It answers at once: neither the library nor TensorFlow is imported for it."""
    script = """
        import sys, tfmtl_cli
        try:
            tfmtl_cli.main(["serve", "--help"])
        except SystemExit as ended:
            assert not ended.code
        loaded = {name.partition(".")[0] for name in sys.modules}
        sys.exit(f"loaded: {loaded}" if loaded & {"tfmtl", "keras", "tensorflow", "numpy"} else 0)
        """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
