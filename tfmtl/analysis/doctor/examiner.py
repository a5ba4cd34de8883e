"""What measures a model and its data."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tfmtl.analysis.doctor.examination import Examination
from tfmtl.analysis.doctor.mixture_probe import MixtureProbe
from tfmtl.analysis.doctor.rows import batches, read_rows
from tfmtl.keras_host import inputs_by_name, keras, layers_of
from tfmtl.schema import Schema, Task
from tfmtl.training.balancing.shared_weights import SharedWeights
from tfmtl.training.balancing.task_losses import TaskLosses
from tfmtl.training.compiled_weights import compiled_weights, is_trained
from tfmtl.training.evaluation import Evaluation
from tfmtl.training.gradient_meter import GradientMeter
from tfmtl.training.objectives import objectives
from tfmtl.training.task_gradients import TaskGradients

Preprocess = Callable[[dict[str, Any]], dict[str, Any]]


class Examiner:
    """Measures a model, as often as it is asked to; what it has traced is kept.

    Args:
        model, schema, preprocessor, steps: as in `diagnose`.
    """

    def __init__(self, model: keras.Model, schema: Schema, *, preprocessor: Preprocess | None = None, steps: int = 100):
        self.model = model
        self.schema = schema
        self.preprocessor = preprocessor
        self.steps = steps
        self.evaluation = Evaluation(model, schema)
        self.remarks: list[str] = []
        self.chains = _chains(model)
        self._meter: GradientMeter | None = None
        self._metered = False

    def __call__(
        self,
        dataset: Any,
        *,
        train: Any = None,
        history: Mapping[str, Sequence[float]] | None = None,
        comparison: Any = None,
        initial: Sequence[np.ndarray] | None = None,
    ) -> Examination:
        """Predicts the rows, looks into experts and gates, and measures the gradients; the arguments are those of `diagnose`."""
        for name, given in (("dataset", dataset), ("train", train)):
            if isinstance(given, Iterator):
                raise ValueError(
                    f"`{name}` is read more than once: give a dataset or a list, not an iterator. "
                    f"Received: {type(given).__name__}"
                )
        probe = MixtureProbe(self.model)

        def predict(inputs: dict[str, Any]) -> Mapping[str, Any]:
            probe.add(inputs)
            return self.evaluation.predict(inputs)

        columns, options = self.evaluation.columns, (self.schema, self.steps, self.preprocessor)
        rows = read_rows(predict, columns, dataset, *options)
        read = (
            read_rows(self.evaluation.predict, columns, train, *options, training=True) if train is not None else None
        )
        gradients = self._gradients(dataset if train is None else train)
        mixtures = probe.statistics()
        remarks = list(self.remarks)
        if not mixtures:
            remarks.append("No layer shows experts and gates (`tfmtl.typing.MixesExperts`): these were not looked at.")
        if train is None:
            remarks.append("Without `train`, rows that the model was trained on are not told from others.")
        return Examination(
            model=self.model,
            schema=self.schema,
            rows=rows,
            train=read,
            weights=compiled_weights(self.model, self.schema.tasks),
            trained=is_trained(self.model),
            gradients=gradients,
            mixtures=mixtures,
            chains=self.chains,
            history=history or {},
            comparison=comparison,
            initial=initial,
            remarks=remarks,
        )

    def _gradients(self, dataset: Any) -> TaskGradients | None:
        if not self._metered:  # after rows were read, so that a model of another form is refused in words first
            self._metered = True
            self._meter = self._made_meter()
        if self._meter is None:
            return None
        encoded = ((x, y) for _, x, y, _ in batches(dataset, self.preprocessor, self.steps, training=True))
        return self._meter(encoded, self.steps)

    def _made_meter(self) -> GradientMeter | None:
        model = self.model
        if not inputs_by_name(model) or not isinstance(getattr(model, "output", None), Mapping):
            self.remarks.append(
                f"Gradients need a functional model; of {type(model).__name__} it is not known which weights its tasks share."
            )
            return None
        if not model.trainable_variables:
            self.remarks.append("No weight of the model is trainable: there are no gradients.")
            return None
        losses = TaskLosses(tuple(model.output), objectives(map(_plain, self.schema.tasks))["loss"], None)
        shared = SharedWeights(model, losses.tasks)
        if not shared.dense:
            self.remarks.append("The tasks share no dense weight: whether they are in conflict cannot be seen.")
        return GradientMeter(model, losses, shared)


def _plain(task: Task) -> Task:
    """The task with weight 1, and without the statistics by which `objectives` would warn."""
    return replace(task, weight=1.0, weight_decay=1.0, mean=None, variance=None, class_rates=None)


def _chains(model: keras.Model) -> list[tuple[str, ...]]:
    """The chains that layers of the model declare as `chain`, each once."""
    declared = [getattr(layer, "chain", None) for layer in layers_of(model)]
    chains = [tuple(chain) for chain in declared if isinstance(chain, list | tuple) and len(chain) > 1]
    return list(dict.fromkeys(chain for chain in chains if all(isinstance(step, str) for step in chain)))
