"""Numbers where TensorBoard finds them."""

from collections.abc import Mapping
from os import PathLike, fspath

import tensorflow as tf


class ScalarLog:
    """Writes scalars by step into a folder that TensorBoard reads.

    Args:
        log_dir: the folder.

    Raises:
        ImportError: TensorBoard is not installed; without it TensorFlow cannot say that a number is a scalar.
    """

    def __init__(self, log_dir: str | PathLike[str]):
        try:
            import tensorboard  # noqa: F401
        except ImportError as error:
            raise ImportError("Scalars for TensorBoard need it: pip install 'tfmtl[tensorboard]'.") from error
        self.writer = tf.summary.create_file_writer(fspath(log_dir))

    def write(self, scalars: Mapping[str, float], step: int) -> None:
        """Writes the scalars of one step, and sees to it that they lie on the disk."""
        with self.writer.as_default():
            for name, value in scalars.items():
                tf.summary.scalar(name, value, step=step)
        self.writer.flush()
