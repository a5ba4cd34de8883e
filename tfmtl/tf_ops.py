"""What TensorFlow computes faster than it would derive it. Other backends can import this, not call it."""

from collections.abc import Callable

from tfmtl.keras_host import ops
from tfmtl.typing import Tensor


def has_accelerator() -> bool:
    """Whether TensorFlow sees a device other than CPUs."""
    import tensorflow as tf

    return any(device.device_type != "CPU" for device in tf.config.list_physical_devices())


@ops.custom_gradient
def relu_dense(x: Tensor, kernel: Tensor, bias: Tensor) -> tuple[Tensor, Callable[..., tuple[Tensor, ...]]]:
    """`relu(x kernel^T + bias)`, one operation on a CPU, with gradients that are products as a CPU computes them fastest.

    The bias's is a product with ones: two thirds of the time of `BiasAddGrad`, and summed in float32 where the CPU's
    `BiasAddGrad` sums in bfloat16, which cannot count beyond 256.

    Args:
        x: `(B, D)`.
        kernel: `(N, D)`.
        bias: `(N,)`.

    Returns:
        `(B, N)`.
    """
    import tensorflow as tf

    y = tf.nn.relu(tf.nn.bias_add(tf.matmul(x, kernel, transpose_b=True), bias))

    def gradient(dy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        dz = tf.raw_ops.ReluGrad(gradients=dy, features=y)
        if dz.dtype == tf.float32:  # the product is faster than its transpose, by more than transposing costs
            to_kernel = tf.transpose(tf.matmul(x, dz, transpose_a=True))
        else:
            to_kernel = tf.matmul(dz, x, transpose_a=True)
        ones = tf.ones((1, tf.shape(dz)[0]), dz.dtype)
        return tf.matmul(dz, kernel), to_kernel, tf.matmul(ones, dz)[0]

    return y, gradient
