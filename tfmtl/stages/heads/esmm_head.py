"""Entire-space predictions along a chain of steps."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from tfmtl.keras_host import keras, register_layer
from tfmtl.schema.chains import check_chain, check_steps
from tfmtl.schema.tasks import Task
from tfmtl.stages.heads.label_means import Start, label_means, warn_of_unknown
from tfmtl.stages.heads.towers import Towers, Units, read_tasks
from tfmtl.typing import Predictions, Streams, TaskKind


@register_layer
class ESMMHead(keras.layers.Layer):
    """Predicts every step of a chain over all rows, as the product of the conditional probabilities up to it.

    ```
    c_t = Tower_t(x_t)                      probability of step t where step t-1 happened
    p_t = c_1 c_2 ... c_t                   probability of step t anywhere: what is trained, and returned
    ```

    With the chain click, buy these are pCTR and pCTCVR = pCTR pCVR. The label of a step is 1 where the whole path to it
    happened and 0 elsewhere, defined on every row: the conditional probability is trained on the entire space and never
    on clicked rows alone. So no step may have another step as its `sample_space`. Tasks outside of the chain get a
    tower.

    Args:
        tasks: the tasks.
        chain: names of the steps, the first one first; two or more.
        units, activation, dropout, batch_norm: of the towers, as in `Towers`.
        base_rates: `{task: mean of its labels}`, as in `Towers`; of steps over all rows, as they are labelled. A step's
            tower starts at its share over that of the step before. None takes what the schema has learned.
        name: of the layer.

    Input shape:
        `{task: (B, D_task), ...}`; other streams are not read.

    Output shape:
        `{task: (B, 1)}` float32; tasks outside of the chain as in `Towers`.

    Raises:
        ValueError: a chain of fewer than two steps, with a step twice, that is no binary task, or that is defined only
            where another one happened; a base rate of a step that is not below that of the step before; or what
            `Towers` refuses.

    Example:

    >>> import keras
    >>> from tfmtl import ESMMHead, Task
    >>> x = keras.random.normal((8, 100))
    >>> head = ESMMHead([Task("click"), Task("buy")], ["click", "buy"])
    >>> y = head({"click": x, "buy": x})
    >>> bool(keras.ops.all(y["buy"] <= y["click"]))
    True

    Reference:
        Ma et al., "Entire Space Multi-Task Model", SIGIR 2018, arXiv:1804.07931. The paper has two steps over one
        shared embedding; here any number over any trunk.
    """

    def __init__(
        self,
        tasks: Iterable[Task | Mapping[str, Any]],
        chain: Sequence[str],
        *,
        units: Units = (64,),
        activation: Any = "relu",
        dropout: float = 0.0,
        batch_norm: bool = False,
        base_rates: Mapping[str, Start] | None = None,
        name: str = "head",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        read = read_tasks(tasks)
        self.chain = check_chain(chain)
        check_steps(self.chain, read)
        self.base_rates: dict[str, Any] = self._learned_rates(read) if base_rates is None else dict(base_rates)
        self.towers = Towers(
            read.values(),
            units=units,
            activation=activation,
            dropout=dropout,
            batch_norm=batch_norm,
            base_rates=self._conditional_rates(),
            dtype=self.dtype_policy,
            name="towers",
        )

    def _learned_rates(self, tasks: Mapping[str, Task]) -> dict[str, Any]:
        """What the schema knows of the tasks, but for steps that happen as often as the step before."""
        rates: dict[str, Any] = label_means(tasks, None)
        unfit = []
        for before, step in pairwise(self.chain):
            if step in rates and not rates[step] < rates.get(before, 0.0):
                unfit.append(step)
                del rates[step]
        warn_of_unknown(unfit)
        return rates

    def _conditional_rates(self) -> dict[str, Any]:
        """The base rates, those of steps where the step before happened."""
        rates = dict(self.base_rates)
        for before, step in pairwise(self.chain):
            if step not in self.base_rates:
                continue
            if not 0 < self.base_rates[step] < self.base_rates.get(before, 0):
                raise ValueError(
                    f"The base rate of step {step!r} must be above 0 and below that of {before!r}. "
                    f"Received: base_rates={self.base_rates}"
                )
            rates[step] = self.base_rates[step] / self.base_rates[before]
        return rates

    @property
    def kinds(self) -> dict[str, TaskKind]:
        """`{task: its kind}`."""
        return self.towers.kinds

    def build(self, input_shape: Mapping[str, Any]) -> None:
        self.towers.build(input_shape)
        self.built = True

    def conditionals(self, streams: Streams, training: bool | None = None) -> Predictions:
        """`{task: (B, 1)}`: for a step of the chain, its probability where the step before happened (pCVR)."""
        return self.towers(streams, training=training)

    def call(self, streams: Streams, training: bool | None = None) -> Predictions:
        return self.over_all_rows(self.conditionals(streams, training=training))

    def over_all_rows(self, conditionals: Predictions) -> Predictions:
        """`conditionals`, those of the chain's steps multiplied with all before them."""
        predictions = dict(conditionals)
        for before, step in pairwise(self.chain):
            predictions[step] = predictions[before] * predictions[step]
        return predictions

    def get_config(self) -> dict[str, Any]:
        towers = self.towers.get_config()
        options = {key: towers[key] for key in ("tasks", "units", "activation", "dropout", "batch_norm")}
        return {**super().get_config(), **options, "chain": list(self.chain), "base_rates": dict(self.base_rates)}
