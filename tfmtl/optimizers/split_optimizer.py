"""One optimizer for the embedding tables, another for everything else."""

from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from tfmtl.keras_host import keras, raw, register
from tfmtl.optimizers.host_optimizer import HostOptimizer
from tfmtl.tables import is_table


@register
class SplitOptimizer(HostOptimizer):
    """What `optimizer(embeddings=..., dense=...)` makes: two optimizers that train one model.

    Args:
        embeddings: Keras optimizer of the embedding tables.
        dense: Keras optimizer of all other weights.
        name: str.
        ratio: of the learning rate of `embeddings` to that of `dense`, kept when `learning_rate` is set. None takes the one
            that they begin with; there is none where `dense` begins at 0 or either follows a schedule.

    `learning_rate` reads that of `dense`; setting it moves both. Keras 3's callbacks set it; those of tf_keras write the
    variable they read, so there they move `dense` alone. `iterations` are `dense`'s.

    Raises:
        ValueError: the same optimizer twice, one that scales the loss or accumulates gradients; or, when `learning_rate` is
            set, a schedule or no ratio.
    """

    def __init__(self, embeddings: Any, dense: Any, name: str = "split_optimizer", ratio: float | None = None):
        super().__init__(learning_rate=0.0, name=name)
        self.embeddings = keras.optimizers.get(embeddings)
        self.dense = keras.optimizers.get(dense)
        if self.embeddings is self.dense:
            raise ValueError(f"`embeddings` and `dense` must be two optimizers. Received: {self.dense} for both")
        _check_part("embeddings", self.embeddings)
        _check_part("dense", self.dense)
        self.ratio = self._found_ratio() if ratio is None else ratio

    def create_slots(self, variables: list[Any]) -> None:
        for part, own in self._split([(None, v) for v in variables]):
            part.build([v for _, v in own])

    def apply(self, grads: Iterable[Any], trainable_variables: Iterable[Any] | None = None) -> None:
        """Keras 3's way in, also under a `LossScaleOptimizer`."""
        if trainable_variables is None and not self.index.variables:
            raise ValueError(
                "`trainable_variables` must be given where the optimizer is not built. Received: trainable_variables=None"
            )
        variables = self.index.variables if trainable_variables is None else trainable_variables
        self.apply_gradients(zip(grads, variables, strict=True))

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Any]], *arguments: Any, **options: Any) -> Any:
        pairs = list(grads_and_vars)
        # tf_keras has no `built`: its parts build themselves, outside of the graph.
        if not getattr(self, "built", True):
            self.build([variable for _, variable in pairs])
        for part, own in self._split(pairs):
            if any(gradient is not None for gradient, _ in own):
                part.apply_gradients(own, *arguments, **options)
        return self.iterations

    def finalize_variable_values(self, var_list: Iterable[Any]) -> None:
        for part, own in self._split([(None, v) for v in var_list]):
            part.finalize_variable_values([v for _, v in own])

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        """Leaves weights out of the decay of both, whichever trains them."""
        for part in (self.embeddings, self.dense):
            part.exclude_from_weight_decay(var_list=var_list, var_names=var_names)

    def set_weights(self, weights: Iterable[Any]) -> None:
        """Sets `variables`, in their order."""
        values, variables = list(weights), self.variables
        if len(values) != len(variables):
            raise ValueError(
                f"`weights` must hold one for each of the optimizer's {len(variables)} variables, and most of those are "
                f"there once it is built. Received: {len(values)} weights"
            )
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)

    def _split(self, pairs: list[tuple[Any, Any]]) -> list[tuple[Any, list[tuple[Any, Any]]]]:
        """Each optimizer with its share of the `(gradient, variable)` pairs; none where the share is empty."""
        shares = [
            (self.embeddings, [pair for pair in pairs if is_table(pair[1])]),
            (self.dense, [pair for pair in pairs if not is_table(pair[1])]),
        ]
        return [(part, own) for part, own in shares if own]

    @property
    def iterations(self) -> Any:
        return self.dense.iterations

    @property
    def variables(self) -> list[Any]:
        return [*self.embeddings.variables, *self.dense.variables]

    @property
    def learning_rate(self) -> Any:
        return self.dense.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        if self._scheduled():
            raise ValueError(
                f"`learning_rate` cannot be set while a schedule sets it. Received: {value}; schedule of: {self._scheduled()}"
            )
        if self.ratio is None:
            raise ValueError(
                "`dense` began with a learning rate of 0, so there is no ratio to keep: set `embeddings.learning_rate` and "
                f"`dense.learning_rate`, or give `SplitOptimizer` a `ratio`. Received: learning_rate={value}"
            )
        self.embeddings.learning_rate = float(value) * self.ratio
        self.dense.learning_rate = value

    def _scheduled(self) -> list[str]:
        """Which of the two optimizers follows a schedule: what has a config of its own where others have a number."""
        parts = {"embeddings": self.embeddings, "dense": self.dense}
        return [name for name, part in parts.items() if isinstance(part.get_config().get("learning_rate"), dict)]

    def _found_ratio(self) -> float | None:
        if self._scheduled():
            return None
        of_embeddings, of_dense = (
            float(tf.convert_to_tensor(raw(part.learning_rate))) for part in (self.embeddings, self.dense)
        )
        return of_embeddings / of_dense if of_dense else None

    def save_own_variables(self, store: Any) -> None:
        """Nothing: the two optimizers are attributes, and Keras saves them as such."""

    def load_own_variables(self, store: Any) -> None:
        """Nothing, as in saving."""

    def get_config(self) -> dict[str, Any]:
        serialize = keras.optimizers.serialize
        return {
            "name": self.name,
            "embeddings": serialize(self.embeddings),
            "dense": serialize(self.dense),
            "ratio": self.ratio,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "SplitOptimizer":
        parts = {
            part: keras.optimizers.deserialize(config[part], custom_objects=custom_objects)
            for part in ("embeddings", "dense")
        }
        return cls(**{**config, **parts})


def _check_part(name: str, part: Any) -> None:
    """Keras asks the whole optimizer for the scale of the loss and for its steps: a part's own would go unnoticed."""
    if hasattr(part, "inner_optimizer") or getattr(part, "loss_scale_factor", None) is not None:
        raise ValueError(
            f"`{name}` must not scale the loss: wrap the whole optimizer in a `LossScaleOptimizer`. "
            f"Received: {name}={part}"
        )
    if (steps := getattr(part, "gradient_accumulation_steps", None)) is not None:
        raise ValueError(
            f"`{name}` must not accumulate gradients. Received: {name} with gradient_accumulation_steps={steps}"
        )


def optimizer(*, embeddings: Any, dense: Any) -> SplitOptimizer:
    """Trains the embedding tables with one optimizer and all other weights with another.

    A table is a weight made by a `tfmtl` embedding layer, or the weight of a Keras `Embedding` (by its name,
    `embeddings`). A layer of your own counts its table in with `weight.is_table = True`.

    Args:
        embeddings: Keras optimizer, or its name, for the tables: `RowWiseAdagrad`, `LazyAdam`, ...
        dense: Keras optimizer, or its name, for everything else. Norms for clipping are those of each one's weights.

    Returns:
        An optimizer for `model.compile`.

    Raises:
        ValueError: the same optimizer twice, or one that scales the loss (wrap the whole instead) or accumulates gradients.

    Example:

    >>> from tfmtl.models import ple
    >>> from tfmtl.optimizers import RowWiseAdagrad, optimizer
    >>> from tfmtl.schema import Categorical, Schema, Task
    >>> from tfmtl.training import objectives
    >>> schema = Schema([Categorical("item", num_ids=1000)], [Task("click"), Task("buy")])
    >>> model = ple(schema)
    >>> model.compile(optimizer(embeddings=RowWiseAdagrad(0.05), dense="adam"), **objectives(schema.tasks))
    """
    return SplitOptimizer(embeddings, dense)
