"""A dense layer with ReLU in training: what TensorFlow computes faster than it would derive it.

Other backends can import this, not call it.
"""

from collections.abc import Callable
from typing import Any

from tfmtl.keras_host import BACKEND, keras, ops
from tfmtl.layers.fast.hardware import cpu_favors_bfloat16, has_accelerator
from tfmtl.typing import Tensor


def is_fast_for(activation: Any) -> bool:
    """Whether `relu_dense` serves a dense layer with this activation, a function of Keras."""
    return BACKEND == "tensorflow" and activation is keras.activations.relu


@ops.custom_gradient
def relu_dense(x: Tensor, kernel: Tensor, bias: Tensor) -> tuple[Tensor, Callable[..., tuple[Tensor, ...]]]:
    """`relu(x kernel^T + bias)`, one operation on a CPU, with gradients that are products as a CPU computes them fastest.

    The bias's is a product with ones: two thirds of the time of `BiasAddGrad`, and summed in float32 where the CPU's
    `BiasAddGrad` sums in bfloat16, which cannot count beyond 256. On a CPU that multiplies bfloat16 slower than float32,
    products of bfloat16 are float32's: exact products, summed in float32 as elsewhere.

    Args:
        x: `(B, D)`.
        kernel: `(N, D)`.
        bias: `(N,)`.

    Returns:
        `(B, N)`, in the dtype of `x`.
    """
    import tensorflow as tf

    dtype = x.dtype
    widens = dtype == tf.bfloat16 and not (has_accelerator() or cpu_favors_bfloat16())
    working = tf.float32 if widens else dtype

    def widen(value: Tensor) -> Tensor:
        return tf.cast(value, working)

    product = tf.matmul(widen(x), widen(kernel), transpose_b=True)
    y = tf.cast(tf.nn.relu(tf.nn.bias_add(product, widen(bias))), dtype)

    def gradient(dy: Tensor) -> tuple[Tensor, ...]:
        dz = widen(tf.raw_ops.ReluGrad(gradients=dy, features=y))
        if working == tf.float32:  # the product is faster than its transpose, by more than transposing costs
            to_kernel = tf.transpose(tf.matmul(widen(x), dz, transpose_a=True))
        else:
            to_kernel = tf.matmul(dz, x, transpose_a=True)
        ones = tf.ones((1, tf.shape(dz)[0]), working)
        gradients = tf.matmul(dz, widen(kernel)), to_kernel, tf.matmul(ones, dz)[0]
        return tuple(tf.cast(each, dtype) for each in gradients)

    return y, gradient
