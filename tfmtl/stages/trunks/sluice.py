"""Sluice networks."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfmtl.checks import check_count
from tfmtl.keras_host import keras, ops, register, register_layer
from tfmtl.stages.trunks.stitched_towers import StitchedTowers, TowerInputs
from tfmtl.typing import Tensor


@register
class SubspaceOrthogonality(keras.regularizers.Regularizer):
    """Keeps the parts of a layer from learning the same thing.

    ```
    penalty = factor * sum_{g < h} || W_g^T W_h ||_F^2        W = [W_1, ..., W_G], columns in G equal parts
    ```

    Args:
        num_subspaces: G.
        factor: of the penalty.
    """

    def __init__(self, num_subspaces: int, factor: float):
        self.num_subspaces = num_subspaces
        self.factor = factor

    def __call__(self, x: Tensor) -> Tensor:
        products = ops.square(ops.matmul(ops.transpose(x), x))  # (U, U)
        part = np.arange(x.shape[-1]) // (x.shape[-1] // self.num_subspaces)
        pairs = (part[:, None] < part).astype("float32")
        return self.factor * ops.sum(products * ops.cast(pairs, products.dtype))

    def get_config(self) -> dict[str, Any]:
        return {"num_subspaces": self.num_subspaces, "factor": self.factor}


@register_layer
class Sluice(StitchedTowers):
    """Cross-stitches parts of layers instead of whole layers, and mixes every tower's layers.

    ```
    h_{t,l} = relu(z_{t,l-1} W_{t,l} + b_{t,l}) = [h_{t,1,l}; ...; h_{t,G,l}]       G sub-spaces, z_{t,0} = x_t
    z_{t,g,l} = sum_{j,k} a_{l,(t,g),(j,k)} h_{j,k,l}                               a_l: (T G, T G), row: receiver
    y_t = sum_l b_{l,t} z_{t,l}
    loss += orthogonality * sum_{t,l} sum_{g<k} || W_{t,g,l}^T W_{t,k,l} ||_F^2     W_{t,l} = [W_{t,1,l} ... W_{t,G,l}]
    ```

    A task can thus share one sub-space and keep another to itself.

    Args:
        units: width of each layer: one width for all if the layers are mixed.
        num_subspaces: G; must divide every width.
        orthogonality: factor of the penalty; 0 switches it off. The penalty is a sum over `(U / G)^2` products for each
            pair of sub-spaces, so wide layers want a small factor.
        mix_layers: whether `y_t` mixes all layers; False takes the last.
        self_weight: where `a` starts on its diagonal and `b` at the last layer; the rest share `1 - self_weight`.
        inputs: what a tower reads: `"own"`, its task's stream, or `"own+shared"`, the shared stream beside it. `"own"`
            loses nothing: over a shared bottom all streams are one tensor, and where they differ `tfmtl.build` sets the
            shared stream beside the trunk's output.
        activation: of every layer, before the stitch.
        dropout: share of a layer's units set to zero in training, before the stitch.
        kernel_initializer: of every kernel; each is drawn for itself.
        name: of the layer.

    Input shape:
        `{task: (B, D_task), ..., "shared": (B, D_shared)}`. `"shared"` may be left out if it is not read.

    Output shape:
        `{task: (B, units[-1])}`.

    Raises:
        ValueError: what `CrossStitch` refuses, `num_subspaces` that does not divide a width, a negative penalty, or a
            mixture of layers of several widths.

    Example:

    >>> import keras
    >>> from tfmtl.stages import Sluice
    >>> x = keras.random.normal((8, 100))
    >>> trunk = Sluice((32, 32), num_subspaces=2)
    >>> y = trunk({"click": x, "buy": x, "shared": x})
    >>> tuple(y["buy"].shape), len(trunk.losses)
    ((8, 32), 4)

    Reference:
        Ruder et al., "Latent Multi-Task Architecture Learning", AAAI 2019, arXiv:1705.08142: sub-spaces, mixture and
        penalty follow the authors' code, which has recurrent layers where we have dense ones and starts stitches with
        equal weights or with an uneven pattern; starting near the identity, as cross-stitch does, is our choice. Their
        script has no penalty by default; 1e-4 is our choice.
    """

    def __init__(
        self,
        units: Sequence[int] = (256, 256),
        *,
        num_subspaces: int = 2,
        orthogonality: float = 1e-4,
        mix_layers: bool = True,
        self_weight: float = 0.9,
        inputs: TowerInputs = "own",
        activation: Any = "relu",
        dropout: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        name: str = "trunk",
        **kwargs: Any,
    ):
        super().__init__(
            units,
            self_weight=self_weight,
            inputs=inputs,
            activation=activation,
            dropout=dropout,
            kernel_initializer=kernel_initializer,
            name=name,
            **kwargs,
        )
        num_subspaces = check_count("num_subspaces", num_subspaces)
        if any(width % num_subspaces for width in self.units):
            raise ValueError(f"`num_subspaces` must divide {self.units}. Received: num_subspaces={num_subspaces}")
        if not orthogonality >= 0:
            raise ValueError(f"`orthogonality` must be >= 0. Received: orthogonality={orthogonality}")
        if mix_layers and len(set(self.units)) > 1:
            raise ValueError(
                f"Layers of several widths cannot be mixed: use mix_layers=False. Received: units={self.units}"
            )
        self.num_subspaces = num_subspaces
        self.orthogonality = orthogonality
        self.mix_layers = mix_layers
        self.layer_weights: Any = None

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        if self.mix_layers and len(self.units) > 1:
            start = self._near_identity(len(self.units))[-1:].T.repeat(len(self.tasks), axis=1)  # (L, T)
            self.layer_weights = self._add_mixture("layer_weights", start)

    def _dense_options(self, name: str) -> dict[str, Any]:
        options = super()._dense_options(name)
        if self.orthogonality and self.num_subspaces > 1:
            options["kernel_regularizer"] = SubspaceOrthogonality(self.num_subspaces, self.orthogonality)
        return options

    def _add_stitch(self, name: str, units: int) -> Any:
        return self._add_mixture(name, self._near_identity(len(self.tasks) * self.num_subspaces))

    def _stitch(self, hidden: list[Tensor], weights: Any) -> list[Tensor]:
        return self._mix_parts(hidden, weights, self.num_subspaces)

    def _finish(self, layers: list[list[Tensor]]) -> list[Tensor]:
        if self.layer_weights is None:
            return layers[-1]
        rows = ops.unstack(ops.cast(self.layer_weights, self.compute_dtype), len(layers))
        return [sum(rows[i][t] * layer[t] for i, layer in enumerate(layers)) for t in range(len(self.tasks))]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_subspaces": self.num_subspaces,
            "orthogonality": self.orthogonality,
            "mix_layers": self.mix_layers,
        }
