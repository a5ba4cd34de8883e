"""Which files a source means, and in which format they are."""

import glob
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
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
        source: a file, a folder (all its files of a known format, also in folders below and behind links), a glob pattern
            of files, of folders or of both, or an iterable of these. Names that start with "." or "_" are left out, but
            for those that `source` spells. Other files of unknown format in a folder are worth a warning.

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
    skipped: list[str] = []
    files = [file for item in given for file in _expand(os.fspath(item), skipped)]
    if not files:
        raise FileNotFoundError(f"There is no file to read. Received: source={source!r}")
    if skipped:
        warnings.warn(
            f"Files of unknown format are not read: {skipped[:5]}{' ...' if len(skipped) > 5 else ''}, "
            f"{len(skipped)} in all; known: {sorted(_SUFFIXES)}",
            stacklevel=4,
        )
    real = [os.path.realpath(file) for file in files]
    count = Counter(real)
    twice = [file for file, path in zip(files, real, strict=True) if count[path] > 1]
    if twice:
        raise ValueError(f"`source` names files twice. Received: {twice}")
    formats = {_format(file): file for file in reversed(files)}
    if len(formats) > 1:
        raise ValueError(f"All files must have one format. Received: {list(formats.values())}")
    return next(iter(formats)), tuple(files)


def _expand(item: str, skipped: list[str]) -> list[str]:
    """The files that one item means; those of unknown format in folders go to `skipped`."""
    if os.path.isfile(item):
        return [item]
    found: list[str] = []
    if os.path.isdir(item):
        found = _below(item, skipped)
    elif glob.has_magic(item):
        for match in glob.glob(item, recursive=True):
            if not _is_hidden(match, item):  # folders, too, such as date=2026-11-*
                found += _below(match, skipped) if os.path.isdir(match) else [match]
    if not found:
        raise FileNotFoundError(
            f"There is no file to read. Received: source={item!r}; known formats: {sorted(_SUFFIXES)}"
        )
    return sorted(set(found))  # `**` matches a folder and what is in it


def _below(folder: str, skipped: list[str]) -> list[str]:
    """The files of known format in `folder` and in the folders below."""
    files = list(_walk(folder))
    skipped += [file for file in files if _suffix(file) is None]
    return [file for file in files if _suffix(file)]


def _walk(folder: str, above: tuple[str, ...] = ()) -> Iterator[str]:
    """All files below `folder`, also behind links, without names that start with "." or "_": other programs leave what
    is not finished, or not for readers, under such names."""
    real = os.path.realpath(folder)
    if real in above:  # a link back
        return
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name[0] in "._":
            continue
        if entry.is_dir():
            yield from _walk(entry.path, (*above, real))
        elif entry.is_file():
            yield entry.path


def _is_hidden(path: str, pattern: str) -> bool:
    """Whether a part of `path` starts with "." or "_" and no part of `pattern` spells that."""
    spelled = [part for part in Path(pattern).parts if part[0] in "._"]
    hidden = (part for part in Path(path).parts if part[0] in "._")
    return not all(any(fnmatchcase(part, like) for like in spelled) for part in hidden)


def _suffix(file: str) -> str | None:
    return next((suffix for suffix in _SUFFIXES if file.lower().endswith(suffix)), None)


def _format(file: str) -> Format:
    suffix = _suffix(file)
    if suffix is None:
        raise ValueError(f"A file's suffix must be one of {sorted(_SUFFIXES)}. Received: {file!r}")
    return _SUFFIXES[suffix]
