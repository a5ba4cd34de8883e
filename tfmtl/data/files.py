"""Which files a source means, and in which format they are."""

import glob
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeAlias

Format: TypeAlias = Literal["parquet", "csv", "tfrecord"]

_SUFFIXES: dict[str, Format] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".tfrecord": "tfrecord",
    ".tfrecord.gz": "tfrecord",
    ".tfrecords": "tfrecord",
    ".tfrecords.gz": "tfrecord",
}


def find_files(source: Any) -> tuple[Format, tuple[str, ...]]:
    """The files that `source` means, in the order of their names, and their one format.

    Args:
        source: a file, a folder (all its files of a known format, also in folders below, without names that start with
            "." or "_"), a glob pattern of files or of folders, or an iterable of these.

    Raises:
        FileNotFoundError: no such file, or nothing in a folder or under a pattern.
        ValueError: an unknown suffix, files of several formats, or a file given twice.
    """
    if not isinstance(source, Iterable) and not isinstance(source, os.PathLike):
        raise ValueError(
            "`source` must be a path, a glob pattern, a folder, a list of these, a DataFrame, a dict of columns or an Arrow table. "
            f"Received: source={source!r}"
        )
    given = [source] if isinstance(source, str | os.PathLike) else list(source)
    files = [file for item in given for file in _expand(os.fspath(item))]
    if not files:
        raise FileNotFoundError(f"There is no file to read. Received: source={source!r}")
    twice = [file for file, count in Counter(files).items() if count > 1]
    if twice:
        raise ValueError(f"`source` names files twice. Received: {twice}")
    formats = {_format(file): file for file in reversed(files)}
    if len(formats) > 1:
        raise ValueError(f"All files must have one format. Received: {list(formats.values())}")
    return next(iter(formats)), tuple(files)


def _expand(item: str) -> list[str]:
    if os.path.isfile(item):
        return [item]
    found = []
    if os.path.isdir(item):
        below = (path for path in Path(item).rglob("*") if path.is_file() and _suffix(str(path)))
        # Other programs leave what is not finished, or not for readers, under such names: folders, too.
        found = [str(path) for path in below if not any(part[0] in "._" for part in path.relative_to(item).parts)]
    elif glob.has_magic(item):
        matches = sorted(glob.glob(item, recursive=True))
        found = [path for path in matches if os.path.isfile(path)]
        found = found or [file for path in matches for file in _expand(path)]  # folders, such as date=2026-11-*
    if not found:
        raise FileNotFoundError(
            f"There is no file to read. Received: source={item!r}; known formats: {sorted(_SUFFIXES)}"
        )
    return sorted(found)


def _suffix(file: str) -> str | None:
    return next((suffix for suffix in _SUFFIXES if file.lower().endswith(suffix)), None)


def _format(file: str) -> Format:
    suffix = _suffix(file)
    if suffix is None:
        raise ValueError(f"A file's suffix must be one of {sorted(_SUFFIXES)}. Received: {file!r}")
    return _SUFFIXES[suffix]
