"""Paths of this machine, told from the URLs of stores elsewhere, and what tells files apart."""

import hashlib
import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+:{1,2})+/")
"""A scheme and a slash: two slashes in a URL, one in what `pathlib` makes of it. A drive (`C:/`) has one letter."""


def is_url(path: str | os.PathLike[str]) -> bool:
    """Whether `path` begins with a scheme, as in `gs://bucket/file`, `simplecache::s3://bucket/file` or `file:///tmp/file`."""
    return _URL.match(os.fspath(path)) is not None


def local_path(path: str | os.PathLike[str], what: str) -> Path:
    """`path` as one of this machine; a `file://` URL is one.

    `Path("gs://bucket")` is the folder `gs:` here, and whatever is written there never reaches the bucket.

    Args:
        path: a path or a URL.
        what: the argument, or what goes there, for the message.

    Raises:
        ValueError: a URL of another store.

    Example:

    >>> from tfmtl.paths import local_path
    >>> str(local_path("file:///models/ranker", "path"))
    '/models/ranker'
    """
    text = os.fspath(path)
    if not is_url(text):
        return Path(text)
    parts = urlsplit(text)
    if parts.scheme.lower() == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    raise ValueError(
        f"`{what}` must be a path of this machine, not a URL: write or copy it here, and move it with the store's own "
        f"tools, or mount the store. Received: {what}={text!r}"
    )


def digest_of(path: str | os.PathLike[str], what: str) -> str:
    """SHA-256 of a file of this machine.

    Raises:
        ValueError: a URL, or no file.
    """
    file = local_path(path, what)
    if not file.is_file():
        raise ValueError(f"`{what}` must be a file. Received: {what}={str(file)!r}")
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
