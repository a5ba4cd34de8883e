"""Files and folders in the making, and what a process that was killed has left of them."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Marks a file or folder as in the making: a lock that ends with the process, however that ends."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks, where nothing is ever removed
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def remove_left(folder: Path, pattern: str) -> None:
    """Removes what lies in `folder` under names like `pattern` and is not held: whoever made it is dead."""
    for path in folder.glob(pattern):
        with contextlib.suppress(OSError):  # gone in the meantime, or held, or a file system without locks
            descriptor = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()
            finally:
                os.close(descriptor)
