"""How often a shuffled source was read: with its seed, that alone decides the order of its rows."""

import threading
from collections.abc import Iterator, Sequence

_COUNTERS: list["PassCounter"] = []
_LOCK = threading.Lock()


class PassCounter(Iterator[int]):
    """Gives the number of each pass over a source, from 0, and can be set to that of a run that was interrupted.

    A process that starts again makes its sources anew, in the same order: by their place in it `tell` and `seek` find them.

    Args:
        seed: of the source's order.
    """

    def __init__(self, seed: int):
        self.seed = seed
        self.next_pass = 0
        with _LOCK:
            _COUNTERS.append(self)

    def __next__(self) -> int:
        with _LOCK:
            self.next_pass += 1
            return self.next_pass - 1


def tell() -> list[list[int]]:
    """`[seed, next pass]` of every shuffled source of this process, in the order in which they were made."""
    with _LOCK:
        return [[counter.seed, counter.next_pass] for counter in _COUNTERS]


def seek(told: Sequence[Sequence[int]]) -> None:
    """Sets the sources of this process to the passes that `tell` gave in another.

    Raises:
        ValueError: there are fewer sources, or some of other seeds: their rows would come in another order.
    """
    with _LOCK:
        seeds = [counter.seed for counter in _COUNTERS[: len(told)]]
        wanted = [seed for seed, _ in told]
        if seeds != wanted:
            raise ValueError(
                "The rows come in another order than before the interruption: the shuffled sources of `read` must be made "
                "in the same order and with the same seeds, so give `read` a `seed` or call `keras.utils.set_random_seed` "
                f"first. Received: seeds {seeds}; before: {wanted}"
            )
        for counter, (_, next_pass) in zip(_COUNTERS, told, strict=False):
            counter.next_pass = next_pass
