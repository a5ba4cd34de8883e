"""Entire-space predictions along a chain, whose conditional probabilities are trained against selection."""

import math
import threading
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, TypeAlias

from tfmtl.checks import check_option, check_units
from tfmtl.cross_replica import num_replicas
from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.layers.task_tower import TaskTower
from tfmtl.losses.counterfactual_risk import ChainStep, CounterfactualRisk, Imputation
from tfmtl.named_model import refuse_plain_step
from tfmtl.schema.tasks import Task
from tfmtl.stages.heads.esmm_head import ESMMHead
from tfmtl.stages.heads.towers import Units
from tfmtl.typing import Predictions, Streams, Tensor

Estimator: TypeAlias = Literal["ipw", "dr"]


class _Last(threading.local):
    """What the head said in the training step that this thread computes: each replica is a thread of its own."""

    def __init__(self) -> None:
        self.steps: dict[str, ChainStep] = {}


@register_layer
class ESCM2Head(ESMMHead):
    """Predicts as `ESMMHead` and also trains each step's conditional probability for the rows that were never clicked.

    ```
    c_t, p_t as in ESMMHead                                             what is returned: p_t
    loss += counterfactual_weight * sum_t risk(o_{t-1}, r_t, c_t, p_{t-1})      t: every step but the first
    ```

    The risk is `CounterfactualRisk`: the cross-entropy of `c_t` over all rows, estimated from those in which the step before
    happened (`o_{t-1} = 1`), each weighed by the inverse of its chance to be among them. `"dr"` adds an imputation tower a
    step, read from the step's stream, which says what the other rows would cost. Labels are those of the chain: 0 and not
    missing where an earlier step failed.

    The risk is a loss that a layer adds (`tfmtl.named_model.ReadsLabels`), as AITM's calibrator is, so `compile` is given what
    `ESMMHead` is given. It is part of the loss in training and not in `evaluate`. The labels come from the training step of a
    `NamedModel`, which `build` and the presets make; `fit` of a plain `keras.Model` is refused, since it would train as
    `ESMMHead` does. A step of your own has to add what `label_losses` gives. Exported graphs hold neither labels nor imputation.

    Args:
        tasks: the tasks.
        chain: names of the steps, the first one first; two or more.
        estimator: `"ipw"`, inverse propensities, or `"dr"`, doubly robust.
        counterfactual_weight: of the risk beside the losses of the tasks.
        min_propensity: what a propensity is at least: no row weighs more than its inverse.
        imputation, imputation_units: what the imputation towers say, as in `CounterfactualRisk`, and their hidden layers.
        units, activation, dropout, batch_norm: of the towers, as in `Towers`; the last three also of the imputation towers.
        base_rates: as in `ESMMHead`.
        name: of the layer.

    Input shape:
        `{task: (B, D_task), ...}`; other streams are not read.

    Output shape:
        `{task: (B, 1)}` float32.

    Raises:
        ValueError: an unknown estimator, a negative weight, or what `ESMMHead` and `CounterfactualRisk` refuse; in training, a
            step of a plain `keras.Model`.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from tfmtl import Task
    >>> from tfmtl.stages import ESCM2Head
    >>> x = keras.random.normal((8, 100))
    >>> head = ESCM2Head([Task("click"), Task("buy")], ["click", "buy"], estimator="ipw")
    >>> y = head({"click": x, "buy": x}, training=True)
    >>> risk = head.label_losses({"click": np.ones(8), "buy": np.zeros(8)}, None)
    >>> len(risk), float(risk[0]) > 0
    (1, True)

    Reference:
        Wang et al., "ESCM2: Entire Space Counterfactual Multi-Task Model for Post-Click Conversion Rate Estimation", SIGIR
        2022, arXiv:2204.05125. The paper has two steps over one shared embedding; here any number over any trunk, the
        propensity of a step being the probability of the whole path before it. See `CounterfactualRisk` for the estimates.
    """

    def __init__(
        self,
        tasks: Iterable[Task | Mapping[str, Any]],
        chain: Sequence[str],
        *,
        estimator: Estimator = "dr",
        counterfactual_weight: float = 0.5,
        min_propensity: float = 0.01,
        imputation: Imputation = "label",
        imputation_units: int | Sequence[int] = (64,),
        units: Units = (64,),
        activation: Any = "relu",
        dropout: float = 0.0,
        batch_norm: bool = False,
        base_rates: Mapping[str, float] | None = None,
        name: str = "head",
        **kwargs: Any,
    ):
        super().__init__(
            tasks,
            chain,
            units=units,
            activation=activation,
            dropout=dropout,
            batch_norm=batch_norm,
            base_rates=base_rates,
            name=name,
            **kwargs,
        )
        check_option("estimator", estimator, Estimator)
        if not counterfactual_weight >= 0:
            raise ValueError(
                f"`counterfactual_weight` must be >= 0. Received: counterfactual_weight={counterfactual_weight}"
            )
        self.estimator = estimator
        self.counterfactual_weight = counterfactual_weight
        self.risk = CounterfactualRisk(min_propensity=min_propensity, imputation=imputation)
        self.imputation_units = check_units("imputation_units", imputation_units)
        rates = self._conditional_rates()
        self.imputers = {
            step: TaskTower(
                self.imputation_units,
                kind="regression",
                activation=activation,
                dropout=dropout,
                batch_norm=batch_norm,
                label_mean=_start(imputation, rates.get(step)),
                dtype=self.dtype_policy,
                name=f"{step}_imputer",
            )
            for step in (self.chain[1:] if estimator == "dr" else ())
        }
        self._last = _Last()

    def build(self, input_shape: Mapping[str, Any]) -> None:
        super().build(input_shape)
        for step, imputer in self.imputers.items():
            imputer.build(input_shape[step])

    def call(self, streams: Streams, training: bool | None = None) -> Predictions:
        conditionals = self.conditionals(streams, training=training)
        predictions = self.over_all_rows(conditionals)
        if training and self.counterfactual_weight:
            refuse_plain_step(self)
        self._last.steps = self._steps(streams, conditionals, predictions) if training else {}
        return predictions

    def _steps(self, streams: Streams, conditionals: Predictions, predictions: Predictions) -> dict[str, ChainStep]:
        imputed = {step: imputer(streams[step], training=True) for step, imputer in self.imputers.items()}
        return {
            step: ChainStep(predictions[before], conditionals[step], imputed.get(step))
            for before, step in pairwise(self.chain)
        }

    def label_losses(self, labels: Mapping[str, Tensor], sample_weight: Any) -> list[Tensor]:
        """The weighed risk of every step but the first on the rows of the last call, if that was for training.

        Args:
            labels: `{task: (B,) or (B, 1)}`, NaN where missing.
            sample_weight: None, an array for all tasks, or `{task: array}`; a step's own weigh its risk.
        """
        factor = self.counterfactual_weight * num_replicas()
        found = []
        for before, step in pairwise(self.chain):
            if step in self._last.steps:
                weight = sample_weight.get(step) if isinstance(sample_weight, Mapping) else sample_weight
                risk = self.risk(labels[before], labels[step], self._last.steps[step], weight, of=step)
                found.append(ops.cast(factor * risk, keras.backend.floatx()))
        return found

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "estimator": self.estimator,
            "counterfactual_weight": self.counterfactual_weight,
            "min_propensity": self.risk.min_propensity,
            "imputation": self.risk.imputation,
            "imputation_units": list(self.imputation_units),
        }


def _start(imputation: Imputation, rate: float | None) -> float | None:
    """The logit at which an imputation tower starts, for what is imputed to be what rows cost, or hold, on average."""
    if rate is None:
        return None
    if imputation == "label":
        return math.log(rate / (1 - rate))
    return math.log(math.expm1(-rate * math.log(rate) - (1 - rate) * math.log(1 - rate)))
