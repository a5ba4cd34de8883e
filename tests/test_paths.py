from pathlib import Path

import pytest

from tfmtl.paths import is_url, local_path

URLS = [
    "gs://bucket/ranker",
    "s3://b",
    "memory://x/y.csv",
    "simplecache::s3://b/x",
    "abfs://c@a.dfs/x",
    "file:///tmp/x",
]
PATHS = ["models/ranker", "/tmp/x", "C:/models", "C:\\models", "a:b", "date=2026-11-01/x", "10:30/x", "..", "a b/[v2]"]


@pytest.mark.parametrize("url", URLS)
def test_urls_are_told_from_paths(url):
    assert is_url(url) and is_url(Path(url))


@pytest.mark.parametrize("path", PATHS)
def test_paths_stay_what_they_are(path):
    assert not is_url(path) and local_path(path, "path") == Path(path)


def test_a_file_url_is_a_path():
    assert local_path("file:///tmp/a%20b", "path") == local_path("file://localhost/tmp/a b", "path") == Path("/tmp/a b")


@pytest.mark.parametrize("url", [*URLS[:-1], "file://elsewhere/tmp/x", Path("gs://bucket/ranker")])
def test_other_urls_are_refused_by_name(url):
    with pytest.raises(ValueError, match=r"`folder` must be a path of this machine, not a URL.*Received: folder='.*/"):
        local_path(url, "folder")
