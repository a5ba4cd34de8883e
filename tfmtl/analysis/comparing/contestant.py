"""What takes part in a comparison."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, TypeAlias

from tfmtl.checks import check_names
from tfmtl.keras_host import keras
from tfmtl.schema import Schema, Task
from tfmtl.training.balancing import Balancer

Maker: TypeAlias = Callable[[Schema], keras.Model]
"""Builds a new model for the tasks of a schema, such as `tfmtl.models.ple`."""


@dataclass(frozen=True)
class Contestant:
    """A model and how it is trained, where that differs from the others of a comparison.

    Args:
        make: builds a new model for the schema that it is given: a preset, or any function that returns a functional Keras
            model with a dict of outputs by task.
        balancer: trains the model as `balanced(model, balancer)`.
        normalize: as in `objectives`; None takes that of the comparison.
        weights: by task, its weight in the loss; others keep `Task.weight`.
        optimizer: makes an optimizer of a learning rate; None takes that of the comparison.
        learning_rates: the grid that is searched for this contestant; None takes that of the comparison.

    Raises:
        ValueError: something else than a function, a balancer, or positive learning rates.

    Example:

    >>> from tfmtl.analysis import Contestant
    >>> from tfmtl.models import ple
    >>> from tfmtl.training.balancing import CAGrad
    >>> Contestant(ple, balancer=CAGrad(every=10), learning_rates=(1e-3, 3e-3)).balancer
    CAGrad(c=0.4, every=10)
    """

    make: Maker
    _: KW_ONLY
    balancer: Balancer | None = None
    normalize: bool | None = None
    weights: Mapping[str, float] | None = None
    optimizer: Callable[[float], Any] | None = None
    learning_rates: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if not callable(self.make) or isinstance(self.make, keras.Model):
            raise ValueError(
                "A contestant must be a function, schema -> keras.Model: every run builds a model of its own. "
                f"Received: {self.make!r}"
            )
        if self.balancer is not None and not isinstance(self.balancer, Balancer):
            raise ValueError(f"`balancer` must be a balancer such as CAGrad(). Received: balancer={self.balancer!r}")
        if self.optimizer is not None:
            check_optimizer(self.optimizer)
        if self.learning_rates is not None:
            check_rates(self.learning_rates)

    def tasks(self, schema: Schema) -> tuple[Task, ...]:
        """The tasks of `schema` with the weights of this contestant; ValueError for a weight of no task."""
        weights = {name: weight for name, weight in (self.weights or {}).items() if schema.task(name)}
        return tuple(replace(task, weight=weights.get(task.name, task.weight)) for task in schema.tasks)

    def alone(self) -> "Contestant":
        """The same model for a single task: there is nothing to weigh or to balance."""
        return replace(self, balancer=None, weights=None)


def as_contestant(given: Maker | Contestant) -> Contestant:
    """A function as a contestant without settings of its own."""
    return given if isinstance(given, Contestant) else Contestant(given)


def check_contestants(given: Any, reserved: str) -> dict[str, Contestant]:
    """The contestants by name; raises ValueError unless there is one or more, none of them called `reserved`."""
    if not isinstance(given, Mapping) or not given:
        raise ValueError(f"`contestants` must be a dict, one or more models by name. Received: {given!r}")
    names = check_names("contestants", given)
    if reserved in names:
        raise ValueError(f"No contestant may be called {reserved!r}: the report has these beside it.")
    return {name: as_contestant(given[name]) for name in names}


def check_optimizer(optimizer: Any) -> None:
    """Raises ValueError unless it can make optimizers."""
    if not callable(optimizer) or isinstance(optimizer, keras.optimizers.Optimizer):
        raise ValueError(
            "`optimizer` must make an optimizer of a learning rate, such as keras.optimizers.Adam: every run needs its own. "
            f"Received: optimizer={optimizer!r}"
        )


def check_rates(rates: Any) -> tuple[float, ...]:
    """The learning rates of a grid; raises ValueError unless they are positive numbers, one or more."""
    found = (rates,) if isinstance(rates, int | float) else tuple(rates)
    if not found or not all(isinstance(rate, int | float) and 0 < rate < math.inf for rate in found):
        raise ValueError(f"`learning_rates` must be positive numbers, one or more. Received: learning_rates={rates!r}")
    return tuple(map(float, found))
