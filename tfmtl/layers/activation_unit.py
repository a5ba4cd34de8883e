"""How much each event of a history has to do with the item at hand."""

from collections.abc import Sequence
from typing import Any

from tfmtl.checks import check_option, check_units
from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.layers.dice import Dice
from tfmtl.schema.sequence import AttentionActivation
from tfmtl.typing import Tensor

_FAR_BELOW = -1e9
"""What stands for the score of padding under a softmax: its exponential is 0 in float32."""


@register_layer
class ActivationUnit(keras.layers.Layer):
    """Scores every event of a history by what it and the target item have in common.

    ```
    z_l = activation(h_l A + t B + (h_l * t) C + b)             h_l: event l;  t: the target;  * element by element
    a_l = w . MLP(z_l) + c                                      softmax=True: softmax of these over the events
    ```

    Without a softmax the scores are as they are, so that the sum over many events that match is larger than over few.

    Args:
        units: hidden layers, one or more; the first one is `z`.
        activation: of these: `"prelu"`, `"dice"`, or `"sigmoid"`.
        softmax: whether scores are made to sum to 1 over the events.

    Input shape:
        `[(B, L, D), (B, L), (B, D)]`: events, their mask, 1 or true for events, and the target.

    Output shape:
        `(B, L)`, float32 under every policy; 0 for padding, and everywhere in an empty history.

    Raises:
        ValueError: no hidden layer, an unknown activation, or a target that is not as wide as an event.

    Example:

    >>> import keras
    >>> from tfmtl.layers import ActivationUnit
    >>> events, mask, target = keras.random.normal((8, 20, 16)), keras.ops.ones((8, 20)), keras.random.normal((8, 16))
    >>> tuple(ActivationUnit()([events, mask, target]).shape)
    (8, 20)

    Reference:
        Zhou et al., "Deep Interest Network for Click-Through Rate Prediction" (DIN), KDD 2018, arXiv:1706.06978, section 4.3
        and figure 2: event, product and target into 36 units with PReLU or Dice, and no softmax. The authors' code adds
        their difference, which a layer that reads both already has, and takes sigmoids and a softmax.
    """

    def __init__(
        self,
        units: int | Sequence[int] = (36,),
        *,
        activation: AttentionActivation = "prelu",
        softmax: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_option("activation", activation, AttentionActivation)
        self.units = check_units("units", units, least=1)
        self.activation = activation
        self.softmax = softmax
        first, *rest = self.units
        policy = self.dtype_policy
        self.event = keras.layers.Dense(first, dtype=policy, name="event")
        self.target = keras.layers.Dense(first, use_bias=False, dtype=policy, name="target")
        self.product = keras.layers.Dense(first, use_bias=False, dtype=policy, name="product")
        self.hidden = [keras.layers.Dense(width, dtype=policy, name=f"hidden_{i}") for i, width in enumerate(rest)]
        self.activations = [_activation(activation, policy, f"activation_{i}") for i in range(len(self.units))]
        # A constant in all scores changes no softmax.
        self.score = keras.layers.Dense(1, use_bias=not softmax, dtype="float32", name="score")

    def build(self, input_shape: Any) -> None:
        events, _, target = (tuple(shape) for shape in input_shape)
        if events[-1] != target[-1]:
            raise ValueError(f"The target must be as wide as an event. Received: events {events}, target {target}")
        self.event.build(events)
        self.target.build(target)
        self.product.build(events)
        width = events[:-1]
        for layer, below in zip(self.hidden, self.units, strict=False):
            layer.build((*width, below))
        for layer, units in zip(self.activations, self.units, strict=True):
            layer.build((*width, units))
        self.score.build((*width, self.units[-1]))
        self.built = True

    def call(self, inputs: list[Tensor], training: bool | None = None) -> Tensor:
        events, mask, target = inputs
        present = ops.cast(mask, "float32")
        target = target[:, None]  # (B, 1, D)
        x = self.event(events) + self.target(target) + self.product(events * target)  # (B, L, U)
        for i, activation in enumerate(self.activations):
            x = self.hidden[i - 1](x) if i else x
            x = activation(x, training=training, mask=present) if isinstance(activation, Dice) else activation(x)
        scores = self.score(ops.cast(x, "float32"))[..., 0]
        if self.softmax:
            scores = ops.softmax(ops.where(present > 0, scores, _FAR_BELOW), axis=-1)
        return scores * present

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return tuple(input_shape[0][:-1])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": list(self.units),
            "activation": self.activation,
            "softmax": self.softmax,
        }


def _activation(kind: AttentionActivation, policy: Any, name: str) -> keras.layers.Layer:
    if kind == "dice":
        return Dice(dtype=policy, name=name)
    if kind == "prelu":
        return keras.layers.PReLU(shared_axes=[1], dtype=policy, name=name)
    return keras.layers.Activation("sigmoid", dtype=policy, name=name)
