"""Folders that TensorFlow can read a model from."""

import os
import re
from pathlib import Path

from tfmtl.paths import local_path

_PATTERN = re.compile(r"[*?\[\]\\]")


def model_path(path: str | os.PathLike[str], what: str = "path") -> Path:
    """`path`, absolute.

    Args:
        path: a folder of this machine that holds versions, or is one.
        what: the argument's name, for the message.

    Raises:
        ValueError: a URL of another store, or a path with a character of patterns: TensorFlow, a real server's too, looks for
            a checkpoint by a pattern, and would find another file or none.
    """
    found = local_path(path, what).absolute()
    special = sorted(set(_PATTERN.findall(str(found))))
    if special:
        raise ValueError(
            f"`{what}` must be without the characters * ? [ ] \\, which TensorFlow reads as a pattern when it restores a "
            f"model. Received: {what}={str(path)!r}, with {' '.join(special)}"
        )
    return found
