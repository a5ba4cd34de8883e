"""The products of every two fields, summed."""

from typing import Any

from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.typing import Tensor


@register_layer
class FactorizationMachine(keras.layers.Layer):
    """Adds up the products of every two fields, in a time that grows with the fields and not with their pairs.

    ```
    v = sum_{f < g} x_f * x_g = ((sum_f x_f)^2 - sum_f x_f^2) / 2           x_f: (B, D), the embedding of field f
    y = v, or sum_d v_d where `summed`
    ```

    The sum over `d` is the second-order term of a factorization machine, one number a row; the vector is what neural
    factorization machines hand to the layers above. The first-order term is what a trunk makes of the fields beside it.

    Args:
        summed: whether the products are added up to one number.

    Input shape:
        `[(B, D), ..., (B, D)]`, two fields or more, of one width.

    Output shape:
        `(B, D)`, or `(B, 1)` where `summed`; computed in float32 under every policy, since squares cancel.

    Raises:
        ValueError: less than two fields, or fields of several widths.

    Example:

    >>> import keras
    >>> from tfmtl.layers import FactorizationMachine
    >>> fields = [keras.random.normal((8, 16)) for _ in range(3)]
    >>> tuple(FactorizationMachine()(fields).shape), tuple(FactorizationMachine(summed=True)(fields).shape)
    ((8, 16), (8, 1))

    Reference:
        Rendle, "Factorization Machines", ICDM 2010, section III.D. He and Chua, "Neural Factorization Machines for Sparse
        Predictive Analytics", SIGIR 2017, arXiv:1708.05027, equation 3. The paper's factors are tables of their own; here
        they are the embeddings that the model has.
    """

    def __init__(self, *, summed: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.summed = summed

    def build(self, input_shape: Any) -> None:
        widths = [int(shape[-1]) for shape in input_shape]
        if len(widths) < 2 or len(set(widths)) > 1:
            raise ValueError(f"A factorization machine needs two fields or more, of one width. Received: D={widths}")
        self.built = True

    def call(self, fields: list[Tensor]) -> Tensor:
        x = ops.cast(ops.stack(list(fields), axis=1), "float32")  # (B, M, D)
        v = (ops.square(ops.sum(x, axis=1)) - ops.sum(ops.square(x), axis=1)) / 2
        return ops.cast(ops.sum(v, axis=-1, keepdims=True) if self.summed else v, self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        batch, width = input_shape[0]
        return (batch, 1 if self.summed else width)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "summed": self.summed}
