"""Entire-space predictions along a chain of steps."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfmtl.keras_host import keras, register
from tfmtl.layers.head.information_transfer import check_chain
from tfmtl.models.heads.towers import Towers, Units
from tfmtl.spec.tasks import Task
from tfmtl.typing import Predictions, Streams


@register
class ESMMHead(keras.layers.Layer):
    """Predicts every step of a chain over all rows, as the product of the conditional probabilities up to it.

    ```
    c_t = Tower_t(x_t)                      probability of step t where step t-1 happened
    p_t = c_1 c_2 ... c_t                   probability of step t anywhere: what is trained, and returned
    ```

    With the chain click, buy these are pCTR and pCTCVR = pCTR pCVR. The label of a step is 1 where the whole path to it
    happened and 0 elsewhere, defined on every row: the conditional probability is trained on the entire space and never
    on clicked rows alone. So declare later steps without a `sample_space`. Tasks outside of the chain get a tower.

    Args:
        tasks: the tasks.
        chain: names of the steps, the first one first; two or more.
        units, activation, dropout, batch_norm: of the towers, as in `Towers`.

    Input shape:
        `{task: (B, D_task), ...}`; other streams are not read.

    Output shape:
        `{task: (B, 1)}` float32.

    Raises:
        ValueError: a chain of fewer than two steps, with a step twice or that is no binary task, or what `Towers` refuses.

    Example:

    >>> x = keras.random.normal((8, 100))
    >>> head = ESMMHead([Task("click"), Task("buy")], ["click", "buy"])
    >>> y = head({"click": x, "buy": x})
    >>> bool(ops.all(y["buy"] <= y["click"]))
    True

    Reference:
        Ma et al., "Entire Space Multi-Task Model", SIGIR 2018, arXiv:1804.07931. The paper has two steps over one shared
        embedding; here any number over any trunk.
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
        name: str = "head",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        self.towers = Towers(
            tasks,
            units=units,
            activation=activation,
            dropout=dropout,
            batch_norm=batch_norm,
            dtype=self.dtype_policy,
            name="towers",
        )
        self.chain = check_chain(chain)
        check_steps(self.chain, self.towers.kinds)

    def build(self, input_shape: Mapping[str, Any]) -> None:
        self.towers.build(input_shape)
        self.built = True

    def conditionals(self, streams: Streams, training: bool | None = None) -> Predictions:
        """`{task: (B, 1)}`: for a step of the chain, its probability where the step before happened (pCVR)."""
        return self.towers(streams, training=training)

    def call(self, streams: Streams, training: bool | None = None) -> Predictions:
        predictions = self.conditionals(streams, training=training)
        for before, step in zip(self.chain, self.chain[1:], strict=False):
            predictions[step] = predictions[before] * predictions[step]
        return predictions

    def get_config(self) -> dict[str, Any]:
        towers = self.towers.get_config()
        options = {key: towers[key] for key in ("tasks", "units", "activation", "dropout", "batch_norm")}
        return {**super().get_config(), **options, "chain": list(self.chain)}


def check_steps(chain: Sequence[str], kinds: Mapping[str, Any]) -> None:
    """Raises ValueError unless every step of `chain` is a binary task."""
    wrong = [step for step in chain if kinds.get(step) != "binary"]
    if wrong:
        raise ValueError(
            f"Every step of a chain is a binary task. Received: {wrong} in chain={chain}; tasks: {dict(kinds)}"
        )
