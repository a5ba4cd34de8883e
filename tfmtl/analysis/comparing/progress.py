"""How far a comparison has come."""

import sys
import time


class Progress:
    """Tells on standard output, as Keras does, which run is on and about how long the rest will take.

    On a terminal the line of a run is written over at every epoch; elsewhere there is one line for each finished run.

    Args:
        runs: how many there will be.
        epochs: of a run, at most.
        verbose: whether to tell anything.
    """

    def __init__(self, runs: int, epochs: int, *, verbose: bool):
        self.runs = runs
        self.epochs = epochs
        self.verbose = verbose
        self._done = 0
        self._trained = 0.0
        self._seconds = 0.0
        self._live = verbose and sys.stdout.isatty()

    def start(self, label: str) -> None:
        """A run begins."""
        self._label = label
        self._began = time.perf_counter()
        self._show(f"{self._head()}: begins")

    def epoch(self, epoch: int) -> None:
        """Epoch number `epoch` of the run is over."""
        share = epoch / self.epochs
        seconds = time.perf_counter() - self._began
        left = self._left(self._done + share, self._trained + share, self._seconds + seconds)
        self._show(f"{self._head()}: epoch {epoch} of {self.epochs}{left}")

    def end(self, result: str, *, trained: bool = True) -> None:
        """The run is over; `trained` is False for one that was kept from before."""
        self._done += 1
        if trained:
            self._trained += 1
            self._seconds += time.perf_counter() - self._began
        left = self._left(self._done, self._trained, self._seconds)
        self._show(f"{self._head(self._done)}: {result}{left}", lasting=True)

    def _head(self, number: int | None = None) -> str:
        return f"[{number or self._done + 1}/{self.runs}] {self._label}"

    def _left(self, done: float, trained: float, seconds: float) -> str:
        """What is left, at the pace of the runs that were trained."""
        left = self.runs - done
        if left <= 0 or not trained:
            return ""
        minutes = left * seconds / trained / 60
        return f", about {minutes:.0f} min left" if minutes >= 1 else f", about {minutes * 60:.0f} s left"

    def _show(self, text: str, *, lasting: bool = False) -> None:
        if self._live:
            sys.stdout.write(f"\r\x1b[K{text}{chr(10) if lasting else ''}")
        elif self.verbose and lasting:
            sys.stdout.write(f"{text}\n")
        if self.verbose:
            sys.stdout.flush()
