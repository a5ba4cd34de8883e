"""A contestant's process: it does steps when told to and says how long each took. Any Python, any framework."""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

Steps = Callable[[int], list[float]]
"""Does that many steps; returns the seconds of each."""


def peak_bytes() -> int:
    """The most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def serve(run: Steps, **facts: Any) -> None:
    """Says `facts` once, then answers every number on standard input with that many durations, until the input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints must not mix with the answers
    run(3)
    print(json.dumps(facts), file=answers)
    for line in sys.stdin:
        seconds = run(int(line))
        print(json.dumps({"seconds": seconds, "peak_bytes": peak_bytes()}), file=answers)


def fit_steps(keras: Any, model: Any, dataset: Any) -> Steps:
    """Steps of `model.fit` on a `dataset` without end. The first two of a call start its input and are not counted."""
    started = 2

    class Stopwatch(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            self.seconds: list[float] = []

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            self.start = time.perf_counter()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.seconds.append(time.perf_counter() - self.start)

    def run(steps: int) -> list[float]:
        stopwatch = Stopwatch()
        model.fit(dataset, steps_per_epoch=steps + started, epochs=1, verbose=0, callbacks=[stopwatch])
        return stopwatch.seconds[started:]

    return run


def each(step: Callable[[], Any]) -> Steps:
    """Steps that are calls of `step`."""

    def run(steps: int) -> list[float]:
        seconds = []
        for _ in range(steps):
            start = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - start)
        return seconds

    return run
