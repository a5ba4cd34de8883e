"""Version folders that appear complete or not at all."""

import operator
import os
import shutil
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tfmtl.checks import check_count
from tfmtl.leftovers import held, remove_left
from tfmtl.serving.protocol.version_folders import MAX_VERSION, versions

_UNFINISHED = ("export", "removed")


def _hidden(base: Path, kind: str) -> str:
    """How names of folders in the making, or on their way out, begin; they lie beside `base`."""
    return f".{base.name}.{kind}-"


def check_destination(base: Path, version: int | None, keep: int | None) -> None:
    """Raises what publishing would, before anything is done: OSError, FileExistsError, ValueError."""
    check_writable(base)
    choose_version(base, version)
    if keep is not None:
        check_count("keep", keep)


def choose_version(base: Path, version: int | None) -> int:
    """`version`, or one more than the highest there is; FileExistsError if it is taken."""
    taken = versions(base)
    if version is None:
        version = max([0, *taken]) + 1
    if not hasattr(version, "__index__") or isinstance(version, bool) or not 1 <= version <= MAX_VERSION:
        raise ValueError(f"`version` must be an integer from 1 to 2^63 - 1. Received: version={version!r}")
    version = operator.index(version)
    if version in taken:
        raise FileExistsError(
            f"Version {version} exists already and a server never reads a version twice: {taken[version]}"
        )
    return version


def check_writable(base: Path) -> None:
    """OSError unless versions can be prepared beside `base` and moved into it."""
    for folder in (base, base.parent):
        there = next(place for place in (folder, *folder.parents) if place.exists())
        if not there.is_dir():
            raise NotADirectoryError(f"A version cannot be written to {base}: {there} is a file.")
        if not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(
                f"A version is prepared beside {base} and moved into it, but {there} cannot be written."
            )
    if base.is_dir() and os.stat(base).st_dev != os.stat(base.parent).st_dev:
        raise OSError(
            f"{base} is a mount point: a version is prepared beside it and moved into it by one rename, which needs one "
            "file system. Mount its parent instead."
        )


@contextmanager
def staging(base: Path) -> Iterator[Path]:
    """An empty folder beside `base`, on its file system, that no server looks into; removed at the end if still there.

    What exports that were killed have left of theirs is removed too.
    """
    base.mkdir(parents=True, exist_ok=True)
    for kind in _UNFINISHED:
        remove_left(base.parent, f"{_hidden(base, kind)}[0-9a-f]*")
    number = uuid.uuid4().hex[:12]
    folder = base.parent / f"{_hidden(base, 'export')}{number}"
    # Under its final name only once it is held: in between, another export would take it for left behind.
    new = base.parent / f".{number}.new"
    new.mkdir()
    try:
        with held(new):
            os.rename(new, folder)
            yield folder
    finally:
        for path in (new, folder):
            shutil.rmtree(path, ignore_errors=True)


def publish(folder: Path, base: Path, version: int) -> Path:
    """Moves the finished `folder` to `base/version` in one rename, everything on disk before the name is.

    Raises:
        FileExistsError: somebody else published that version in the meantime.
    """
    for parent, _, files in os.walk(folder):
        for name in files:
            _sync(Path(parent, name))
        _sync(Path(parent))
    target = base / str(version)
    try:
        os.rename(folder, target)
    except OSError as error:
        if target.exists():
            raise FileExistsError(f"Version {version} was published in the meantime: {target}") from error
        raise
    _sync(base)
    return target


def publish_next(folder: Path, base: Path, version: int | None, finish: Callable[[Path, int], None]) -> Path:
    """Publishes `folder` as `version`, or as the next one that nobody else takes in the meantime.

    Args:
        folder: what to publish.
        base: where.
        version: the number; None takes one more than the highest.
        finish: writes what names the version into the folder, before each try.
    """
    while True:
        number = choose_version(base, version)
        finish(folder, number)
        try:
            return publish(folder, base, number)
        except FileExistsError:
            if version is not None:
                raise


def remove_old(base: Path, keep: int, spared: Iterable[int]) -> None:
    """Removes all versions but the highest `keep` and those to be `spared`. A folder loses its number before its files.

    What cannot be removed is worth a warning, no error: somebody else may be removing it at the same time.
    """
    for version, folder in list(versions(base).items())[:-keep]:
        if version in spared:
            continue
        hidden = base.parent / f"{_hidden(base, 'removed')}{uuid.uuid4().hex[:12]}"
        try:
            os.rename(folder, hidden)
            shutil.rmtree(hidden)
        except FileNotFoundError:
            continue
        except OSError as error:
            warnings.warn(f"Version {version} is old and could not be removed: {error}", stacklevel=2)


def _sync(path: Path) -> None:
    """Waits until a file or folder is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
