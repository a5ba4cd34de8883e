"""Files that appear complete or not at all."""

import glob
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfmtl.leftovers import held, remove_left


@contextmanager
def replacing(target: str | os.PathLike[str]) -> Iterator[Path]:
    """A file beside `target` to write to, which takes its place once the block is left without an error."""
    final = Path(target).absolute()
    final.parent.mkdir(parents=True, exist_ok=True)
    remove_left(final.parent, f".{glob.escape(final.name)}.{'[0-9a-f]' * 12}")
    partial = final.with_name(f".{final.name}.{uuid.uuid4().hex[:12]}")
    partial.touch()
    try:
        with held(partial):
            yield partial
        os.replace(partial, final)
    finally:
        partial.unlink(missing_ok=True)
