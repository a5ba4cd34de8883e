"""Initial values that are drawn anew for every weight, and for stacked kernels for every expert."""

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfmtl.keras_host import keras, ops, register
from tfmtl.typing import Tensor


def fresh(initializer: Any, *salt: Any) -> Any:
    """A new instance of `initializer` that draws other numbers than the old one and than other salts.

    An instance that is called twice repeats itself, and so does a copy of a seeded one. The new seed follows from the old
    one and the salt; without a seed every instance draws for itself. Initializers without a seed, and plain functions, are
    returned as they are.
    """
    if not hasattr(initializer, "get_config"):
        return initializer
    config = initializer.get_config()
    if "seed" not in config or not (config["seed"] is None or isinstance(config["seed"], int)):
        return initializer
    seed = config["seed"]
    if seed is not None:
        seed = _other_seed(seed, *salt)
    return type(initializer).from_config({**config, "seed": seed})


def fresh_layer(layer: Any, name: str, *, salt: str, dtype: Any) -> Any:
    """A new layer of the settings of `layer` but for name and dtype, with initial values of its own.

    A seed among the settings is replaced by one that follows from it, from the salt and from the name.
    """
    return type(layer).from_config({**_reseeded(layer.get_config(), (salt, name)), "name": name, "dtype": dtype})


def _reseeded(config: Any, salt: tuple[str, ...]) -> Any:
    if isinstance(config, (list, tuple)):
        return [_reseeded(part, salt) for part in config]
    if not isinstance(config, Mapping):
        return config
    return {
        key: _other_seed(value, *salt) if key == "seed" and isinstance(value, int) else _reseeded(value, salt)
        for key, value in config.items()
    }


def _other_seed(seed: int, *salt: Any) -> int:
    return zlib.crc32(repr((seed, *salt)).encode())


def starting_at(values: Any) -> Any:
    """An initializer of one weight, which gives it these values; an array, or what makes one."""
    if np.size(values) == 1:
        return keras.initializers.Constant(float(np.reshape(values, ())))  # which a folder of tf_keras can hold

    def initial(shape: Any, dtype: Any = None, **options: Any) -> Tensor:
        return ops.convert_to_tensor(np.array(values, "float32"))

    return initial


@register
class PerExpert(keras.initializers.Initializer):
    """Draws one `(in, out)` kernel for each expert and stacks them.

    A plain initializer on a stacked kernel gets both things wrong: it takes the fans of the whole stack (Glorot on
    `(E, in, out)` is sqrt(E) too small, since rank 3 is read as a convolution), and one instance called once for each
    expert returns the same kernel each time.

    Args:
        initializer: what draws one kernel; any Keras initializer or its name.
        num: experts in the stack. `(in, num * out)` holds them side by side, `(num, in, out)` behind each other.
        transposed: `(num * out, in)` holds each kernel transposed, one below the other.

    Raises:
        ValueError: a shape that does not divide into `num` kernels.
    """

    def __init__(self, initializer: Any, num: int, transposed: bool = False):
        self.initializer = keras.initializers.get(initializer)
        self.num = num
        self.transposed = transposed

    def __call__(self, shape: Any, dtype: Any = None, **kwargs: Any) -> Any:
        shape = tuple(shape)
        if self.transposed and len(shape) == 2:
            return ops.transpose(PerExpert(self.initializer, self.num)(shape[::-1], dtype=dtype))
        if self.transposed:
            raise ValueError(f"Transposed kernels lie in a matrix. Received: shape={shape}")
        stacked = len(shape) == 3
        if shape[0 if stacked else -1] % self.num or len(shape) not in (2, 3) or (stacked and shape[0] != self.num):
            raise ValueError(f"No {self.num} kernels fit side by side or behind each other. Received: shape={shape}")
        one = shape[1:] if stacked else (shape[0], shape[1] // self.num)
        kernels = [fresh(self.initializer, i)(one, dtype=dtype) for i in range(self.num)]
        return ops.stack(kernels, axis=0) if stacked else ops.concatenate(kernels, axis=-1)

    def get_config(self) -> dict[str, Any]:
        initializer = keras.initializers.serialize(self.initializer)
        return {"initializer": initializer, "num": self.num, "transposed": self.transposed}
