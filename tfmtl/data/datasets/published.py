"""Archives that their authors publish, downloaded once."""

import contextlib
import fnmatch
import hashlib
import os
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import IO, Any

from tfmtl.atomic_file import replacing
from tfmtl.paths import local_path
from tfmtl.progress import Verbose, with_progress

_PIECE = 1 << 20
_SECONDS = 60  # without a byte


@dataclass(frozen=True)
class Published:
    """Where a data set lies, and how to tell that what came is what was meant.

    Args:
        name: of the data set, and of the folder that keeps it.
        url: of a zip or tar.gz archive.
        files: patterns of the names of the files to keep; archives inside of the archive are looked through too.
        page: where a person finds it, and its terms.
        digest: of the archive, as `"md5:..."` or `"sha256:..."`. None where its publisher states none: then the first download is
            trusted, its SHA-256 is written beside the folder, and every later download must have it.
    """

    name: str
    url: str
    files: tuple[str, ...]
    page: str
    digest: str | None = None


def cache_folder() -> Path:
    """Where downloads are kept: `TFMTL_DATA`, or `tfmtl` in the user's cache folder."""
    chosen = os.environ.get("TFMTL_DATA")
    if chosen:
        return local_path(chosen, "TFMTL_DATA")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tfmtl"


def folder_of(published: Published, folder: str | os.PathLike[str] | None, verbose: Verbose = "auto") -> Path:
    """`folder` as a path of this machine, or, where it is None, the folder of the download, which is made once.

    Raises:
        ConnectionError: the archive cannot be reached, or it ends too early.
        ValueError: the archive is another one than was meant, or `folder` is a URL of another store.
    """
    if folder is not None:
        return local_path(folder, "folder")
    cache = cache_folder()
    kept = cache / published.name
    if kept.is_dir():
        return kept
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{published.name}-", dir=cache) as work:
        archive, unpacked = Path(work) / PurePosixPath(published.url).name, Path(work) / "files"
        _check_digest(published, _download(published, archive, verbose), cache / f"{published.name}.sha256")
        unpacked.mkdir()
        _unpack(published, archive, unpacked)
        with contextlib.suppress(OSError):  # another process was first
            unpacked.rename(kept)
    return kept


def missing_files(folder: Path, missing: list[str], name: str, page: str) -> FileNotFoundError:
    """The error of a folder that does not hold a data set."""
    return FileNotFoundError(
        f"{folder} lacks {missing} of {name}. Download it from {page} and give the folder of its files."
    )


def _download(published: Published, target: Path, verbose: Verbose) -> dict[str, str]:
    """Writes the archive, and returns its digests by their algorithm."""
    digests = {name: hashlib.new(name, usedforsecurity=False) for name in ("md5", "sha256")}
    try:
        with urllib.request.urlopen(published.url, timeout=_SECONDS) as answer, target.open("wb") as out:
            size = int(answer.headers.get("Content-Length") or 0)
            steps = -(-size // _PIECE) or None
            for piece in with_progress(_pieces(answer), verbose, "MiB", steps):
                out.write(piece)
                for digest in digests.values():
                    digest.update(piece)
        if size and target.stat().st_size != size:
            raise ConnectionError(f"it ended after {target.stat().st_size:,} of {size:,} bytes")
    except (urllib.error.URLError, HTTPException, ConnectionError, TimeoutError) as error:
        raise ConnectionError(
            f"{published.name} could not be downloaded from {published.url}: {getattr(error, 'reason', error)}. Without a network, "
            f"get it from {published.page} elsewhere, unpack it, and give its folder."
        ) from error
    return {name: digest.hexdigest() for name, digest in digests.items()}


def _pieces(answer: IO[bytes]) -> Iterator[bytes]:
    while piece := answer.read(_PIECE):
        yield piece


def _check_digest(published: Published, found: dict[str, str], remembered: Path) -> None:
    """Raises ValueError for another archive than the one that was published, or than the first one that came."""
    if published.digest is None:
        known = remembered.read_text().strip() if remembered.is_file() else None
        algorithm, wanted = "sha256", known or found["sha256"]
    else:
        algorithm, wanted = published.digest.split(":")
    if found[algorithm] != wanted:
        raise ValueError(
            f"{published.url} is not the archive of {published.name} that is known: its {algorithm} is {found[algorithm]}, not "
            f"{wanted}. Nothing was kept. If {published.page} announces a new one, unpack it yourself and give its folder."
        )
    if published.digest is None and not remembered.is_file():
        with replacing(remembered) as partial:
            partial.write_text(wanted + "\n")


def _unpack(published: Published, archive: Path, into: Path) -> None:
    """Copies the files that are wanted, by their own names: no path of the archive is followed."""
    with archive.open("rb") as file:
        for name, content in _contents(archive.name, file):
            if any(fnmatch.fnmatch(name, pattern) for pattern in published.files):
                with (into / name).open("wb") as out:
                    shutil.copyfileobj(content, out)
    kept = [path.name for path in into.iterdir()]
    lacking = [pattern for pattern in published.files if not fnmatch.filter(kept, pattern)]
    if lacking:
        raise ValueError(f"{published.url} holds no {lacking}. Look at {published.page} for what became of it.")


def _contents(name: str, file: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    """The files of an archive by their names, those of archives inside of it too."""
    if name.endswith(".zip"):
        with zipfile.ZipFile(file) as packed:
            for each in packed.infolist():
                if not each.is_dir():
                    with packed.open(each) as inner:
                        yield from _contents(PurePosixPath(each.filename).name, inner)
    elif name.endswith((".tar.gz", ".tgz")):
        with tarfile.open(fileobj=file, mode="r|gz") as packed_tar:
            for member in packed_tar:
                inner_file: Any = packed_tar.extractfile(member) if member.isfile() else None
                if inner_file is not None:
                    yield from _contents(PurePosixPath(member.name).name, inner_file)
    else:
        yield name, file
