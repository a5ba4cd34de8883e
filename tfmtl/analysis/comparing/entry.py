"""Whom a comparison trains, and on what."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tfmtl.analysis.comparing.contestant import Contestant
from tfmtl.analysis.comparing.model_fingerprint import digest, model_fingerprint
from tfmtl.keras_host import LEGACY, inputs_by_name, keras
from tfmtl.schema import Schema, Task
from tfmtl.schema.tasks import task_to_dict
from tfmtl.training.balancing import balanced
from tfmtl.training.objectives import objectives

TWINS = "single-task twins"
"""The name under which a report shows the models of one task each."""


@dataclass(frozen=True)
class Entry:
    """A contestant with all tasks, or the twin of one task.

    Args:
        name: of the contestant, or `TWINS`.
        schema: the features, and the tasks that it is trained for.
        contestant: how it is built and balanced.
        optimizer: makes an optimizer of a learning rate.
        learning_rates: the grid.
        normalize: as in `objectives`.
    """

    name: str
    schema: Schema
    contestant: Contestant
    optimizer: Callable[[float], Any]
    learning_rates: tuple[float, ...]
    normalize: bool | None

    @property
    def is_twin(self) -> bool:
        return self.name == TWINS

    @property
    def key(self) -> tuple[str, tuple[str, ...]]:
        """Tells it from all other entries of a comparison."""
        return self.name, self.schema.task_names

    @property
    def label(self) -> str:
        """What messages call it."""
        return f"twin of {self.schema.task_names[0]!r}" if self.is_twin else self.name

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Its tasks, with the weights that it trains with."""
        return self.contestant.tasks(self.schema)

    def build(self) -> keras.Model:
        """A new model that predicts its tasks and nothing else; ValueError unless it is one that can be trained here."""
        model = self.contestant.make(self.schema)
        if not isinstance(model, keras.Model) or not inputs_by_name(model):
            raise ValueError(
                f"{self.label} must be a functional Keras model of this process's Keras "
                f"({keras.__name__}). Received: {type(model).__name__}"
            )
        if not isinstance(model.output, Mapping):
            raise ValueError(
                f"{self.label} must return a dict, {{task: prediction}}, so that each task is known by its name. "
                f"Received: outputs of type {type(model.output).__name__}"
            )
        names = self.schema.task_names
        missing = [task for task in names if task not in model.output]
        if missing:
            raise ValueError(f"{self.label} does not predict {missing}. Received: outputs {sorted(model.output)}")
        if set(model.output) > set(names):
            model = keras.Model(model.inputs, {task: model.output[task] for task in names}, name=model.name)
        return model

    def compiled(self, rate: float, steps: int) -> keras.Model:
        """A new model, ready to train with the learning rate `rate`, `steps` steps an epoch."""
        model = self.build()
        if self.contestant.balancer is not None:
            model = balanced(model, self.contestant.balancer)
        optimizer = self._optimizer(rate)
        made = objectives(
            self.tasks,
            normalize=self.normalize,
            metrics={task.name: [] for task in self.tasks},
            optimizer=optimizer,
            decay_steps=steps,
        )
        model.compile(optimizer, loss=made["loss"], loss_weights=made["loss_weights"])
        return model

    def described(self, model: keras.Model) -> dict[str, Any]:
        """What all of its runs depend on, as JSON types, given a model that it built; what is left is of each run."""
        return {
            "name": self.name,
            "tasks": [task_to_dict(task) for task in self.tasks],
            "model": model_fingerprint(model),
            "balancer": repr(self.contestant.balancer),
            "normalize": self.normalize,
            "host": "tf_keras" if LEGACY else "keras",
        }

    def described_optimizer(self, rate: float) -> dict[str, Any]:
        """The optimizer for a learning rate, as JSON types."""
        optimizer = self._optimizer(rate)
        return {"class": type(optimizer).__name__, "config": digest(optimizer.get_config())}

    def _optimizer(self, rate: float) -> Any:
        optimizer = self.optimizer(rate)
        if not isinstance(optimizer, keras.optimizers.Optimizer):
            raise ValueError(
                f"`optimizer` of {self.label} must make an optimizer of a learning rate, such as keras.optimizers.Adam. "
                f"Received: optimizer({rate}) = {optimizer!r}"
            )
        return optimizer
