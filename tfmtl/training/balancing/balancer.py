"""What every balancer is: from what a step measured to the weights of the tasks."""

from typing import ClassVar, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

State: TypeAlias = dict[str, tf.Tensor]
"""What a balancer remembers from one step to the next, by name."""


class Signals(NamedTuple):
    """What one step measured, the same on every replica; tasks are in the order of the model's losses.

    Attributes:
        losses: `(K,)` float32, each task's loss over the global batch, times its weight in `compile`.
        present: `(K,)` bool, whether the task has a labelled row in the global batch.
        step: scalar int64, training steps so far.
        jacobian: `(K, P)` float32, each task's gradient by the shared weights; None for a balancer that needs none.
        sizes: the number of elements of each shared weight; they add up to `P`.
    """

    losses: tf.Tensor
    present: tf.Tensor
    step: tf.Tensor
    jacobian: tf.Tensor | None = None
    sizes: tuple[int, ...] = ()


class Balancer:
    """Base of all balancers. A subclass says in `weigh` how it finds the weights; everything else has a default.

    A balancer holds options and no variables: its state is handed to it and taken from it, so that every method is a
    function that runs in a graph, and one object can balance several models.
    """

    needs_gradients: ClassVar[bool] = False
    """Whether `weigh` reads `Signals.jacobian`."""

    weighs_towers: ClassVar[bool] = True
    """Whether weights that a single task reaches are trained with its found weight, or with weight 1."""

    looks_back: ClassVar[bool] = False
    """Whether the losses are measured once more after the step, for `look_back`."""

    resizes: ClassVar[bool] = False
    """Whether it changes the gradients of shared weights one by one: then `resize` is called in place of `weigh`."""

    every: int = 1
    """Steps from one call of `weigh` to the next."""

    def bind(self, tasks: tuple[str, ...]) -> None:
        """Raises ValueError where an option names a task that the model does not have."""

    def initial_state(self, tasks: tuple[str, ...], sizes: tuple[int, ...]) -> dict[str, np.ndarray]:
        """The state before the first step, given the tasks and the sizes of the shared weights."""
        return {}

    def weigh(self, signals: Signals, state: State) -> tuple[tf.Tensor, State]:
        """The weights of the tasks, `(K,)`, and the new state. What it says of a task that is not present is not used."""
        raise NotImplementedError

    def resize(self, signals: Signals, state: State) -> tuple[tf.Tensor, tf.Tensor, State]:
        """How much longer each task's gradient gets, `(K,)`, by which factor in every shared weight, `(K, len(sizes))`,
        and the new state."""
        raise NotImplementedError

    def look_back(self, signals: Signals, after: tf.Tensor, state: State) -> State:
        """The new state, given the losses of the same batch `after` the step, `(K,)`."""
        return state

    def end_epoch(self, state: State) -> State:
        """The state at the end of an epoch. Called again before the next step, it changes nothing more."""
        return state

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({options})"


def vector(values: dict[str, float] | None, tasks: tuple[str, ...], default: float = 1.0) -> np.ndarray:
    """`values` in the order of the tasks, `default` where a task is not named."""
    return np.array([(values or {}).get(task, default) for task in tasks], "float32")


def check_known(option: str, named: object, tasks: tuple[str, ...]) -> None:
    """Raises ValueError unless all names that `option` holds are tasks of the model."""
    names = [named] if isinstance(named, str) else list(named or ())  # type: ignore[call-overload]
    if unknown := [name for name in names if name not in tasks]:
        raise ValueError(f"`{option}` names tasks that the model does not train: {unknown}. Known tasks: {list(tasks)}")


def check_between(
    option: str, value: float, low: float, high: float = float("inf"), *, inclusive: bool = True
) -> float:
    """`value` as a float; raises ValueError unless `low <= value < high`, or `low < value < high`."""
    if not ((low <= value if inclusive else low < value) and value < high):
        bracket = "[" if inclusive else "("
        raise ValueError(f"`{option}` must be in {bracket}{low}, {high}). Received: {option}={value!r}")
    return float(value)
