"""A dense layer as wide as several experts."""

from typing import Any

from tfmtl.keras_host import BACKEND, keras, ops
from tfmtl.layers.fast.relu_dense import relu_dense
from tfmtl.typing import Tensor


def wide_dense(x: Tensor, kernel: Tensor, bias: Tensor, activation: Any, training: bool | None = None) -> Tensor:
    """`activation(x kernel^T + bias)`; in training on TensorFlow, Keras's ReLU brings gradients of its own.

    Args:
        x: `(B, D)`.
        kernel: `(N, D)`, in the dtype of `x`.
        bias: `(N,)`, in the dtype of `x`.
        activation: a function of Keras.
        training: as in a layer's `call`.

    Returns:
        `(B, N)`.
    """
    if training and BACKEND == "tensorflow" and activation is keras.activations.relu:
        return relu_dense(x, kernel, bias)
    # `add` of a vector after a 2-D matmul becomes a bias that the CPU kernel fuses with matmul and activation.
    return activation(ops.add(ops.matmul(x, ops.transpose(kernel)), bias))
