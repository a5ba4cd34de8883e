"""Says on stderr who is missing while a process waits for its cluster: a program of its own, since TensorFlow waits with Python at a standstill.

Given seconds and addresses, it names every so many seconds the addresses that nobody answers for, until its stdin is closed.
"""

import select
import socket
import sys
from collections.abc import Iterable


def watch(seconds: float, addresses: Iterable[str]) -> None:
    waited = 0.0
    while not select.select([sys.stdin], [], [], seconds)[0]:
        waited += seconds
        silent = [address for address in addresses if not answers(address)]
        who = f"nobody answers at {', '.join(silent)}" if silent else "all of its processes answer"
        sys.stderr.write(f"tfmtl: waiting for the cluster of TF_CONFIG for {waited:.0f} seconds: {who}\n")
        sys.stderr.flush()


def answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
    except (OSError, ValueError):
        return False
    return True


if __name__ == "__main__":
    watch(float(sys.argv[1]), sys.argv[2:])
