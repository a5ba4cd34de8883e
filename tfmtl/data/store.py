"""Where files lie: on this machine, or in a store that a URL names."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.fs


@dataclass(frozen=True)
class Store:
    """Opens files by the names that messages show: paths of this machine, or URLs of one store.

    Args:
        filesystem: Arrow's way to the store.
        prefix: what stands before its own paths in the names: `"s3://"` for a URL, nothing for a path.
    """

    filesystem: pyarrow.fs.FileSystem
    prefix: str = ""

    def path(self, file: str) -> str:
        """The name of `file` within the store."""
        return file.removeprefix(self.prefix)

    def open_stream(self, file: str) -> pa.NativeFile:
        """`file` from its start, unpacked if its suffix says that it is packed."""
        return self.filesystem.open_input_stream(self.path(file), compression="detect")


LOCAL = Store(pyarrow.fs.LocalFileSystem())


def open_store(url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    """fsspec's file system behind `url`, and the path within it.

    Raises:
        ImportError: fsspec, or the package that it needs for such URLs, is not installed.
        ValueError: no such kind of URL.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise ImportError(f"Reading {url!r} needs fsspec: pip install 'tfmtl[remote]'") from error
    try:
        found, path = url_to_fs(url, **options)
    except ValueError as error:
        raise ValueError(f"`source` is a URL of no known kind: {error}. Received: {url!r}") from error
    return found, path


def arrow_store(found: Any, path: str) -> Store:
    """The store of fsspec's file system `found`, in which `path` lies."""
    handler = pyarrow.fs.FSSpecHandler(found)
    return Store(pyarrow.fs.PyFileSystem(handler), found.unstrip_protocol(path).removesuffix(path))
