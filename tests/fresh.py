"""Fresh processes without the seconds that importing TensorFlow takes each.

A first process imports TensorFlow, does nothing with it and imports nothing of ours; every script runs in a fork of it.
Where a script wants other values of what TensorFlow and Keras read while they are imported, it is another first process.
"""

import atexit
import functools
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

READ_BY_IMPORTS = {"TF_USE_LEGACY_KERAS": "0", "KERAS_BACKEND": "tensorflow"}

_PARENT = """
import gc, json, os, select, signal, socket, sys
import tensorflow

gc.freeze()  # or every process that ends would look through all that TensorFlow has made, for more than a second
gc.set_threshold(10_000, 10, 10)

server = socket.socket(fileno=int(sys.argv[1]))
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    ready, _, _ = select.select([server, sys.stdin], [], [])
    if sys.stdin in ready:
        sys.exit()  # whoever started this process has ended
    connection, _ = server.accept()
    if not os.fork():
        break
    connection.close()

signal.signal(signal.SIGCHLD, signal.SIG_DFL)
request = json.loads(connection.makefile().readline())
child = os.fork()
if child:
    _, status = os.waitpid(child, 0)
    connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)

server.close()
connection.close()
for number, path in enumerate([os.devnull, request["stdout"], request["stderr"]]):
    os.dup2(os.open(path, os.O_RDWR), number)
signal.alarm(request["timeout"])
os.environ.update(request["environment"])
sys.path[1:1] = [folder for folder in os.environ["PYTHONPATH"].split(os.pathsep) if folder not in sys.path]
sys.argv = ["-c", *request["arguments"]]
exec(compile(request["script"], "<script>", "exec"), {"__name__": "__main__"})
"""


def run_forked(script: str, arguments: list[str], environment: dict[str, str], timeout: int) -> tuple[int, str, str]:
    """Runs `script` in a process of its own; returns its exit code and what it printed to either stream."""
    usual = tuple(environment.get(name, value) for name, value in READ_BY_IMPORTS.items())
    return run_forked_of(importer(usual), script, arguments, environment, timeout)


def run_forked_of(
    address: str, script: str, arguments: list[str], environment: dict[str, str], timeout: int
) -> tuple[int, str, str]:
    """As `run_forked`, in a fork of the process that listens at `address`."""
    with tempfile.TemporaryDirectory() as folder:
        files = {name: str(Path(folder, name)) for name in ("stdout", "stderr")}
        for file in files.values():
            Path(file).touch()
        request = {"script": script, "arguments": arguments, "environment": environment, "timeout": timeout, **files}
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(address)
            connection.sendall(json.dumps(request).encode() + b"\n")
            code = connection.makefile().read()
        assert code, "the process that imports TensorFlow has ended"
        return int(code), *(Path(file).read_text(errors="replace") for file in files.values())


@functools.cache
def importer(choices: tuple[str, ...] = tuple(READ_BY_IMPORTS.values())) -> str:
    """Where the process listens that imported TensorFlow under these choices."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    address = str(Path(folder.name, "socket"))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        process = subprocess.Popen(
            [sys.executable, "-c", _PARENT, str(server.fileno())],
            env={**os.environ, **dict(zip(READ_BY_IMPORTS, choices, strict=True))},
            pass_fds=[server.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    atexit.register(process.kill)
    return address
