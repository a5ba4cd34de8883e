"""Contestants as long-lived processes that take turns, so that all of them meet the same weather."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workload import Workload

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Entry:
    """A script of this folder, the work it is given, and the environment that it needs.

    Args:
        script: its name without ending.
        work: its `Workload`.
        peer: name of the optional environment under `.venv/peers`; the project's own if empty.
    """

    script: str
    work: Workload = field(default_factory=Workload)
    peer: str = ""

    @property
    def python(self) -> Path:
        return Path(sys.prefix, "peers", self.peer, "bin", "python") if self.peer else Path(sys.executable)


class Contestant:
    """A running entry."""

    def __init__(self, entry: Entry):
        self._process = subprocess.Popen(
            [entry.python, HERE / f"{entry.script}.py", *entry.work.arguments()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if "BENCH_VERBOSE" not in os.environ else None,
            text=True,
            cwd=HERE,
        )
        self.facts = self._answer()
        self.peak_bytes = 0

    def run(self, steps: int) -> list[float]:
        """The seconds of each of `steps` steps, done now."""
        print(steps, file=self._process.stdin, flush=True)
        answer = self._answer()
        self.peak_bytes = answer["peak_bytes"]
        return answer["seconds"]

    def stop(self) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=60)

    def _answer(self) -> dict[str, Any]:
        for line in self._process.stdout:
            if line.startswith("{"):  # not what a library says while it is imported
                return json.loads(line)
        raise RuntimeError(f"{self._process.args[1].name} stopped; see its errors with BENCH_VERBOSE=1")


@dataclass
class Timing:
    """What a contestant did in a sitting.

    Args:
        rounds: the seconds of its steps, by round.
        facts: what it said of itself: versions, weights, and of memory what its imports took and its step needs.
        peak_bytes: the most memory that it held.
    """

    rounds: list[list[float]]
    facts: dict[str, Any]
    peak_bytes: int


def sit(entries: Mapping[str, Entry], *, rounds: int, steps: int) -> dict[str, Timing]:
    """Lets the entries take turns, `steps` steps at a time. One whose environment is absent is left out.

    The order turns round at every second round: a contestant may leave caches and clocks in a state that is good or bad
    for the next.
    """
    with ExitStack() as stack:
        running: dict[str, Contestant] = {}
        for label, entry in entries.items():
            if entry.python.exists():
                running[label] = Contestant(entry)
                stack.callback(running[label].stop)
        seconds: dict[str, list[list[float]]] = {label: [] for label in running}
        for number in range(rounds):
            for label in list(running)[:: 1 if number % 2 == 0 else -1]:
                seconds[label].append(running[label].run(steps))
        return {label: Timing(seconds[label], who.facts, who.peak_bytes) for label, who in running.items()}
