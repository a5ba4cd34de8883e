"""The cluster that `TF_CONFIG` names: read before TensorFlow does, and watched while its processes wait for each other."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator

import tensorflow as tf

from tfmtl.training import missing_processes

_CONFIG = (
    '`TF_CONFIG` must be JSON like {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'
)


def cluster() -> dict[str, list[str]]:
    """The addresses of each role, empty where `TF_CONFIG` is not set.

    Raises:
        ValueError: a `TF_CONFIG` of another form, one address for two processes, or a `task` that is none of the cluster's.
    """
    given = os.environ.get("TF_CONFIG") or "{}"
    try:
        config = json.loads(given)
        roles, task = config.get("cluster", {}), config.get("task", {})
        place = task.get("type"), int(task.get("index", -1))
        addresses = [address for each in roles.values() for address in each]
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{_CONFIG}: {error}. Received: TF_CONFIG={given!r}") from error
    if len(set(addresses)) < len(addresses):
        raise ValueError(f"{_CONFIG}, with an address of its own for each process. Received: TF_CONFIG={given!r}")
    places = [(role, index) for role, each in roles.items() for index in range(len(each))]
    if places and place[0] != "evaluator" and place not in places:
        raise ValueError(f"{_CONFIG}, with a `task` among {places}. Received: TF_CONFIG={given!r}")
    return roles


def check_named(*roles: str) -> None:
    """Raises ValueError unless `TF_CONFIG` names processes of all these roles."""
    named = cluster()
    if not all(named.get(role) for role in roles):
        raise ValueError(f"{_CONFIG}, and name the addresses of each {' and '.join(roles)}. Received: {sorted(named)}")


@contextlib.contextmanager
def joining(seconds: float = 30.0) -> Iterator[None]:
    """Around a wait for the other processes, which TensorFlow does without a word: every so often stderr names the missing ones.

    Raises:
        OSError: this process cannot listen at its address.
    """
    addresses = [address for each in cluster().values() for address in each]
    command = [sys.executable, "-S", missing_processes.__file__, str(seconds), *addresses]
    with subprocess.Popen(command, stdin=subprocess.PIPE):  # whose stdin closes with the block, or with this process
        try:
            yield
        except tf.errors.UnknownError as error:
            if "Could not start gRPC server" not in error.message:
                raise
            raise OSError(
                "This process cannot listen at the address that `TF_CONFIG` gives it: its port is taken, by another program or "
                f"by the process of an earlier run. Received: TF_CONFIG={os.environ.get('TF_CONFIG')!r}"
            ) from error
