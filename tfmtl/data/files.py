"""Which files a source means, in which format they are, and where they lie."""

import glob
import os
import posixpath
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from tfmtl.data.store import LOCAL, Store, arrow_store, open_store
from tfmtl.paths import is_url, local_path

Format: TypeAlias = Literal["parquet", "csv", "tfrecord"]

_SUFFIXES: dict[str, Format] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".tsv": "csv",
    ".tsv.gz": "csv",
    ".tfrecord": "tfrecord",
    ".tfrecord.gz": "tfrecord",
    ".tfrecords": "tfrecord",
    ".tfrecords.gz": "tfrecord",
}


class Found(NamedTuple):
    """Files of one format in one store.

    Args:
        form: their format.
        files: their names, in order.
        store: opens them.
    """

    form: Format
    files: tuple[str, ...]
    store: Store


def find_files(source: Any, storage_options: Mapping[str, Any] | None = None, *, csv: bool = False) -> Found:
    """The files that `source` means, in the order of their names, their one format and their store.

    Args:
        source: a file, a folder (all its files of a known format, also in folders below and behind links), a glob pattern
            of files, of folders or of both, or an iterable of these, each a path or a URL such as `s3://bucket/folder`.
            Names that start with "." or "_" are left out, but for those that `source` spells. Other files of unknown format
            in a folder are worth a warning.
        storage_options: for URLs, passed on to fsspec: credentials, endpoints.
        csv: whether files that `source` spells are CSV files where their suffix is not known, such as `u.data`.

    Raises:
        FileNotFoundError: no such file, or nothing in a folder or under a pattern.
        ValueError: an unknown suffix, files of several formats or stores, or a file given twice.
    """
    given = [source] if isinstance(source, str | os.PathLike) else list(source)
    wrong = [item for item in given if not isinstance(item, str | os.PathLike)]
    if wrong:
        raise ValueError(f"A list of sources must hold paths. Received: {wrong[0]!r}")
    skipped: list[str] = []
    store, files = LOCAL, list[str]()
    urls = [os.fspath(item) for item in given if _is_remote(item)]
    if urls and len(urls) < len(given):
        raise ValueError(f"All files must lie in one store. Received: {[str(item) for item in given]}")
    for url in urls:
        other, found = _expand_url(url, skipped, storage_options or {})
        if files and other != store:
            raise ValueError(f"All files must lie in one store. Received: {urls}")
        store, files = other, files + found
    if not urls:
        files = [file for item in given for file in _expand(os.fspath(local_path(item, "source")), skipped)]
    if not files:
        raise FileNotFoundError(f"There is no file to read. Received: source={source!r}")
    if skipped:
        warnings.warn(
            f"Files of unknown format are not read: {skipped[:5]}{' ...' if len(skipped) > 5 else ''}, "
            f"{len(skipped)} in all; known: {sorted(_SUFFIXES)}",
            stacklevel=4,
        )
    _refuse_repeated(files if urls else [os.path.realpath(file) for file in files], files)
    formats = {_format(file, csv): file for file in reversed(files)}
    if len(formats) > 1:
        raise ValueError(f"All files must have one format. Received: {list(formats.values())}")
    return Found(next(iter(formats)), tuple(files), store)


def _is_remote(item: Any) -> bool:
    return is_url(item) and not os.fspath(item).lower().startswith("file:")


def _refuse_repeated(real: list[str], files: list[str]) -> None:
    count = Counter(real)
    twice = [file for file, path in zip(files, real, strict=True) if count[path] > 1]
    if twice:
        raise ValueError(f"`source` names files twice. Received: {twice}")


def _nothing(item: str) -> FileNotFoundError:
    return FileNotFoundError(f"There is no file to read. Received: source={item!r}; known formats: {sorted(_SUFFIXES)}")


def _expand(item: str, skipped: list[str]) -> list[str]:
    """The files that one item means; those of unknown format in folders go to `skipped`."""
    if os.path.isfile(item):
        return [item]
    found: list[str] = []
    if os.path.isdir(item):
        found = _known(_walk(item), skipped)
    elif glob.has_magic(item):
        for match in glob.glob(item, recursive=True):
            if not _is_hidden(match, item):  # folders, too, such as date=2026-11-*
                found += _known(_walk(match), skipped) if os.path.isdir(match) else [match]
    if not found:
        raise _nothing(item)
    return sorted(set(found))  # `**` matches a folder and what is in it


def _expand_url(url: str, skipped: list[str], options: Mapping[str, Any]) -> tuple[Store, list[str]]:
    """As `_expand`, and the store of what is found."""
    fs, path = open_store(url, options)
    store = arrow_store(fs, path)
    if fs.isfile(path):
        return store, [store.prefix + path]
    found: list[str] = []
    if fs.isdir(path):
        found = _known(_below_url(fs, path), skipped)
    elif glob.has_magic(path):
        for match in fs.glob(path):
            if not _is_hidden(match, path):
                found += _known(_below_url(fs, match), skipped) if fs.isdir(match) else [match]
    if not found:
        raise _nothing(url)
    return store, sorted({store.prefix + file for file in found})


def _below_url(fs: Any, folder: str) -> Iterator[str]:
    """All files below a folder of a store, as `_walk`."""
    for file in sorted(fs.find(folder)):
        if all(part[0] not in "._" for part in posixpath.relpath(file, folder).split("/")):
            yield file


def _known(files: Iterable[str], skipped: list[str]) -> list[str]:
    """Those of known format; the others go to `skipped`."""
    found = list(files)
    skipped += [file for file in found if _suffix(file) is None]
    return [file for file in found if _suffix(file)]


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


def _format(file: str, csv: bool) -> Format:
    suffix = _suffix(file)
    if suffix is None and not csv:
        raise ValueError(
            f"A file's suffix must be one of {sorted(_SUFFIXES)}; a CSV file may have another if `csv=CsvFormat(...)` says how "
            f"it is written. Received: {file!r}"
        )
    return "csv" if suffix is None else _SUFFIXES[suffix]
