"""Who writes where several workers hold the same model."""

import atexit
import functools
import os
import tempfile
from pathlib import Path

from tfmtl.keras_host import BACKEND, keras


def is_chief(model: keras.Model) -> bool:
    """Whether this process writes for all that train `model` together."""
    return BACKEND != "tensorflow" or bool(model.distribute_strategy.extended.should_checkpoint)


def own_path(model: keras.Model, path: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """`path` in the process that writes; in others a path of the same name that is gone when the process ends.

    All workers have to save: variables that are summed over them when they are read wait for all.
    """
    return path if is_chief(model) else _thrown_away() / Path(path).name


@functools.cache
def _thrown_away() -> Path:
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return Path(folder.name)
