"""A dense layer with ReLU in training: what TensorFlow computes faster than it would derive it.

Other backends can import this, not call it.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from tfmtl.keras_host import BACKEND, keras
from tfmtl.layers.fast.hardware import cpu_favors_bfloat16, has_accelerator
from tfmtl.typing import Tensor


def is_fast_for(activation: Any) -> bool:
    """Whether `relu_dense` serves a dense layer with this activation, a function of Keras."""
    return BACKEND == "tensorflow" and activation is keras.activations.relu


def relu_dense(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
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

    widens = x.dtype == tf.bfloat16 and not (has_accelerator() or cpu_favors_bfloat16())
    traced = _traced(x.shape[1], kernel.shape[0], x.dtype, tf.float32 if widens else x.dtype)
    y = traced(x, tf.convert_to_tensor(kernel), tf.convert_to_tensor(bias))
    y.set_shape((x.shape[0], kernel.shape[0]))
    return y


@cache
def _traced(width: int, units: int, dtype: Any, working: Any) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The layer as a graph of its own, for all layers of its size.

    TensorFlow keeps for ever what it traces of a function with a gradient of its own. Traced within a model, that would be
    the model's graph and its weights, for every model that a process ever trained; so it is little, and once a size.
    """
    import tensorflow as tf

    def widen(value: Tensor) -> Tensor:
        return tf.cast(value, working)

    @tf.custom_gradient
    def layer(x: Tensor, kernel: Tensor, bias: Tensor) -> tuple[Tensor, Callable[..., tuple[Tensor, ...]]]:
        product = tf.matmul(widen(x), widen(kernel), transpose_b=True)
        y = tf.cast(tf.nn.relu(tf.nn.bias_add(product, widen(bias))), dtype)
        # As a function of `features` ReLU's gradient is constant in pieces. Said here, for under a tape that may be asked more
        # than once TensorFlow would go on from them to the weights, with zeros through products as large as the layer's.
        features = tf.stop_gradient(y)

        def gradient(dy: Tensor) -> tuple[Tensor, ...]:
            dz = widen(tf.raw_ops.ReluGrad(gradients=dy, features=features))
            if working == tf.float32:  # the product is faster than its transpose, by more than transposing costs
                to_kernel = tf.transpose(tf.matmul(widen(x), dz, transpose_a=True))
            else:
                to_kernel = tf.matmul(dz, x, transpose_a=True)
            ones = tf.ones((1, tf.shape(dz)[0]), working)
            gradients = tf.matmul(dz, widen(kernel)), to_kernel, tf.matmul(ones, dz)[0]
            return tuple(tf.cast(each, dtype) for each in gradients)

        return y, gradient

    shapes = ((None, width), (units, width), (units,))
    with tf.init_scope(), tf.device(None):  # neither in a model's graph nor on the device of one replica
        traced = tf.function(layer, autograph=False)
        return traced.get_concrete_function(*(tf.TensorSpec(shape, dtype) for shape in shapes))
