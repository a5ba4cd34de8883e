"""Starts the processes of a cluster on this machine, and starts them again when one of them dies.

    python examples/distributed/launch.py --workers 2 train.py --data rows --out out
    python examples/distributed/launch.py --workers 2 --servers 1 train.py --data records --out out

What a cluster's scheduler does, in small: each process gets its `TF_CONFIG`; where one dies, the others of its cluster wait for it in
vain, so all are ended and started again, and `Resume` goes on. `--kill-after` kills a process by itself, to see that: a worker, or
with `--kill ps` a parameter server.
"""

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> int:
    options = _options()
    for attempt in range(options.attempts):
        kill_after = options.kill_after if attempt == 0 else None
        if run(options.workers, options.servers, options.command, kill_after, options.wait_for, options.kill):
            return 0
        again = attempt + 1 < options.attempts
        print(f"a process died: {f'starting all of them again ({attempt + 1})' if again else 'giving up'}", flush=True)
    return 1


def run(
    workers: int, servers: int, command: list[str], kill_after: float | None, wait_for: Path | None, kill: str
) -> bool:
    """Runs a cluster until its last epoch, True, or until one of its processes dies, False."""
    processes = start(workers, servers, command)
    # Under parameter servers the chief alone ends; the others serve it.
    training = [process for role, process in processes if role == ("chief" if servers else "worker")]
    due = None
    try:
        while any(process.poll() is None for process in training):
            if kill_after is not None and due is None and (wait_for is None or wait_for.exists()):
                due = time.monotonic() + kill_after
            if due is not None and time.monotonic() > due:
                victim = random.choice([process for role, process in processes if role == kill])
                print(f"killing {kill} process {victim.pid}", flush=True)
                victim.kill()
                kill_after = due = None
            if any(process.poll() for process in training):
                return False
            time.sleep(0.1)
        return all(process.returncode == 0 for process in training)
    finally:
        for _, process in processes:
            process.kill()
            process.wait()


def start(workers: int, servers: int, command: list[str]) -> list[tuple[str, subprocess.Popen[bytes]]]:
    """The processes, by what they are."""
    counts = {"worker": workers, **({"chief": 1, "ps": servers} if servers else {})}
    cluster = {role: [f"localhost:{port()}" for _ in range(count)] for role, count in counts.items()}
    processes = []
    for role, addresses in cluster.items():
        for index in range(len(addresses)):
            config = {"cluster": cluster, "task": {"type": role, "index": index}}
            environment = {**os.environ, "TF_CONFIG": json.dumps(config), "TF_USE_LEGACY_KERAS": "1"}
            script = [sys.executable, str(HERE / command[0]), *command[1:]]
            processes.append((role, subprocess.Popen(script, env=environment)))
    return processes


def port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return int(free.getsockname()[1])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--servers", type=int, default=0, help="parameter servers; with them there is a chief too")
    parser.add_argument("--attempts", type=int, default=5)
    parser.add_argument("--kill-after", type=float, help="seconds after which a process is killed, once")
    parser.add_argument("--kill", choices=["worker", "ps", "chief"], default="worker", help="which")
    parser.add_argument("--wait-for", type=Path, help="a path from whose appearance on these seconds count")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="a script of this folder and its arguments")
    options = parser.parse_args()
    if not options.command or not (HERE / options.command[0]).is_file():
        parser.error(f"a script of {HERE} must come last, with its arguments. Received: {options.command}")
    if options.workers < 1 or options.servers < 0:
        parser.error(f"there must be a worker. Received: {options.workers} workers, {options.servers} servers")
    if options.kill != "worker" and not options.servers:
        parser.error(f"without --servers there are workers alone. Received: --kill {options.kill}")
    return options


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing that was started here stays
    sys.exit(main())
